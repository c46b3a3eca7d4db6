//! Part `isolation`: the costs of a worker process for its tenant, compared with a tenant that shares the process of the server.
//!
//! Both levels are measured in turns, each on a server of its own. A first request is that to a server that has just
//! started and has all code compiled: with a worker, it starts the process and loads the model.

use crate::attack;
use crate::client::Client;
use crate::outcome::{median, percentile};
use crate::repository::Repository;
use crate::request;
use crate::tenancy::{LEVELS, Tenancy};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// The number of times that everything is measured.
const ROUNDS: usize = 5;

/// The busy connections that measure the throughput.
const CONNECTIONS: usize = 16;

/// The medians of these are printed, in this order.
const COLUMNS: [&str; 5] = [
    "first request, ms",
    "p50 at 1, us",
    "p99 at 1, us",
    "requests/s at 16",
    "memory of the worker, of it files that processes share, MB",
];

/// The measured numbers of all rounds, by level and model.
type Numbers = BTreeMap<(&'static str, &'static str), Vec<Measured>>;

/// The numbers of one round.
#[derive(Debug, Clone, Copy)]
struct Measured {
    first_milliseconds: f64,
    p50_microseconds: f64,
    p99_microseconds: f64,
    per_second: f64,
    worker_megabytes: f64,
    worker_files_megabytes: f64,
}

/// Prints a table of all levels.
pub(crate) fn measure(repository: &Repository, time: Duration) -> Result<()> {
    let mut tenancies = Vec::new();
    for level in LEVELS {
        let name = format!("cost-{level}");
        let tenancy = Tenancy::create(repository, &name, &[("tenant", level)])?;
        tenancies.push((level, tenancy));
    }
    let models = [
        ("`wine` with its handler", request::wine()),
        ("`shapes`, a graph alone", request::bare()),
    ];
    let mut numbers = Numbers::new();
    // The first round compiles.
    for round in 0..=ROUNDS {
        for (level, tenancy) in &tenancies {
            for (model, request) in &models {
                let request = tenancy.of("tenant", request)?;
                let measured = once(repository, tenancy, (&request, time))?;
                if round > 0 {
                    numbers.entry((level, model)).or_default().push(measured);
                }
            }
        }
    }
    println!("\nA tenant at each level of isolation; medians of {ROUNDS} rounds in turns.\n");
    println!("| isolation | model | {} |", COLUMNS.join(" | "));
    println!("|---|---|---|---|---|---|---|");
    for ((level, model), rounds) in &numbers {
        let of = |read: fn(&Measured) -> f64| median(rounds.iter().map(read).collect());
        println!(
            "| {level} | {model} | {:.1} | {:.0} | {:.0} | {:.0} | {:.1}, {:.1} |",
            of(|measured| measured.first_milliseconds),
            of(|measured| measured.p50_microseconds),
            of(|measured| measured.p99_microseconds),
            of(|measured| measured.per_second),
            of(|measured| measured.worker_megabytes),
            of(|measured| measured.worker_files_megabytes),
        );
    }
    Ok(())
}

/// Measures a new server.
fn once(
    repository: &Repository,
    tenancy: &Tenancy,
    (request, time): (&[u8], Duration),
) -> Result<Measured> {
    let server = tenancy.start(repository)?;
    let stop = AtomicBool::new(false);
    let mut client = Client::new(server.address, &stop);
    let mut exchange = || -> Result<Duration> {
        let started = Instant::now();
        let status = client.exchange(request)?;
        ensure!(status == 200, "{status}");
        Ok(started.elapsed())
    };
    let first = exchange()?;
    // Until it is as fast as it becomes.
    let warm = Instant::now() + time / 4;
    while Instant::now() < warm {
        exchange()?;
    }
    let mut latencies = Vec::new();
    let end = Instant::now() + time;
    while Instant::now() < end {
        latencies.push(exchange()?);
    }
    let per_second = attack::capacity(server.address, request.to_vec(), CONNECTIONS, time)?;
    let workers = tenancy.workers()?;
    let (mut bytes, mut of_files) = (0.0, 0.0);
    for worker in workers {
        bytes += worker.resident;
        of_files += worker.of_files;
    }
    let microseconds = |share: f64| percentile(latencies.iter().copied(), share) * 1e3;
    Ok(Measured {
        first_milliseconds: first.as_secs_f64() * 1e3,
        p50_microseconds: microseconds(0.5),
        p99_microseconds: microseconds(0.99),
        per_second,
        worker_megabytes: bytes / 1e6,
        worker_files_megabytes: of_files / 1e6,
    })
}
