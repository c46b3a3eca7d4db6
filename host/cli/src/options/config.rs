//! The arguments of `wisp config`.

use clap::{Args, Subcommand};

/// Describe the settings of the configuration file and of model.toml.
///
/// The file is read by `wisp serve --config FILE`. It is a TOML file with one key per setting.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:

  wisp config schema > wisp.schema.json
  wisp config schema --model > model.schema.json
  wisp config reference"
)]
pub(crate) struct ConfigCommandArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a JSON schema of the configuration file or of model.toml, for editors.
    #[command(after_help = "\
Examples:

  wisp config schema > wisp.schema.json
  wisp config schema --model > model.schema.json

An editor with the Taplo language server uses it for a file that begins with

  #:schema ./wisp.schema.json")]
    Schema {
        /// Print the schema of model.toml, the settings of a model.
        #[arg(long)]
        model: bool,
    },
    /// Print a description of every setting, in Markdown.
    #[command(after_help = "\
Examples:

  wisp config reference | less")]
    Reference,
}
