//! The arguments of `wisp push`.

use super::{ArtifactReference, RegistryAccessArgs};
use clap::Args;
use std::path::PathBuf;

/// Push a component or a model version to an OCI registry.
///
/// A component (a bundle, a handler) becomes the standard Wasm artifact, which other tools pull too. A
/// model becomes an artifact with one layer per file: one version, model.toml, the golden cases, and the
/// files that these name. Files that the registry already has are not sent again. Prints the reference
/// with the digest; the same files always have the same digest.
///
/// Credentials are taken from --username, or from config.json, where `docker login` stores them, or there are none.
/// Credential helpers of Docker are not run. Proxies are taken from HTTPS_PROXY, HTTP_PROXY and NO_PROXY;
/// the certificates that the system trusts are used.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:

  wisp push digits.wasm ghcr.io/acme/digits-bundle:1
  wisp push models/digits ghcr.io/acme/digits:1          the highest version
  wisp push models/digits/2 ghcr.io/acme/digits:2        version 2
  wisp push models/digits localhost:5000/digits:1        HTTP, without TLS
  echo $TOKEN | wisp push models/digits ghcr.io/acme/digits:1 --username acme --password-stdin")]
pub(crate) struct PushArgs {
    /// A component, a model's directory, or the directory of a version. Of a model, the highest version is pushed.
    pub(crate) source: PathBuf,

    /// The reference in the registry: REGISTRY/NAME:TAG.
    pub(crate) reference: ArtifactReference,

    #[command(flatten)]
    pub(crate) access: RegistryAccessArgs,
}
