//! The hidden subcommand with which `wisp` runs itself as a child process.

use super::{BackendArgs, CacheArgs, ServeArgs};
use clap::{Args, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// The name of the subcommand.
pub(crate) const CHILD: &str = "child-process";

#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    #[command(subcommand)]
    pub(crate) task: ChildTask,
}

/// A task that reads its input from standard input and writes its result to standard output.
#[derive(Debug, Subcommand)]
pub(crate) enum ChildTask {
    /// Compile a component.
    Compile,
    /// Load model files, and compute each once.
    Load(LoadArgs),
    /// Start children of the other kinds for a server, which is at the other end of standard input.
    Spawn(SpawnArgs),
    /// Start workers for a server, which is at the other end of standard input.
    SpawnWorkers(SpawnWorkersArgs),
    /// Serve the requests of one tenant for a server, which is at the other end of standard input.
    Worker(Box<ServeArgs>),
    /// Confine this process like a server, and print its remaining abilities. For tests.
    Attempt(AttemptArgs),
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,

    /// A file, or a directory with all below it, that may be read. Without one, everything may be that the user may
    /// read.
    #[arg(long, value_name = "PATH")]
    pub(crate) read: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SpawnArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,

    /// The processor time for loading a model file.
    #[arg(long, value_name = "N")]
    pub(crate) load_secs: u64,

    /// The memory for loading a model file.
    #[arg(long, value_name = "N")]
    pub(crate) load_memory_bytes: u64,
}

#[derive(Debug, Args)]
pub(crate) struct SpawnWorkersArgs {
    /// The directory of the files of tenants, where workers write.
    #[arg(long, value_name = "DIR")]
    pub(crate) write: PathBuf,

    /// Let workers move files from one directory to another.
    #[arg(long)]
    pub(crate) moves: bool,

    /// The memory of a worker.
    #[arg(long, value_name = "N")]
    pub(crate) memory_bytes: u64,

    /// The arguments of a worker.
    #[arg(last = true)]
    pub(crate) worker: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct AttemptArgs {
    /// The kind of process whose rules apply.
    #[arg(value_enum)]
    pub(crate) of: ConfinedChoice,

    /// A directory that may be read.
    #[arg(long, value_name = "DIR")]
    pub(crate) read: PathBuf,

    /// A directory that may be written.
    #[arg(long, value_name = "DIR")]
    pub(crate) write: PathBuf,

    /// A file outside of both.
    #[arg(long, value_name = "FILE")]
    pub(crate) outside: PathBuf,

    /// A port on this machine that accepts connections.
    #[arg(long, value_name = "PORT")]
    pub(crate) port: u16,

    /// Set if the settings of the server need connections to that port.
    #[arg(long)]
    pub(crate) connects: bool,

    /// The id of a process of the same user.
    #[arg(long, value_name = "PID")]
    pub(crate) process: u32,
}

/// The kinds of confined processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ConfinedChoice {
    Server,
    Compiler,
    Loader,
}
