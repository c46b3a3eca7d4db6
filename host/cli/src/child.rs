//! The entry point of `wisp` as a child process of a server. It performs tasks within limits set by
//! its parent, and writes the results to standard output.

use crate::loading::{backends, optional_cache_directory};
use crate::options::{ChildArgs, ChildTask, LoadArgs};
use anyhow::Context;
use std::process::ExitCode;
use wisp_sandbox::{aot, limited_process, worker_process};
use wisp_serving::registry::load_child;

/// The size in bytes of the native stack on which a server loads models. A child uses the same size,
/// so that a model that overflows the server's stack fails here first.
const STACK_BYTES: usize = 2 << 20;

pub(crate) fn run(args: &ChildArgs) -> anyhow::Result<ExitCode> {
    match &args.task {
        ChildTask::Compile => {
            let input = limited_process::begin().context("failed to read the task")?;
            let answer = aot::compile(&input);
            limited_process::finish(&answer).context("failed to write the result")?;
        }
        ChildTask::Load(args) => load(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Loads model files, one after another.
fn load(args: &LoadArgs) -> anyhow::Result<()> {
    let cache = optional_cache_directory(args.cache.cache_dir.as_deref());
    let backends = backends(&args.backend, cache.as_deref());
    let serve = || worker_process::serve(|task| load_child::perform(task, &backends));
    let served = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let serving = thread.spawn_scoped(scope, serve)?;
        let served = serving.join();
        served.unwrap_or_else(|_| Err(std::io::Error::other("a backend has panicked")))
    });
    served.context("failed to exchange tasks and answers")
}
