//! The process that starts the children of a caged server: how a server starts it, and its subcommand.
//!
//! The server cannot run programs, so it starts this process before it locks itself in. The commands of the children
//! are derived from the arguments of the spawner, which the server gives it while nothing from outside has been read;
//! afterwards it can choose among the tasks only. The spawner opens no connection and no file for writing but one, by which
//! the kernel ends its children first when memory runs out, and ends with the server.
//!
//! Workers of tenants are started by another process of the same kind, since they do more than children: they write the
//! files of their tenants, and start children themselves. Whatever the rules of a spawner refuse, they cannot do either.

use crate::confinement::{FileRules, Profile, Reading, confine, places};
use crate::loading::{load_arguments, this_program};
use crate::options::{BackendArgs, CHILD, SpawnArgs, SpawnWorkersArgs};
use anyhow::Context;
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use wisp_sandbox::aot::COMPILATION;
use wisp_sandbox::limited_process::{ProcessLimits, child_command};
use wisp_sandbox::oom_score;
use wisp_sandbox::spawner::{self, SpawnTask, SpawnedCommand, Spawner};

/// The most paths that are passed as arguments. With more, children read what their user may read.
const MAX_PATHS: usize = 1000;

/// The beginnings of the variables of a server that a worker does not see. Its settings are arguments, and the passwords
/// of other servers are none of its business.
const HIDDEN_VARIABLES: [&[u8]; 2] = [b"WISP_", b"OTEL_"];

/// The needs of the children of a server.
#[derive(Debug)]
pub(crate) struct SpawnerOptions<'a> {
    pub(crate) backend: &'a BackendArgs,
    pub(crate) cache: Option<&'a Path>,
    /// The places that children which load models may read.
    pub(crate) read: &'a [PathBuf],
    /// The limits on loading a model file.
    pub(crate) load: ProcessLimits,
}

/// Starts the process. It ends when the returned spawner and its clones have been dropped, or with this process.
pub(crate) fn start(options: &SpawnerOptions<'_>) -> anyhow::Result<(Spawner, Child)> {
    let (spawner, socket) = spawner::connection().context("failed to make a pair of sockets")?;
    let mut arguments = load_arguments(options.backend, options.cache, "spawn");
    for (name, number) in [
        ("--load-secs", options.load.processor_time.as_secs()),
        ("--load-memory-bytes", options.load.memory_bytes),
    ] {
        arguments.extend([name.into(), number.to_string().into()]);
    }
    if options.read.len() <= MAX_PATHS {
        arguments.extend(read_arguments(options.read));
    }
    let process = Command::new(this_program())
        .args(arguments)
        .stdin(socket)
        .stdout(Stdio::null())
        // A terminal sends its signals to the server's group.
        .process_group(0)
        .spawn()
        .context("failed to start the process that starts child processes")?;
    Ok((spawner, process))
}

/// The needs of the workers of a server.
#[derive(Debug)]
pub(crate) struct WorkerSpawnerOptions<'a> {
    /// The arguments of each of them.
    pub(crate) arguments: Vec<OsString>,
    pub(crate) memory_bytes: u64,
    /// The directory below which they write.
    pub(crate) files: &'a Path,
    /// Set if they move files from one directory to another, as uploads are.
    pub(crate) moves: bool,
}

/// Starts the process that starts workers. It ends as the one of [`start`] does.
pub(crate) fn start_workers(options: WorkerSpawnerOptions<'_>) -> anyhow::Result<(Spawner, Child)> {
    let (spawner, socket) = spawner::connection().context("failed to make a pair of sockets")?;
    let process = Command::new(this_program())
        .args([CHILD, "spawn-workers", "--memory-bytes"])
        .arg(options.memory_bytes.to_string())
        .arg("--write")
        .arg(options.files)
        .args(options.moves.then_some("--moves"))
        .arg("--")
        .args(options.arguments)
        .stdin(socket)
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .context("failed to start the process that starts workers")?;
    Ok((spawner, process))
}

