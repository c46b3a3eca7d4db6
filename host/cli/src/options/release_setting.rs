//! The settings of `wisp serve` for releases.

use super::value;
use clap::Args;
use std::path::PathBuf;
use wisp_protocol::routing::DEFAULT_KEY_HEADER;

/// The directory of the states of releases, and the key that keeps a client at its version.
#[derive(Debug, Args)]
pub(crate) struct ReleaseSettingArgs {
    /// The directory for the states of releases, which survive a restart of the server [default: a directory for the
    /// repository in releases of the cache directory].
    #[arg(long, value_name = "DIR", env = "WISP_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// The header whose value keeps a client at the same version while a release splits the requests.
    #[arg(
        long,
        value_name = "NAME",
        env = "WISP_RELEASE_KEY_HEADER",
        default_value = DEFAULT_KEY_HEADER,
        value_parser = value::header_name
    )]
    pub(crate) release_key_header: String,

    /// The query parameter whose value does the same for requests without the header that `--release-key-header` sets
    /// [default: none].
    #[arg(long, value_name = "NAME", env = "WISP_RELEASE_KEY_PARAMETER")]
    pub(crate) release_key_parameter: Option<String>,
}
