//! The arguments of `wisp release`.

use super::{Seconds, value};
use clap::{Args, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::time::Duration;
use url::Url;
use wisp_protocol::call::{ModelName, Version};

/// Longer than most versions take to load, which a start waits for.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// Release a version of a model on a running server.
///
/// A release moves the requests that name no version from the stable version of a model to a candidate: first a part of
/// them, then all. The options of `wisp release start` let the server copy requests, compare the responses and roll a bad
/// candidate back.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:

  wisp release start wine --candidate 2 --weight 5
  wisp release start wine --candidate 2 --weight 0 --shadow 100 --max-disagreement 1
  wisp release status wine
  wisp release promote wine
  wisp release abort wine"
)]
pub(crate) struct ReleaseCommandArgs {
    #[command(subcommand)]
    pub(crate) command: ReleaseCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReleaseCommand {
    Start(ReleaseStartArgs),
    /// Show the release of a model: its phase, and the counts of both versions.
    #[command(after_help = "Example:\n\n  wisp release status wine")]
    Status(ReleaseModelArgs),
    /// Give all requests that name no version to the candidate. The stable version stays loaded.
    #[command(after_help = "Example:\n\n  wisp release promote wine")]
    Promote(ReleaseModelArgs),
    /// Give all requests that name no version to the stable version, also after a promotion.
    #[command(after_help = "Example:\n\n  wisp release abort wine")]
    Abort(ReleaseModelArgs),
    /// End a release that has been promoted, aborted or rolled back, and unload the version that is not served.
    ///
    /// Fails if the files of the model would then serve another version.
    #[command(after_help = "Example:\n\n  wisp release close wine")]
    Close(ReleaseModelArgs),
}

/// Start a release, or change the settings of the running one with the same candidate.
///
/// The candidate is loaded and computes the golden cases of the model before it gets a request.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp release start wine --candidate 2
  wisp release start wine --candidate 2 --weight 50 --max-latency-ratio 1.5 --min-requests 1000")]
pub(crate) struct ReleaseStartArgs {
    /// The name of the model.
    #[arg(value_parser = value::model_name)]
    pub(crate) model: ModelName,

    /// The version to release.
    #[arg(long, value_name = "N", value_parser = value::version)]
    pub(crate) candidate: Version,

    /// The version to move away from [default: the one that requests without a version get].
    #[arg(long, value_name = "N", value_parser = value::version)]
    pub(crate) stable: Option<Version>,

    /// The part of the requests without a version that the candidate gets, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = value::percent)]
    pub(crate) weight: f64,

    /// The part of the requests to the stable version that is copied to the candidate, in percent.
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = value::percent)]
    pub(crate) shadow: f64,

    /// The number of requests of the candidate, or of compared responses, before which the release is not rolled back.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) min_requests: u64,

    /// Roll back if more than this percentage of the candidate's requests fail, and more than with the stable version,
    /// or if its percentage of invalid requests exceeds the stable version's by more than this.
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = value::percent)]
    pub(crate) max_errors: f64,

    /// Roll back if the latency of the candidate exceeds the stable version's by more than this factor
    /// [default: none].
    #[arg(long, value_name = "FACTOR")]
    pub(crate) max_latency_ratio: Option<f64>,

    /// The measure of latency.
    #[arg(long, value_name = "MEASURE", value_enum, default_value_t = LatencyChoice::P99)]
    pub(crate) latency: LatencyChoice,

    /// Roll back if more than this percentage of the compared responses disagree [default: none].
    #[arg(long, value_name = "PERCENT", value_parser = value::percent)]
    pub(crate) max_disagreement: Option<f64>,

    /// The largest difference between numbers that agree; for numbers larger than 1, relative to the number. Without it,
    /// only labels and shapes are compared [default: none].
    #[arg(long, value_name = "X")]
    pub(crate) tolerance: Option<f64>,

    #[command(flatten)]
    pub(crate) server: ReleaseServerArgs,
}

/// A model, for the commands with no other arguments.
#[derive(Debug, Args)]
pub(crate) struct ReleaseModelArgs {
    /// The name of the model.
    #[arg(value_parser = value::model_name)]
    pub(crate) model: ModelName,

    #[command(flatten)]
    pub(crate) server: ReleaseServerArgs,
}

/// The server, and the form of the output.
#[derive(Debug, Args)]
pub(crate) struct ReleaseServerArgs {
    /// The URL of the server [default: the address of --http, over HTTP].
    #[arg(
        long,
        value_name = "URL",
        env = "WISP_SERVER_URL",
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

    /// Seconds to wait for the server, which loads the candidate at the start of a release.
    #[arg(long, value_name = "N", default_value_t = Seconds(DEFAULT_TIMEOUT))]
    pub(crate) timeout_secs: Seconds,

    /// Accept any certificate.
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Print the response of the server, which is JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A measure of latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LatencyChoice {
    /// The duration that 99 of 100 requests do not exceed.
    P99,
    /// The average duration.
    Mean,
}
