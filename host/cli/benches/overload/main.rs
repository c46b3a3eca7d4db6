//! Measures the server under overload: `cargo bench --workspace --bench overload`.
//!
//! It has two parts: `capacity` sends more requests than the server can answer, and `neighbours`
//! attacks one model and measures the clients of another. An argument selects one of them, or
//! `control`, which is `neighbours` with attacks on a second server:
//! `cargo bench --workspace --bench overload -- capacity`. A second argument selects one attack by its
//! letter: `neighbours c`. Requests are sent in open loop, from a schedule that does not depend on
//! responses, and latencies are counted from that schedule.
//!
//! Nothing is pinned: the server and all clients share all processors, so a client that keeps a
//! processor busy takes it from the server.
//!
//! `WISP_BENCH_SECONDS` sets the duration of each measurement (10 by default). `WISP` selects another
//! build of the server, for comparisons.

#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

mod attack;
mod capacity;
mod client;
mod clock;
mod neighbours;
mod open_loop;
mod outcome;
mod png;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/process.rs"]
mod process;
mod repository;
mod request;
mod server;

use anyhow::{Result, bail};
use neighbours::Target;
use repository::Repository;
use std::time::Duration;

fn main() -> Result<()> {
    let seconds = std::env::var("WISP_BENCH_SECONDS").ok();
    let seconds: f64 = seconds.map_or(Ok(10.0), |seconds| seconds.parse())?;
    let time = Duration::try_from_secs_f64(seconds)?;
    // Cargo adds options of its own.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    let part = arguments.next();
    let letter = arguments.next();
    let (capacity, attacked) = match part.as_deref() {
        None => (true, Some(Target::Same)),
        Some("capacity") => (true, None),
        Some("neighbours") => (false, Some(Target::Same)),
        Some("control") => (false, Some(Target::Other)),
        Some(other) => bail!("`{other}` is not `capacity`, `neighbours` or `control`"),
    };
    let repository = Repository::create()?;
    println!("Each measurement takes {seconds} s; server and clients share all processors.");
    if capacity {
        capacity::measure(&repository, time)?;
    }
    if let Some(target) = attacked {
        let attacks = neighbours::attacks(letter.as_deref())?;
        neighbours::measure(&repository, target, &attacks, time)?;
    }
    Ok(())
}
