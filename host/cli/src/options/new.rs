//! The arguments of `wisp new`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Create a project: a handler, a small model, golden cases and tests.
///
/// The project builds, tests and serves without changes. It contains its own copy of the handler SDK and
/// of the WIT contract, so only public crates are downloaded. Its model is a placeholder with fixed
/// weights: replace it with your own, then adapt the handler to it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp new flowers --template tabular
  wisp new cats --template image --path ~/src/cats")]
pub(crate) struct NewArgs {
    /// The name of the crate and of the model: lower-case letters, digits, `-` and `_`.
    pub(crate) name: String,

    /// The kind of the model's inputs.
    #[arg(long, short, value_enum)]
    pub(crate) template: Template,

    /// The directory to create [default: NAME].
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
}

/// The template of a new project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// PNG, JPEG or WebP images; decoded, resized and normalized; labels and scores as outputs.
    Image,
    /// Named numeric features; validated and scaled; a class and probabilities as outputs.
    Tabular,
    /// Text; split into words that are hashed and counted; a label and scores as outputs.
    Text,
}
