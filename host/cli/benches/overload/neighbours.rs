//! Part `neighbours`: the latency of one model's clients while another model is attacked.
//!
//! The victim's clients send `wine`, with its handler, at a fifth of its capacity in open loop. Each
//! attack on another model runs twice, and the victim is measured alone before each. The attacks begin
//! at the same time as the measurement, so that it includes the time in which the server learns of them.
//! As a control, `control` sends the attacks to a second server of the same models. What the victim's
//! clients notice then is the use of the processors by other programs, the clients of the attack among
//! them, and no server can prevent it.
//!
//! The endless loops come from `tests/hostile_guest`, the hostile handler of the tests, which the server stops
//! after two seconds of guest time.

use crate::attack::{self, Act, Attack, Attacked};
use crate::clock::sleep;
use crate::open_loop::{Schedule, Senders};
use crate::outcome::Outcome;
use crate::process::Server;
use crate::repository::Repository;
use crate::{request, server};
use anyhow::{Result, ensure};
use std::fmt;
use std::time::Duration;

/// The number of busy connections that measure the victim's capacity.
pub(crate) const CONNECTIONS: usize = 8;

/// The share of its capacity that the victim's clients use.
pub(crate) const SHARE: f64 = 0.2;

/// The number of the victim's connections.
pub(crate) const SENDERS: usize = 512;

/// The number of times that each attack runs.
const ROUNDS: usize = 2;

/// The time after an attack in which the server ends the work that it has begun.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);

/// The length that the body of a slow upload declares, and the part of it that is sent ten times a
/// second.
pub(crate) const UPLOAD_BYTES: usize = 1 << 20;
pub(crate) const UPLOAD_PIECE: usize = 1 << 10;

/// The server that is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The victim's server.
    Same,
    /// Another server on the same machine.
    Other,
}

/// An attack, and the latency that it may cause.
pub(crate) struct Case {
    name: &'static str,
    attack: Attack,
    /// The greatest acceptable p99 as a multiple of that without the attack, and milliseconds in
    /// addition.
    allowed: (f64, f64),
}

/// The victim's requests without and with an attack, and the attack's own.
#[derive(Default)]
struct Measured {
    solo: Vec<Outcome>,
    attacked: Vec<Outcome>,
    attacks: Vec<Attacked>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Same => "the victim's server",
            Target::Other => "another server (control)",
        })
    }
}

/// Returns the attack with this letter, or all attacks.
pub(crate) fn attacks(letter: Option<&str>) -> Result<Vec<Case>> {
    let mut cases = Vec::from(cases());
    if let Some(letter) = letter {
        let prefix = format!("({letter})");
        cases.retain(|case| case.name.starts_with(&prefix));
        ensure!(!cases.is_empty(), "no attack has the letter `{letter}`");
    }
    Ok(cases)
}

/// Prints a table of the attacks.
pub(crate) fn measure(
    repository: &Repository,
    target: Target,
    cases: &[Case],
    time: Duration,
) -> Result<()> {
    let start = || server::start(repository, &repository.models(), &[]);
    let server = start()?;
    let other = match target {
        Target::Same => None,
        Target::Other => Some(start()?),
    };
    let attacked_address = other.as_ref().unwrap_or(&server).address;
    let capacity = attack::capacity(server.address, request::wine(), CONNECTIONS, time)?;
    let per_second = SHARE * capacity;
    println!(
        "\nAttacks on {target}. `wine`: {capacity:.0}/s over {CONNECTIONS} connections; its clients send {per_second:.0}/s\n"
    );
    println!(
        "| attack on another model | answered of solo | p99 solo, ms | p99 attacked, ms | ratio | \
         allowed, ms | errors solo | errors attacked | lag p99 attacked, ms | late | attack: answered/s | attack: other |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut failures = Vec::new();
    for case in cases {
        let mut measured = Measured::default();
        for _ in 0..ROUNDS {
            let victim = || victim(&server, per_second, time);
            measured.solo.push(victim()?);
            let (attacked, attack) = case.attack.run_during(attacked_address, victim)?;
            measured.attacked.push(attacked);
            measured.attacks.push(attack);
            sleep(SETTLE);
        }
        if let Some(failure) = report(case, measured) {
            failures.push((case.name, failure));
        }
    }
    for (name, failure) in failures {
        println!("\nA failure of the victim during {name}: {failure}");
    }
    Ok(())
}

fn victim(server: &Server, per_second: f64, time: Duration) -> Result<Outcome> {
    let senders = Senders::connect(server.address, SENDERS)?;
    senders.run(Schedule::soon(time, per_second), &request::wine())
}

fn cases() -> [Case; 6] {
    let case = |name, threads, act| Case {
        name,
        attack: Attack { act, threads },
        allowed: (1.5, 2.0),
    };
    let uploads = Act::SlowUploads {
        head: request::upload(UPLOAD_BYTES),
        piece: vec![b' '; UPLOAD_PIECE],
    };
    [
        case(
            "(a) small requests, 64 connections",
            64,
            Act::Requests(vec![request::progression()]),
        ),
        case(
            "(b) tensors of 64 MB in JSON, 8 connections",
            8,
            Act::Requests(vec![request::maximal_tensor()]),
        ),
        case(
            "(c) endless loops, 64 connections",
            64,
            Act::Requests(vec![request::endless_loop()]),
        ),
        case("(d) slow uploads, 256 connections", 256, uploads),
        Case {
            allowed: (2.0, 0.0),
            ..case(
                "(e) connection flood, 32 threads",
                32,
                Act::Connections(request::health()),
            )
        },
        case(
            "(f) ever new shapes, 16 connections",
            16,
            Act::Requests(request::new_shapes()),
        ),
    ]
}

/// Prints a row of the table. Returns the reason of one of the victim's failures, if there are any.
fn report(case: &Case, measured: Measured) -> Option<String> {
    let Measured {
        solo,
        attacked,
        attacks,
    } = measured;
    let rounds = |outcomes: &[Outcome]| {
        let each = outcomes.iter();
        let each = each.map(|outcome| format!("{:.1}", outcome.answer_percentile(0.99)));
        each.collect::<Vec<_>>().join(", ")
    };
    let (solo_rounds, attacked_rounds) = (rounds(&solo), rounds(&attacked));
    let goodput = |outcomes: &[Outcome]| outcomes.iter().map(Outcome::goodput).sum::<f64>();
    let throughput = goodput(&attacked) / goodput(&solo);
    let solo = solo.into_iter().fold(Outcome::default(), Outcome::joined);
    let attacked = attacked
        .into_iter()
        .fold(Outcome::default(), Outcome::joined);
    let p99 = solo.answer_percentile(0.99);
    let (factor, more) = case.allowed;
    let mut attack = Attacked::default();
    for round in &attacks {
        attack.tally.join(&round.tally);
        attack.time += round.time;
    }
    println!(
        "| {} | {throughput:.3} | {solo_rounds} | {attacked_rounds} | {:.2} | {:.1} | {} | {} | {:.1} | {} | {:.1} | {} |",
        case.name,
        attacked.answer_percentile(0.99) / p99,
        factor * p99 + more,
        solo.tally().failures(&[]),
        attacked.tally().failures(&[]),
        attacked.lag_percentile(0.99),
        attacked.late,
        attack.tally.count(200) as f64 / attack.time.as_secs_f64(),
        attack.tally.failures(&[]),
    );
    attacked.failure.or(solo.failure)
}
