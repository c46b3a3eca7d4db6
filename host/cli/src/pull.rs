//! `wisp pull`: downloads a component or a version of a model from an OCI registry.
//!
//! The manifest decides what an artifact is, and everything that it states is checked before a file is
//! requested: kind, names, sizes. `component` and `model_version` download into temporary files beside the
//! destination and rename them when all are complete and verified.

mod component;
mod model_version;

use crate::display;
use crate::oci::artifact::Artifact;
use crate::oci::session::RegistrySession;
use crate::options::PullArgs;
use anyhow::{Context, ensure};
use oci_client::RegistryOperation;
use std::io::Write;
use std::process::ExitCode;

/// Pulls the artifact, and prints its reference with the digest.
pub(crate) fn run(args: &PullArgs) -> anyhow::Result<ExitCode> {
    let PullArgs {
        reference,
        max_bytes,
        access,
        ..
    } = args;
    let session = RegistrySession::open(reference, access, RegistryOperation::Pull)?;
    let (manifest, digest) = session.fetch_manifest()?;
    let artifact = Artifact::parse(&manifest);
    let artifact = artifact.with_context(|| format!("cannot pull `{reference}`"))?;
    let bytes = artifact.bytes();
    ensure!(
        bytes <= *max_bytes,
        "`{reference}` has {bytes} bytes, more than the limit of {max_bytes}; --max-bytes raises it"
    );
    let place = match &artifact {
        Artifact::Component(component) => component::save(component, args, &session),
        Artifact::Model(model) => model_version::save(model, args, &session),
    };
    let place = place.with_context(|| format!("failed to pull `{reference}`"))?;
    eprintln!(
        "wrote `{}` ({})",
        display::path(&place),
        display::size(bytes)
    );
    writeln!(std::io::stdout(), "{}", reference.pinned(digest.as_str()))?;
    Ok(ExitCode::SUCCESS)
}
