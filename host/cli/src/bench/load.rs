//! What it costs to load a graph: time and memory, in a process that does nothing else.

use crate::options::BenchArgs;
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;
use wisp_backend::measure::varied_inputs;
use wisp_backend::{Backend, LoadOptions};

/// What loading a graph and computing it once took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct LoadCost {
    /// Until it could compute.
    pub(super) load_microseconds: f64,
    /// By how much the process has grown, where the system tells; the engine's own code included.
    pub(super) memory_bytes: Option<u64>,
}

/// The cost of loading the graph at `path` with `backend`; none where that fails.
pub(super) fn measure(
    backend: &str,
    path: &Path,
    options: &LoadOptions,
    args: &BenchArgs,
) -> anyhow::Result<Option<LoadCost>> {
    let program = std::env::current_exe().context("failed to find this program")?;
    let mut command = Command::new(program);
    command
        .arg("bench")
        .arg(path)
        .args(["--load-only", backend]);
    command.args(["--threads", &options.threads.to_string()]);
    command.args(["--device", &options.device.to_string()]);
    if let Some(directory) = &args.cache.cache_dir {
        command.arg("--cache-dir").arg(directory);
    }
    if let Some(library) = &args.backend.onnxruntime_library {
        command.arg("--onnxruntime-library").arg(library);
    }
    let output = command
        .output()
        .context("failed to run this program again")?;
    match output.status.success() {
        true => Ok(Some(serde_json::from_slice(&output.stdout)?)),
        false => Ok(None),
    }
}

/// Load the graph in this process and print what that took.
pub(super) fn measure_here(
    backend: &dyn Backend,
    path: &Path,
    options: &LoadOptions,
) -> anyhow::Result<ExitCode> {
    let before = resident_bytes();
    let started = Instant::now();
    let graph = backend.load(path, options)?;
    let load_microseconds = started.elapsed().as_secs_f64() * 1e6;
    graph.compute(&varied_inputs(&*graph, 1)?)?;
    let memory_bytes = before
        .zip(resident_bytes())
        .map(|(a, b)| b.saturating_sub(a));
    let cost = LoadCost {
        load_microseconds,
        memory_bytes,
    };
    println!("{}", serde_json::to_string(&cost)?);
    Ok(ExitCode::SUCCESS)
}

/// The memory that this process occupies, as Linux tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
