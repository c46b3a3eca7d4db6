//! `wisp push`: uploads a component or a version of a model to an OCI registry.
//!
//! `component` and `model_version` read what is pushed and define its manifest, before any request is
//! sent; `upload` sends it.

mod component;
mod model_version;
mod upload;

use crate::display;
use crate::failure::bad_configuration;
use crate::oci::session::RegistrySession;
use crate::options::PushArgs;
use anyhow::Context;
use oci_client::RegistryOperation;
use std::io::Write;
use std::process::ExitCode;

/// Pushes the artifact, and prints its reference with the digest.
pub(crate) fn run(args: &PushArgs) -> anyhow::Result<ExitCode> {
    let PushArgs {
        source,
        reference,
        access,
    } = args;
    if reference.digest().is_some() {
        return Err(bad_configuration(format!(
            "`{reference}` has a digest, which follows from what is pushed; give a tag"
        )));
    }
    let shown = display::path(source);
    let metadata = std::fs::metadata(source);
    let metadata =
        metadata.map_err(|error| bad_configuration(format!("cannot open `{shown}`: {error}")))?;
    let upload = match metadata.is_dir() {
        true => model_version::prepare(source),
        false => component::prepare(source),
    };
    let upload = upload.with_context(|| format!("cannot push `{shown}`"))?;
    let session = RegistrySession::open(reference, access, RegistryOperation::Push)?;
    let digest = upload.send(&session)?;
    writeln!(std::io::stdout(), "{}", reference.pinned(digest.as_str()))?;
    Ok(ExitCode::SUCCESS)
}
