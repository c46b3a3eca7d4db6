//! The arguments of `wisp build`.

use clap::Args;
use std::path::PathBuf;

/// Compile handlers to WebAssembly components.
///
/// PATH is a repository (all its models whose model.toml has `[handler] source`), one model's directory,
/// a handler's crate, or a directory with the modules of edge bundles. Needs cargo; installs Rust's target
/// wasm32-unknown-unknown through rustup if it is missing. A model's component is written to its highest
/// version's directory as handler.wasm, after checking that it imports only granted interfaces.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp build                   the crate in the current directory
  wisp build models            every model of a repository
  wisp build models/digits     one model
  wisp build guest-models/edge the modules that `wisp bundle` takes, in Wisp's own sources

In a handler's Cargo.toml, all optional:

  [package.metadata.wisp]
  stack-size = 65536           bytes of stack; a small one makes each request cheaper
  models = \"models\"            repository whose models get the component of this crate")]
pub(crate) struct BuildArgs {
    /// A repository, a model's directory, a handler's crate, or a directory with modules of edge bundles.
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
}
