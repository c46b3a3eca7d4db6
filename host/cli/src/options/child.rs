//! The hidden subcommand with which `wisp` runs itself as a child process.

use super::value::{InputShape, input_shape};
use super::{BackendArgs, CacheArgs};
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;
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
    /// Load a model file and compute it once.
    Probe(ProbeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    pub(crate) file: PathBuf,

    #[arg(long)]
    pub(crate) threads: NonZeroUsize,

    /// The shape that is set for an input, as `NAME=SIZExSIZE`.
    #[arg(long, value_parser = input_shape)]
    pub(crate) shape: Vec<InputShape>,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}
