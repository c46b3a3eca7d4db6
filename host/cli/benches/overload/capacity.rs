//! Part `capacity`: goodput, latencies and refusals at multiples of the server's capacity, and the time
//! to recover.
//!
//! The model is `digits` with a blank picture, which costs milliseconds in the guest and little in the
//! load generator. The capacity is measured in closed loop. The schedule of the recovery, half of the
//! capacity, begins at the instant at which the highest overload ends.
//!
//! The server has cpu 0 and the load generator cpu 1, so that neither takes time from the other.

use crate::attack;
use crate::open_loop::{Schedule, Senders};
use crate::outcome::{BROKEN, Outcome};
use crate::process::Server;
use crate::repository::Repository;
use crate::{request, server};
use anyhow::{Result, anyhow, ensure};
use std::net::SocketAddr;
use std::thread::scope;
use std::time::{Duration, Instant};

/// The time limit of a request, as the server's option has it.
const REQUEST_TIMEOUT_MILLISECONDS: &str = "1000";

/// The number of busy connections that measure the capacity.
const CONNECTIONS: usize = 8;

/// The load after the overload, as a multiple of the capacity.
const CALM: f64 = 0.5;

/// The loads before the highest one, as multiples of the capacity.
const LEVELS: [f64; 4] = [CALM, 1.0, 2.0, 5.0];

/// The highest load, as a multiple of the capacity.
const HIGHEST: f64 = 10.0;

/// The bounds of the number of connections. A server that admits as many requests as it may by default,
/// and refuses the others, leaves some of the highest number free.
const SENDERS: [f64; 2] = [128.0, 2048.0];

/// The time without any slow response after which a server has recovered.
const QUIET: Duration = Duration::from_secs(1);

/// A measured load.
struct Level {
    multiple: f64,
    outcome: Outcome,
    /// The processors that the server kept busy.
    processors: f64,
}

/// Prints a table of all levels, and the recovery.
pub(crate) fn measure(repository: &Repository, time: Duration) -> Result<()> {
    let options = [
        "--request-timeout-milliseconds",
        REQUEST_TIMEOUT_MILLISECONDS,
    ];
    let model = repository.models().join("digits");
    let server = server::start_apart(repository, &model, &options)?;
    let request = request::picture();
    let alone = attack::capacity(server.address, request.clone(), 1, time)?;
    let capacity = attack::capacity(server.address, request.clone(), CONNECTIONS, time)?;
    println!(
        "\n`digits` with a picture: {alone:.0}/s over one connection, {capacity:.0}/s over \
         {CONNECTIONS}; timeout {REQUEST_TIMEOUT_MILLISECONDS} ms\n"
    );
    let mut levels = Vec::new();
    for multiple in LEVELS {
        let senders = senders(server.address, multiple * capacity)?;
        let schedule = Schedule::soon(time, multiple * capacity);
        let run = || senders.run(schedule, &request);
        levels.push(measure_level(&server, multiple, run)?);
    }
    let calm = senders(server.address, CALM * capacity)?;
    let overload = senders(server.address, HIGHEST * capacity)?;
    let overloaded = Schedule::soon(time, HIGHEST * capacity);
    let recovering = Schedule {
        start: overloaded.end(),
        per_second: CALM * capacity,
        time,
    };
    let recovery = scope(|scope| {
        let recovery = scope.spawn(|| calm.run(recovering, &request));
        let run = || overload.run(overloaded, &request);
        levels.push(measure_level(&server, HIGHEST, run)?);
        recovery.join().map_err(|_| anyhow!("a client panicked"))?
    })?;
    report_levels(&levels);
    if let [calm, ..] = levels.as_slice() {
        report_recovery(&calm.outcome, &recovery);
    }
    let outcomes = levels.iter().map(|level| &level.outcome);
    let without = outcomes.map(|outcome| outcome.refusals_without_time);
    let without: usize = without.sum();
    ensure!(without == 0, "{without} refusals have no Retry-After");
    println!("Each refusal has Retry-After.");
    Ok(())
}

/// Opens connections for this load. The number of requests in flight is at most the load times the
/// timeout, and some more that are late.
fn senders(address: SocketAddr, per_second: f64) -> Result<Senders> {
    let [least, most] = SENDERS;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is clamped to small numbers"
    )]
    let connections = (1.5 * per_second).clamp(least, most) as usize;
    Senders::connect(address, connections)
}

fn measure_level(
    server: &Server,
    multiple: f64,
    run: impl FnOnce() -> Result<Outcome>,
) -> Result<Level> {
    let (before, started) = (server.cpu_time()?, Instant::now());
    let outcome = run()?;
    let busy = server.cpu_time()?.saturating_sub(before);
    Ok(Level {
        multiple,
        outcome,
        processors: busy.as_secs_f64() / started.elapsed().as_secs_f64(),
    })
}

fn report_levels(levels: &[Level]) {
    println!(
        "| load | offered/s | goodput/s | of peak | answers p50, p99 ms | refused/s | refusals p50, p99 ms \
         | other | broken | late | lag p99 ms | server's processors |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let goodputs = levels.iter().map(|level| level.outcome.goodput());
    let peak = goodputs.fold(0.0, f64::max);
    for level in levels {
        let Level {
            multiple,
            outcome,
            processors,
        } = level;
        let tally = outcome.tally();
        println!(
            "| {multiple} | {:.0} | {:.0} | {:.2} | {:.1}, {:.1} | {:.0} | {:.1}, {:.1} | {} | {} | {} | {:.1} | {processors:.2} |",
            outcome.offered(),
            outcome.goodput(),
            outcome.goodput() / peak,
            outcome.answer_percentile(0.5),
            outcome.answer_percentile(0.99),
            outcome.refused(),
            outcome.refusal_percentile(0.5),
            outcome.refusal_percentile(0.99),
            tally.unexpected(),
            tally.count(BROKEN),
            outcome.late,
            outcome.lag_percentile(0.99),
        );
    }
}

/// Prints the time from the end of the overload until all requests for [`QUIET`] are answered within
/// twice their median before it.
fn report_recovery(before: &Outcome, after: &Outcome) {
    let median = before.answer_percentile(0.5);
    let slow = slow_requests(after, 2.0 * median);
    let ends = slow.iter().copied().chain([after.time]);
    let mut pauses = [Duration::ZERO].iter().chain(&slow).copied().zip(ends);
    let recovered = pauses.find(|(begin, end)| end.saturating_sub(*begin) >= QUIET);
    let slow_before = slow_requests(before, 2.0 * median).len();
    println!(
        "\nBefore: median {median:.1} ms, {slow_before} of {} slower than twice it.",
        before.samples.len()
    );
    match recovered {
        Some((begin, _)) => {
            let later = slow.iter().filter(|due| **due > begin).count();
            println!(
                "Recovered {:.2} s after the overload; {later} of {} requests were slow again later.",
                begin.as_secs_f64(),
                after.samples.len(),
            );
        }
        None => println!("Not recovered within {:?}.", after.time),
    }
}

/// Returns the times at which requests were due that were not answered within this time.
fn slow_requests(outcome: &Outcome, milliseconds: f64) -> Vec<Duration> {
    let slow = outcome.samples.iter().filter(|sample| {
        !sample.is_answered() || sample.latency.as_secs_f64() * 1e3 > milliseconds
    });
    slow.map(|sample| sample.due).collect()
}
