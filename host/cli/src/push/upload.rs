//! The parts of an artifact, and their upload in the order that leaves no artifact without a file.

use crate::oci::digest::{Blob, ContentDigest};
use crate::oci::session::RegistrySession;
use crate::{display, progress};
use anyhow::Context;
use std::path::PathBuf;

/// The parts of an artifact that is to be uploaded.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) files: Vec<(PathBuf, Blob)>,
}

impl Upload {
    /// Sends everything, the manifest last, and returns the digest of the manifest.
    pub(super) fn send(self, session: &RegistrySession<'_>) -> anyhow::Result<ContentDigest> {
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
