//! The settings of `wisp serve` for the cage.

use clap::Args;
use std::path::PathBuf;

/// The choice of the cage, and additional paths that the caged server may read.
#[derive(Debug, Args)]
pub(crate) struct CageArgs {
    /// Restrict the server when it starts, on Linux. It then reads only the repository and the files of its settings,
    /// writes only the cache and state directories, the payload log and the usage log, connects only to the servers of its
    /// settings, and runs no program. `--no-cage` and `--watch` serve without these restrictions.
    #[arg(long, value_name = "BOOL", env = "WISP_CAGE", default_value_t = true)]
    pub(crate) cage: bool,

    /// The same as `--cage=false`.
    #[arg(long)]
    pub(crate) no_cage: bool,

    /// Let the caged server also read this file or directory, for example the target of links that are added to the
    /// repository while it runs. May be repeated, or given as a list with commas [default: none].
    #[arg(
        long,
        value_name = "PATH",
        env = "WISP_CAGE_READ",
        value_delimiter = ','
    )]
    pub(crate) cage_read: Vec<PathBuf>,
}

impl CageArgs {
    /// Returns whether the server locks itself in.
    pub(crate) fn is_caged(&self) -> bool {
        self.cage && !self.no_cage
    }
}
