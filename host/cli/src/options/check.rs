//! The arguments of `wisp check`.

use super::{BackendArgs, CacheArgs, HandlerLimitArgs};
use clap::Args;
use std::path::PathBuf;

/// Check models before they receive traffic.
///
/// Compares the handler's imports with the granted set, its signature with the real graphs, and the
/// responses to the requests in cases/*.json with the expected ones.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp check models/digits
  wisp check models            every model of a repository, and a summary
  wisp check resnet50.onnx     whether a model file can be served

A case is a V2 request and its expected response:

  { \"request\": { \"inputs\": [{ \"name\": \"x\", \"datatype\": \"FP32\", \"shape\": [1, 2], \"data\": [1, 2] }] },
    \"expect\": { \"outputs\": [{ \"name\": \"y\", \"datatype\": \"FP32\", \"shape\": [1], \"data\": [3] }],
                \"tolerance\": 0.0001 } }

The lines that a handler logs are written to standard error. The exit code is 0 if all checks of all
models pass, and 1 otherwise. An optional model that cannot be loaded fails.")]
pub(crate) struct CheckArgs {
    /// The repositories or directories of models to check, or model files.
    #[arg(value_name = "MODEL", required = true)]
    pub(crate) models: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,

    #[command(flatten)]
    pub(crate) handler_limits: HandlerLimitArgs,
}
