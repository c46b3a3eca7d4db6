//! The arguments of `wisp bench`.

use super::value::{self, InputShape, NamedShape, Seconds};
use super::{BackendArgs, CacheArgs};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use wisp_backend::Device;

/// Compare the backends on a model.
///
/// Loads the graphs of the model with every available backend, computes the same generated inputs in
/// turns, and prints the cost of loading, the speed of each backend for several batch sizes, and the
/// differences between their outputs, with a remark on each large one. The graphs alone are timed, without
/// handlers.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp bench models/digits
  wisp bench resnet50.onnx --batch 1 --batch 8 --threads 2
  wisp bench resnet50.onnx --device cuda:0 --batch 1 --batch 8 --batch 64
  wisp bench yolov8n.onnx --shape images=1x3x640x640
  wisp bench models/digits --json | jq '.[].batches'

With `auto`, a version gets the backend that is the fastest with a batch of 1. The exit code is 1 if
no backend could be measured with one of the graphs.")]
pub(crate) struct BenchArgs {
    /// A model's directory, or a model file.
    pub(crate) model: PathBuf,

    /// Rows per batch. May be repeated [default: 1, 8 and 32, or as in --shape].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) batch: Vec<u32>,

    /// The shape of an input, for axes with a variable size. May be repeated [default: sizes that the
    /// model accepts].
    ///
    /// With `--batch`, the size of the first axis is the number of rows.
    #[arg(long, value_name = "NAME=SIZES", value_parser = value::named_shape)]
    pub(crate) shape: Vec<NamedShape>,

    /// Threads that one computation may use [default: as set in model.toml, or 1].
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Device that computes the graphs: `cpu`, or `cuda:0` for the first GPU [default: as set in
    /// model.toml, or `cpu`].
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<Device>,

    /// Seconds of measurement per batch size, for all backends together.
    #[arg(long, value_name = "N", default_value_t = Seconds(Duration::from_secs(3)))]
    pub(crate) seconds: Seconds,

    /// Print an array with one object for each graph.
    #[arg(long)]
    pub(crate) json: bool,

    /// Load with this backend alone and print the cost. The comparison runs this program with this
    /// option.
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) load_only: Option<String>,

    /// The shape that model.toml sets for an input of the graph that is loaded alone. -1 leaves an axis as it
    /// is in the file.
    #[arg(long, value_name = "NAME=SIZES", hide = true, requires = "load_only", value_parser = value::input_shape)]
    pub(crate) fixed_shape: Vec<InputShape>,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}
