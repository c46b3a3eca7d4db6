//! onnxruntime's Python interface, called directly in a separate process that computes on command.

use crate::environment::{Environment, scripts};
use crate::process;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

/// The Python process, on cpu 0. Killed on drop.
pub(crate) struct Direct {
    child: Child,
    orders: ChildStdin,
    results: BufReader<ChildStdout>,
}

/// The timings of consecutive runs, each per run and in microseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Took {
    pub(crate) median: f64,
    pub(crate) p99: f64,
    /// Processor time.
    pub(crate) cpu: f64,
}

impl Direct {
    pub(crate) fn start(environment: &Environment, model: &Path) -> Result<Direct> {
        let mut command = environment.command("python", &scripts("models"));
        command.arg("direct.py").env("BENCH_MODEL", model);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = process::spawn(command.stderr(Stdio::inherit()))?;
        let orders = child.stdin.take().context("no input")?;
        let results = child.stdout.take().context("no output")?;
        Ok(Direct {
            child,
            orders,
            results: BufReader::new(results),
        })
    }

    /// Computes batches of this size for `time`.
    pub(crate) fn run(&mut self, batch: usize, time: Duration) -> Result<Took> {
        writeln!(self.orders, "{batch} {}", time.as_secs_f64())?;
        let mut line = String::new();
        self.results.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("direct.py printed `{line}`"))
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
