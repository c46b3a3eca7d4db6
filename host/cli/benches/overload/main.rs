//! Measures the server under overload: `cargo bench --workspace --bench overload`.
//!
//! Without an argument it has two parts: `neighbours` attacks one model and measures the clients of another, and
//! `capacity` sends more requests than the server can answer. An argument selects one of them, or one of these:
//!
//! - `control`, which is `neighbours` with attacks on a second server,
//! - `tenants`, with attacks of one tenant and the requests of another, and `tenants-control`, the same with a second server,
//! - `fairness`, with tenants that all want more than there is,
//! - `isolation`, with the cost of a worker process,
//! - `density`, with thousands of models in one process.
//!
//! For example `cargo bench --workspace --bench overload -- tenants`. A second argument selects one attack of `neighbours` by
//! its letter: `neighbours c`. Requests are sent in open loop, from a schedule that does not depend on responses, and
//! latencies are counted from that schedule; `fairness`, `isolation` and `density` send the next request after a response.
//!
//! In `capacity`, the server has one processor and the load generator another one. In all other parts nothing is pinned:
//! the server and all clients share all processors, so a client that keeps a processor busy takes it from the server.
//!
//! `WISP_BENCH_SECONDS` sets the duration of each measurement (10 by default), except for those of `density`, which takes as
//! long as its calls. `WISP_BENCH_MODELS` sets its number of models (3000 by default), and `WISP_BACKEND` their backend.
//! `WISP` selects another build of the server, for comparisons.

#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

mod attack;
mod capacity;
mod client;
mod clock;
mod density;
mod fairness;
mod fetch;
mod isolation;
mod matrix;
mod neighbours;
#[allow(dead_code, reason = "each user of it uses a part of it")]
#[path = "../../../../tests/harness/numbers.rs"]
mod numbers;
#[allow(dead_code, reason = "each user of it uses a part of it")]
#[path = "../../../../tests/harness/onnx.rs"]
mod onnx;
mod open_loop;
mod outcome;
mod png;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/process.rs"]
mod process;
mod repository;
mod request;
mod server;
mod tenancy;
mod tenants;

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
    let repository = Repository::create()?;
    if part.as_deref() != Some("density") {
        println!("Each measurement takes {seconds} s.");
    }
    let attack = |target: Target| -> Result<()> {
        let attacks = neighbours::attacks(letter.as_deref())?;
        neighbours::measure(&repository, target, &attacks, time)
    };
    match part.as_deref() {
        // This process stays on one processor after `capacity`.
        None => {
            attack(Target::Same)?;
            capacity::measure(&repository, time)
        }
        Some("capacity") => capacity::measure(&repository, time),
        Some("neighbours") => attack(Target::Same),
        Some("control") => attack(Target::Other),
        Some("tenants") => tenants::measure(&repository, Target::Same, time),
        Some("tenants-control") => tenants::measure(&repository, Target::Other, time),
        Some("fairness") => fairness::measure(&repository, time),
        Some("isolation") => isolation::measure(&repository, time),
        Some("density") => density::measure(&repository),
        Some(other) => bail!(
            "`{other}` is not `capacity`, `neighbours`, `control`, `tenants`, `tenants-control`, `fairness`, `isolation` or \
             `density`"
        ),
    }
}
