//! Part `tenants`: the latency of one tenant while another one attacks the server, for each level of isolation of the latter.
//!
//! The victim sends `wine`, with its handler, at a fifth of its capacity in open loop, and is `shared`. It is measured alone
//! and beside each attack in turns, and the table has the medians of the rounds. Both tenants have the same weight and no
//! limits, so that only the server's fairness protects the victim. The clients of the attack use the same processors as the
//! server: `tenants-control` sends the attacks to a second server, which shows how much of a loss is theirs.

use crate::attack::{self, Act, Attack, Attacked};
use crate::clock::sleep;
use crate::neighbours::{CONNECTIONS, SENDERS, SETTLE, SHARE, Target, UPLOAD_BYTES, UPLOAD_PIECE};
use crate::open_loop::{Schedule, Senders};
use crate::outcome::{Outcome, Tally, median};
use crate::process::Server;
use crate::repository::Repository;
use crate::request;
use crate::tenancy::{LEVELS, Tenancy};
use anyhow::Result;
use std::time::Duration;

/// The number of times that each attack runs. The median is one of them.
const ROUNDS: usize = 3;

/// A key of the right form that nobody has.
const JUNK: &str =
    "wisp_0123456789abcdef_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The numbers of all rounds with one attack.
#[derive(Debug, Default)]
struct Rounds {
    throughput: Vec<f64>,
    alone: Vec<f64>,
    beside: Vec<f64>,
    ratio: Vec<f64>,
    failures: Tally,
    attack: Attacked,
}

/// Prints a table of all attacks, at each level.
pub(crate) fn measure(repository: &Repository, target: Target, time: Duration) -> Result<()> {
    println!(
        "\nAttacks of one tenant on {target}; medians of {ROUNDS} rounds. Isolation is that of the attacker, the victim is \
         `shared`.\n"
    );
    println!(
        "| isolation | attack of another tenant | throughput, of alone | p99 alone, ms | p99 beside it, ms | ratio | \
         victim: not answered | attack: answered/s | attack: other |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for level in LEVELS {
        let tenants = [("victim", "shared"), ("attacker", level)];
        let tenancy = Tenancy::create(repository, &format!("noisy-{level}"), &tenants)?;
        let server = tenancy.start(repository)?;
        let other = match target {
            Target::Same => None,
            Target::Other => Some(tenancy.start(repository)?),
        };
        let attacked = other.as_ref().unwrap_or(&server);
        let victim = tenancy.of("victim", &request::wine())?;
        let capacity = attack::capacity(server.address, victim.clone(), CONNECTIONS, time)?;
        // The attacker's process and models are there before it attacks.
        let first = tenancy.of("attacker", &request::progression())?;
        attack::capacity(attacked.address, first, 1, time)?;
        for (name, attack) in attacks(&tenancy)? {
            let mut rounds = Rounds::default();
            for _ in 0..ROUNDS {
                let measure = || send(&server, &victim, (time, SHARE * capacity));
                let alone = measure()?;
                let (beside, done) = attack.run_during(attacked.address, measure)?;
                rounds.add(&alone, &beside, &done);
                sleep(SETTLE);
            }
            rounds.report(level, name);
        }
    }
    Ok(())
}

/// Sends a request for this time, this often in a second.
fn send(server: &Server, request: &[u8], (time, per_second): (Duration, f64)) -> Result<Outcome> {
    let senders = Senders::connect(server.address, SENDERS)?;
    // The schedule begins once the connections are open.
    senders.run(Schedule::soon(time, per_second), request)
}

/// Returns the attacks with their names.
fn attacks(tenancy: &Tenancy) -> Result<Vec<(&'static str, Attack)>> {
    let of = |request: Vec<u8>| tenancy.of("attacker", &request);
    let requests = |threads: usize, request: Vec<u8>| Attack {
        act: Act::Requests(vec![request]),
        threads,
    };
    let slow = Attack {
        act: Act::SlowUploads {
            head: of(request::upload(UPLOAD_BYTES))?,
            piece: vec![b' '; UPLOAD_PIECE],
        },
        threads: 256,
    };
    let junk = request::with_key(&request::wine(), JUNK);
    Ok(vec![
        (
            "inference at full speed, 64 connections",
            requests(64, of(request::progression())?),
        ),
        (
            "bodies of 64 MB, 8 connections",
            requests(8, of(request::maximal_tensor())?),
        ),
        ("slow bodies, 256 connections", slow),
        (
            "endless loops of a handler, 64 connections",
            requests(64, of(request::endless_loop())?),
        ),
        ("junk keys, 64 connections", requests(64, junk)),
        (
            "loads of a model, 4 connections",
            requests(4, of(request::load())?),
        ),
    ])
}

// === impl Rounds ===

impl Rounds {
    fn add(&mut self, alone: &Outcome, beside: &Outcome, attack: &Attacked) {
        let [before, after] = [alone, beside].map(|outcome| outcome.answer_percentile(0.99));
        self.throughput.push(beside.goodput() / alone.goodput());
        self.alone.push(before);
        self.beside.push(after);
        self.ratio.push(after / before);
        self.failures.join(&beside.tally().failures(&[]));
        self.attack.tally.join(&attack.tally);
        self.attack.time += attack.time;
    }

    fn report(self, level: &str, name: &str) {
        let answered = self.attack.tally.count(200) as f64;
        println!(
            "| {level} | {name} | {:.3} | {:.1} | {:.1} | {:.2} | {} | {:.1} | {} |",
            median(self.throughput),
            median(self.alone),
            median(self.beside),
            median(self.ratio),
            self.failures,
            answered / self.attack.time.as_secs_f64(),
            self.attack.tally.failures(&[]),
        );
    }
}
