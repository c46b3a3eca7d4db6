//! The arguments of `wisp pull`.

use super::{ArtifactReference, RegistryAccessArgs};
use clap::Args;
use std::path::PathBuf;

/// Eight GiB.
const DEFAULT_MAX_BYTES: u64 = 8 << 30;

/// Pull a component or a model version from an OCI registry.
///
/// A component is written to a file, a model version to a directory of models as <model>/<version>, with
/// model.toml and the golden cases. Every file is verified against its digest and size, and nothing is
/// written before all of them are complete. A reference with a digest is verified against it. Prints the
/// reference with the digest of the artifact.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp pull ghcr.io/acme/digits-bundle:1 -o digits.wasm
  wisp pull ghcr.io/acme/digits:1 -o models              models/digits/1
  wisp pull localhost:5000/digits:1 -o models            HTTP, without TLS
  wisp pull ghcr.io/acme/digits@sha256:0123...           exactly this artifact, or an error

`wisp push --help` describes credentials.")]
pub(crate) struct PullArgs {
    /// The reference in the registry: REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST.
    pub(crate) reference: ArtifactReference,

    /// The file of a component, or the directory of models [default: the component's own name, or the
    /// current directory].
    #[arg(long, short, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,

    /// Replace existing files: the file of a component, or the version of a model and files of the model
    /// that differ.
    #[arg(long)]
    pub(crate) force: bool,

    /// The largest artifact that is pulled, in bytes.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = DEFAULT_MAX_BYTES,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(crate) max_bytes: u64,

    #[command(flatten)]
    pub(crate) access: RegistryAccessArgs,
}
