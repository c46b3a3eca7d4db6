//! The cache directory of `wisp`.

use clap::Args;
use std::path::PathBuf;

/// The cache directory, for every command that stores files that can be created or downloaded again.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// The directory for compiled handlers and installed backends [default: wisp in the user's cache
    /// directory].
    ///
    /// Only the current user may have write access. It can be deleted at any time.
    #[arg(long, value_name = "DIR", env = "WISP_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}
