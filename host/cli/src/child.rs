//! The entry point of `wisp` as a child process of a server. It performs tasks within limits set by
//! its parent, and writes the results to standard output.
//!
//! Before a child reads its input, it locks itself in: it writes no file, opens no connection and runs no program. One
//! that compiles opens no file at all.

mod attempts;

use crate::confinement::{FileRules, Profile, Reading, confine, places};
use crate::loading::{backends, optional_cache_directory};
use crate::options::{ChildArgs, ChildTask, LoadArgs};
use crate::serve;
use crate::spawner;
use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::ExitCode;
use wisp_sandbox::{aot, limited_process, worker_process};
use wisp_serving::registry::load_child;

/// The size in bytes of the native stack on which a server loads models. A child uses the same size,
/// so that a model that overflows the server's stack fails here first.
const STACK_BYTES: usize = 2 << 20;

/// The number of descriptors that a child may have: its streams, and libraries and external data while they are read.
const DESCRIPTORS: u64 = 256;

/// The size in bytes to which a child can make a file grow, on a kernel that lets it open one. Some versions of ONNX
/// Runtime write a small one in the user's directory, and a child that exceeds the limit ends.
const FILE_BYTES: u64 = 16 << 20;

pub(crate) fn run(args: &ChildArgs) -> anyhow::Result<ExitCode> {
    match &args.task {
        ChildTask::Compile => {
            lock_in(&FileRules::default(), Profile::Compiler)?;
            let input = limited_process::begin().context("failed to read the task")?;
            let answer = aot::compile(&input);
            limited_process::finish(&answer).context("failed to write the result")?;
        }
        ChildTask::Load(args) => load(args)?,
        ChildTask::Spawn(args) => spawner::run(args)?,
        ChildTask::SpawnWorkers(args) => spawner::run_workers(args)?,
        ChildTask::Worker(args) => return serve::run_worker(args),
        ChildTask::Attempt(args) => attempts::run(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Loads model files, one after another.
fn load(args: &LoadArgs) -> anyhow::Result<()> {
    lock_in(&loader_rules(args), Profile::Loader)?;
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

/// Returns the rules of a child that loads model files: the places of its arguments and of libraries.
fn loader_rules(args: &LoadArgs) -> FileRules {
    let reading = match args.read.as_slice() {
        [] => Reading::Everything,
        paths => Reading::Only(paths.iter().cloned().chain(places::system()).collect()),
    };
    FileRules {
        reading,
        devices: places::devices(),
        ..FileRules::default()
    }
}

/// Locks this child in. A kernel that cannot do so is reported by the server.
fn lock_in(rules: &FileRules, profile: Profile) -> anyhow::Result<()> {
    for (resource, most) in [
        (Resource::Fsize, FILE_BYTES),
        (Resource::Nofile, DESCRIPTORS),
        (Resource::Core, 0),
    ] {
        // This process may have less already, and cannot raise it.
        let most = getrlimit(resource)
            .maximum
            .map_or(most, |maximum| most.min(maximum));
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit).context("failed to limit the process")?;
    }
    confine(rules, profile).context("failed to lock the process in")?;
    Ok(())
}
