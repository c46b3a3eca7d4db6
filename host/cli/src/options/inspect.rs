//! The arguments of `wisp inspect`.

use super::CacheArgs;
use clap::Args;
use std::path::PathBuf;

/// Show the contents of a component or a model file.
///
/// For a handler.wasm: its inputs, outputs and graphs, imports (and whether they are granted), exports,
/// core modules, sizes, memory, stack, and the tools that produced it. For an .onnx file: inputs,
/// outputs, operators, opsets and parameters. For a version: the baseline of its data. Runs no code, except
/// that a handler is called for its signature, in the same sandbox as in `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp inspect models/digits/1/handler.wasm
  wisp inspect models/digits                 every file of the highest version
  wisp inspect --json model.onnx | jq '.[0].operators'")]
pub(crate) struct InspectArgs {
    /// Components, core modules, .onnx files, or directories of models.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Print an array with one object for each file.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) cache: CacheArgs,
}
