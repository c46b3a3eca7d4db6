//! The hidden subcommand with which `wisp` runs itself as a child process.

use super::{BackendArgs, CacheArgs};
use clap::{Args, Subcommand};

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
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}
