//! The settings of `wisp serve` for the usage of tenants and models.

use super::value::Seconds;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// The length of a period by default.
const DEFAULT_PERIOD: Duration = Duration::from_secs(60);

/// The reports of the usage.
#[derive(Debug, Args)]
pub(crate) struct MeteringArgs {
    /// Append the usage of each tenant to this file, for example for invoices: one JSON object per line for each tenant,
    /// model, version and period [default: none].
    ///
    /// The lines are on the disk at the end of each period, and when the server has drained. The file is opened for each
    /// period, so it can be renamed at any time.
    #[arg(long, value_name = "FILE", env = "WISP_USAGE_LOG")]
    pub(crate) usage_log: Option<PathBuf>,

    /// The length of a period of the usage log in seconds. Periods begin at multiples of this length since 1970.
    #[arg(
        long,
        value_name = "N",
        env = "WISP_USAGE_LOG_PERIOD_SECS",
        default_value_t = Seconds(DEFAULT_PERIOD)
    )]
    pub(crate) usage_log_period_secs: Seconds,

    /// Add the header `wisp-usage` to each response of an inference, or the metadata of this name in gRPC. It contains the
    /// processor time of the guest, the request's share of the time of the graph, and the bytes.
    #[arg(
        long,
        value_name = "BOOL",
        env = "WISP_USAGE_HEADER",
        default_value_t = false
    )]
    pub(crate) usage_header: bool,
}
