//! `wisp push`: uploads a component or a version of a model to an OCI registry.
//!
//! `component` and `model_version` read what is pushed and define its manifest, before any request is
//! sent. The manifest is uploaded last, so that a failure leaves no artifact that lacks a file.

mod component;
mod model_version;

use crate::failure::bad_configuration;
use crate::oci::digest::{Blob, ContentDigest};
use crate::oci::session::RegistrySession;
use crate::options::PushArgs;
use crate::{display, progress};
use anyhow::Context;
use oci_client::RegistryOperation;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The parts of an artifact that is to be uploaded.
#[derive(Debug)]
struct Upload {
    manifest: Vec<u8>,
    config: Vec<u8>,
    files: Vec<(PathBuf, Blob)>,
}

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

impl Upload {
    /// Sends everything, and returns the digest of the manifest.
    fn send(self, session: &RegistrySession<'_>) -> anyhow::Result<ContentDigest> {
        let Upload {
            manifest,
            config,
            files,
        } = self;
        let sizes = files.iter().map(|(_, blob)| blob.size);
        let bytes = sizes.fold(0, u64::saturating_add);
        let count = files.len();
        let noun = if count == 1 { "file" } else { "files" };
        eprintln!("pushing {count} {noun} ({})", display::size(bytes));
        let progress = progress::bar(bytes);
        for (path, blob) in &files {
            session
                .push_file(path, blob, &progress)
                .with_context(|| format!("failed to push `{}`", display::path(path)))?;
        }
        progress.finish_and_clear();
        session
            .push_bytes(&config, &Blob::of(&config))
            .context("failed to push the configuration of the artifact")?;
        session
            .push_manifest(manifest)
            .context("failed to push the manifest of the artifact")
    }
}
