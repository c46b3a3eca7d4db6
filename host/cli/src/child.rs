//! The entry point of `wisp` as a child process of a server. It performs one task within limits set by
//! its parent, and writes the result to standard output.

use crate::loading::{backends, optional_cache_directory};
use crate::options::{ChildArgs, ChildTask, InputShape, ProbeArgs};
use anyhow::Context;
use std::process::ExitCode;
use wisp_backend::{LoadOptions, ModelSource};
use wisp_sandbox::aot;
use wisp_sandbox::limited_process::{self, ChildAnswer};

/// The size in bytes of the native stack on which a server loads models. The probe uses the same size,
/// so that a model that overflows the server's stack fails here first.
const STACK_BYTES: usize = 2 << 20;

pub(crate) fn run(args: &ChildArgs) -> anyhow::Result<ExitCode> {
    let input = limited_process::begin().context("failed to read the task")?;
    let response = match &args.task {
        ChildTask::Compile => aot::compile(&input),
        ChildTask::Probe(args) => probe(args)?,
    };
    limited_process::finish(&response).context("failed to write the result")?;
    Ok(ExitCode::SUCCESS)
}

fn probe(args: &ProbeArgs) -> anyhow::Result<ChildAnswer> {
    let loaded = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let loading = thread.spawn_scoped(scope, || load(args))?;
        let loaded = loading.join();
        loaded.map_err(|_| anyhow::Error::msg("the backend has panicked"))
    })?;
    Ok(match loaded {
        Ok(()) => ChildAnswer::Result(Vec::new()),
        Err(error) => ChildAnswer::Refusal(format!("{error:#}")),
    })
}

/// Loads the file as a server would, and computes the graph once, as a server does to measure its time.
fn load(args: &ProbeArgs) -> anyhow::Result<()> {
    let cache = optional_cache_directory(args.cache.cache_dir.as_deref());
    let backends = backends(&args.backend, cache.as_deref());
    let backend = backends.find(&args.backend.backend)?;
    let options = LoadOptions {
        threads: args.threads,
        shapes: args
            .shape
            .iter()
            .cloned()
            .map(InputShape::into_pair)
            .collect(),
        ..LoadOptions::default()
    };
    let graph = backend.load(ModelSource::Path(&args.file), &options)?;
    if let Ok(inputs) = graph.sample_inputs() {
        // The result does not matter, only that the computation ends.
        let _ = graph.compute(&inputs);
    }
    Ok(())
}
