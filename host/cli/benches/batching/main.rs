//! Measures requests that are computed together: `cargo bench --workspace --bench batching`.
//!
//! It has two parts: `settings` compares the settings of `batching` of four models on each backend, and `peers`
//! compares Wisp with other servers that batch, for a text encoder. An argument selects one of them:
//! `cargo bench --workspace --bench batching -- peers`. Servers run on cpu 0 and the load generator on cpu 1. The
//! contenders take turns within a round, and the report prints medians over rounds. Ratios are taken within each
//! round. In `settings`, two of the contenders are equal: their ratio is the noise.
//!
//! Models and servers are created and installed below target/ on first use; nothing is downloaded but packages from
//! PyPI. `WISP_BENCH_ROUNDS` sets the number of rounds (12 in `settings`, 5 in `peers`), and `WISP_BENCH_SECONDS` the
//! time for which a contender is loaded in a round (0.5 in `settings`, 10 in `peers`), which is longer where requests
//! take long.
//! `WISP_BENCH_MODELS` and `WISP_BENCH_BACKENDS` select models and backends of `settings` by comma-separated names
//! (all by default).

#![allow(clippy::print_stdout, reason = "it reports to the terminal")]

#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../peers/environment.rs"]
mod environment;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/load.rs"]
mod load;
mod measured;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../models/model.rs"]
mod model;
mod peers;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../serving/process.rs"]
mod process;
mod report;
mod served;
mod settings;

use anyhow::{Context, Result, bail};
use environment::{Environment, Packages, root, scripts, succeed};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// The Python environment that makes the models, and the library of ONNX Runtime in it.
pub(crate) struct Tools {
    python: Environment,
    pub(crate) library: PathBuf,
}

/// The number of rounds, and the shortest time that a contender is loaded in a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) time: Duration,
}

fn main() -> Result<()> {
    // Cargo adds options of its own.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    let part = arguments.next();
    let (settings, peers) = match part.as_deref() {
        None => (true, true),
        Some("settings") => (true, false),
        Some("peers") => (false, true),
        Some(other) => bail!("`{other}` is neither `settings` nor `peers`"),
    };
    process::pin(1);
    let tools = Tools::install()?;
    if settings {
        settings::compare(&tools, Rounds::of_environment((12, 0.5))?)?;
    }
    if peers {
        peers::compare(&tools, Rounds::of_environment((5, 10.0))?)?;
    }
    Ok(())
}

/// Returns the names that an environment variable selects; all of them if it is not set.
pub(crate) fn chosen(variable: &str, all: &[&'static str]) -> Result<Vec<&'static str>> {
    let Ok(names) = std::env::var(variable) else {
        return Ok(all.to_vec());
    };
    let find = |name: &str| {
        let mut all = all.iter().copied();
        let found = all.find(|one| *one == name.trim());
        found.with_context(|| format!("{variable}: there is no `{name}`"))
    };
    names.split(',').map(find).collect()
}

// === impl Tools ===

impl Tools {
    fn install() -> Result<Tools> {
        let list = &scripts("batching").join("models.txt");
        let complete = true;
        let python = Environment::install("batching", Packages { list, complete })?;
        Ok(Tools {
            library: python.onnxruntime_library()?,
            python,
        })
    }

    /// Makes these models, unless they have been made before. Returns the directory that has one for each.
    pub(crate) fn make_models(&self, names: &[&str]) -> Result<PathBuf> {
        let directory = root()?.join("target/bench-models");
        let mut make = self.python.command("python", &scripts("models"));
        make.arg("make_models.py").arg(&directory).args(names);
        make.stdout(Stdio::inherit()).stderr(Stdio::inherit());
        succeed(&mut make)?;
        Ok(directory)
    }
}

// === impl Rounds ===

impl Rounds {
    /// Returns the rounds that the environment asks for; this many of this many seconds if it does not.
    fn of_environment((rounds, seconds): (usize, f64)) -> Result<Rounds> {
        let count = std::env::var("WISP_BENCH_ROUNDS").ok();
        let asked = std::env::var("WISP_BENCH_SECONDS").ok();
        let seconds: f64 = asked.map_or(Ok(seconds), |seconds| seconds.parse())?;
        Ok(Rounds {
            count: count.map_or(Ok(rounds), |count| count.parse())?,
            time: Duration::try_from_secs_f64(seconds)?,
        })
    }
}
