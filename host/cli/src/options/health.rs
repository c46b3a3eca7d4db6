//! The arguments of `wisp health`.

use super::{Seconds, value};
use clap::Args;
use std::net::SocketAddr;
use std::time::Duration;
use url::Url;

/// Longer than a server that works needs, and shorter than the interval of most probes.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Check whether a server is ready, as a probe of a container.
///
/// Requests /v2/health/ready, and fails unless the status of the response is 200. Proxies of the
/// environment are not used.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp health
  wisp health http://models.internal:8000
  wisp health http://127.0.0.1:8000/v2/models/wine/ready
  wisp health --insecure https://127.0.0.1:8000

The exit code is 0 if the server is ready, and 1 otherwise.")]
pub(crate) struct HealthArgs {
    /// The URL of the server. A path other than / is requested instead of /v2/health/ready [default: the
    /// address of --http, over HTTP].
    #[arg(
        value_name = "URL",
        env = "WISP_HEALTH_URL",
        value_parser = value::server_url
    )]
    pub(crate) url: Option<Url>,

    /// The address that the server on this machine listens on, as in `wisp serve`.
    #[arg(
        long,
        value_name = "ADDR",
        env = "WISP_HTTP",
        default_value = "127.0.0.1:8000",
        value_parser = value::address
    )]
    pub(crate) http: SocketAddr,

    /// Seconds that the check may take.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_HEALTH_TIMEOUT_SECS",
        default_value_t = Seconds(DEFAULT_TIMEOUT)
    )]
    pub(crate) timeout_secs: Seconds,

    /// Accept any certificate, as the probes of Kubernetes do.
    #[arg(long)]
    pub(crate) insecure: bool,
}