/// Starts workers for the server at the other end of standard input, until it has ended.
pub(crate) fn run_workers(args: &SpawnWorkersArgs) -> anyhow::Result<()> {
    follow_server()?;
    oom_score::prepare();
    let rules = FileRules {
        reading: Reading::Everything,
        write: vec![args.write.clone()],
        moves: args.moves,
        devices: places::devices(),
        executes: true,
        ..FileRules::default()
    };
    confine(&rules, Profile::WorkerSpawner)?;
    let stdin = std::io::stdin();
    let served = spawner::serve(stdin.as_fd(), |task| {
        let mut command = match task {
            SpawnTask::Worker => child_command(this_program(), &args.worker),
            // Nobody asks this process for another child, and it has none.
            SpawnTask::Compile | SpawnTask::Load => child_command("/dev/null", &[]),
        };
        for name in hidden_variables() {
            command.env_remove(name);
        }
        SpawnedCommand {
            command,
            processor_seconds: 0,
            limits_itself: true,
            memory_bytes: args.memory_bytes,
            keeps_messages: true,
        }
    });
    served.context("failed to receive requests for workers")
}

/// Returns the names of the variables of this process that a worker does not see.
pub(crate) fn hidden_variables() -> Vec<OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    let hidden = names.filter(|name| {
        let name = name.as_encoded_bytes();
        HIDDEN_VARIABLES
            .iter()
            .any(|hidden| name.starts_with(hidden))
    });
    // It computes with the threads of its settings, and not of other children.
    hidden
        .chain([OsString::from("RAYON_NUM_THREADS")])
        .collect()
}

/// Ends this process with the server, and not before.
pub(crate) fn follow_server() -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("failed to follow the server")?;
    // A service manager may send its signals to all processes of the service. The server decides when to end.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let ignored = flag::register(signal, Arc::new(AtomicBool::new(false)));
        ignored.context("failed to ignore signals")?;
    }
    Ok(())
}

/// Starts children for the server at the other end of standard input, until it has ended.
pub(crate) fn run(args: &SpawnArgs) -> anyhow::Result<()> {
    follow_server()?;
    oom_score::prepare();
    let rules = FileRules {
        reading: Reading::Everything,
        devices: places::devices(),
        executes: true,
        ..FileRules::default()
    };
    // The server reports the rules that this kernel does not enforce.
    confine(&rules, Profile::Spawner)?;
    let cache = args.load.cache.cache_dir.as_deref();
    let mut load = load_arguments(&args.load.backend, cache, "load");
    load.extend(read_arguments(&args.load.read));
    let compile: Vec<OsString> = vec![CHILD.into(), "compile".into()];
    let stdin = std::io::stdin();
    let served = spawner::serve(stdin.as_fd(), |task| match task {
        SpawnTask::Compile => SpawnedCommand {
            command: child_command(this_program(), &compile),
            processor_seconds: COMPILATION.processor_time.as_secs(),
            limits_itself: false,
            memory_bytes: COMPILATION.memory_bytes,
            keeps_messages: false,
        },
        SpawnTask::Load => SpawnedCommand {
            command: child_command(this_program(), &load),
            processor_seconds: args.load_secs,
            limits_itself: true,
            memory_bytes: args.load_memory_bytes,
            keeps_messages: false,
        },
        // Another process starts workers.
        SpawnTask::Worker => SpawnedCommand {
            command: child_command("/dev/null", &[]),
            processor_seconds: 0,
            limits_itself: false,
            memory_bytes: 0,
            keeps_messages: false,
        },
    });
    served.context("failed to receive requests for child processes")
}

fn read_arguments(paths: &[PathBuf]) -> Vec<OsString> {
    let arguments = paths
        .iter()
        .flat_map(|path| [OsString::from("--read"), path.clone().into_os_string()]);
    arguments.collect()
}
