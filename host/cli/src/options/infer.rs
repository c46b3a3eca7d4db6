//! The arguments of `wisp infer`.

use super::value::{self, NamedInput, NamedShape};
use super::{BackendArgs, CacheArgs, HandlerLimitArgs};
use clap::Args;
use std::path::PathBuf;
use wisp_tensor::Parameter;

/// Run one request from the command line, without a server.
///
/// Loads the model, runs its handler in the same sandbox as `serve`, prints the outputs and exits.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp infer models/digits --input image=@seven.png
  wisp infer models/digits --input image=@seven.png --parameter top_k=1 --output label
  wisp infer models/wine --input 'features=[[13.5,1.8,2.6,20,96,2.5,2.6,0.3,1.7,3.5,1.1,3.8,845]]'
  wisp infer models/embed --input 'text=[\"The cat sat.\"]' --json | jq '.outputs[0].data'

  wisp infer resnet50.onnx --input data=@image.bin --shape data=1x3x224x224

`wisp inspect MODEL` shows the inputs of graphs and handlers. The lines that a handler logs are
written to standard error.")]
pub(crate) struct InferArgs {
    /// A model's directory, or a model file. For a directory, the highest version is used.
    pub(crate) model: PathBuf,

    /// An input: NAME=JSON for nested arrays (the shape follows from the nesting) or a single value,
    /// NAME=@FILE for the bytes of a file. Required once for each input.
    #[arg(long, short, value_name = "NAME=VALUE", required = true, value_parser = value::named_input)]
    pub(crate) input: Vec<NamedInput>,

    /// The shape of an input. May be repeated [default: from the nesting of the JSON or the length of the file].
    #[arg(long, value_name = "NAME=SIZES", value_parser = value::named_shape)]
    pub(crate) shape: Vec<NamedShape>,

    /// A request parameter: true, false, a number, or a string. May be repeated.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = value::parameter)]
    pub(crate) parameter: Vec<Parameter>,

    /// An output to print. May be repeated [default: all outputs].
    #[arg(long, short, value_name = "NAME")]
    pub(crate) output: Vec<String>,

    /// Print the response as the JSON that the server would send.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,

    #[command(flatten)]
    pub(crate) backend: BackendArgs,

    #[command(flatten)]
    pub(crate) handler_limits: HandlerLimitArgs,
}
