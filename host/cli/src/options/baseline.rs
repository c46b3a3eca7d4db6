//! The arguments of `wisp baseline`.

use super::{BackendArgs, CacheArgs, HandlerLimitArgs};
use clap::Args;
use std::path::PathBuf;

/// The default number of observations that are compared with a baseline.
const DEFAULT_WINDOW: u64 = 10_000;

/// Create the baseline of a model, with which a server compares the inputs of requests.
///
/// Reads the data that a model was trained with, from CSV (with a header; separated by commas, semicolons or tabs) or
/// Parquet, and writes the distribution of each feature to baseline.json in the model's directory. The column of an
/// input has its name. The columns of an input with several features have the names in
/// `inputs.<name>.feature_names` of model.toml, or are all other columns in their order.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp baseline models/wine --from train.csv
  wisp baseline models/wine --from train.parquet --skip quality
  wisp baseline models/wine --from train.csv -o models/wine/2/baseline.json    for version 2 alone

The model statistics, GET /v2/models/{model}/stats, show the drift of each feature.")]
pub(crate) struct BaselineArgs {
    /// A model's directory. Its highest version is used.
    pub(crate) model: PathBuf,

    /// The data: a CSV or Parquet file with the values that requests have, before any preprocessing by a handler.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,

    /// A column that is not a feature, such as the target. May be repeated.
    #[arg(long, value_name = "COLUMN")]
    pub(crate) skip: Vec<String>,

    /// The number of most recent observations of a feature that the server compares with the baseline.
    #[arg(
        long,
        value_name = "N",
        default_value_t = DEFAULT_WINDOW,
        value_parser = clap::value_parser!(u64).range(100..=1_000_000)
    )]
    pub(crate) window: u64,

    /// The file to write [default: baseline.json in the model's directory].
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,

    #[command(flatten)]
    pub(crate) handler_limits: HandlerLimitArgs,
}
