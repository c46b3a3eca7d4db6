//! Measures the time and memory of loading a graph, in a process that does nothing else.

use crate::options::{BenchArgs, InputShape, NamedShape};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;
use wisp_backend::measure::shaped_inputs;
use wisp_backend::{Backend, LoadOptions, ModelSource};

/// The cost of loading a graph and of computing it once.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct LoadCost {
    /// The time until the graph can compute.
    pub(super) load_microseconds: f64,
    /// The growth of the process's memory, including the backend's own code, if the system reports it.
    pub(super) memory_bytes: Option<u64>,
}

/// Returns the cost of loading the graph at `path` with `backend`, or `None` if loading fails.
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
    for shape in &args.shape {
        command.args(["--shape", &shape.to_string()]);
    }
    for (name, shape) in &options.shapes {
        let (name, shape) = (name.clone(), shape.clone());
        command.arg(format!("--fixed-shape={}", InputShape { name, shape }));
    }
    if let Some(directory) = &args.cache.cache_dir {
        command.arg("--cache-dir").arg(directory);
    }
    if let Some(library) = args.backend.onnxruntime_library() {
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

/// Loads the graph in this process and prints the cost.
pub(super) fn measure_here(
    backend: &dyn Backend,
    path: &Path,
    options: &LoadOptions,
    shapes: &[NamedShape],
) -> anyhow::Result<ExitCode> {
    let before = resident_bytes();
    let started = Instant::now();
    let graph = backend.load(ModelSource::Path(path), options)?;
    let load_microseconds = started.elapsed().as_secs_f64() * 1e6;
    graph.compute(&shaped_inputs(&*graph, None, &by_name(shapes))?)?;
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

/// Returns the sizes of inputs by the names of these.
pub(super) fn by_name(shapes: &[NamedShape]) -> BTreeMap<String, Vec<u32>> {
    let sizes = |shape: &NamedShape| (shape.name.clone(), shape.sizes.clone());
    shapes.iter().map(sizes).collect()
}

/// Returns the resident memory of this process, as Linux reports it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
