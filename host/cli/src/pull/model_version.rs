//! A pulled version of a model, in a directory of models.
//!
//! All files are downloaded to a hidden directory beside the models, which servers ignore. A new model is
//! then renamed as a whole. In an existing one, the files of the model itself come first and the directory of
//! the version last, so that a server never sees a version without its settings. Links in the destination
//! are refused, since they could lead elsewhere.

use crate::oci::artifact::ModelArtifact;
use crate::oci::digest::Blob;
use crate::oci::file_title::FileTitle;
use crate::oci::session::RegistrySession;
use crate::options::PullArgs;
use crate::{display, progress};
use anyhow::{Context, bail, ensure};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wisp_serving::registry::repository::versions;

/// The prefix of the directory for downloads.
const STAGING: &str = ".wisp-pull-";

/// The version to install and its places.
#[derive(Debug)]
struct Installation<'a> {
    model: &'a ModelArtifact,
    /// The directory of the model, which need not exist.
    directory: PathBuf,
    /// Replaces existing files.
    force: bool,
}

/// Downloads the version, and returns the path of its directory.
pub(super) fn save(
    model: &ModelArtifact,
    args: &PullArgs,
    session: &RegistrySession<'_>,
) -> anyhow::Result<PathBuf> {
    let repository = args.output.as_deref().unwrap_or(Path::new("."));
    let installation = Installation {
        model,
        directory: repository.join(model.name.as_str()),
        force: args.force,
    };
    installation.check()?;
    let shown = display::path(repository);
    let writing = || format!("failed to write to `{shown}`");
    fs::create_dir_all(repository).with_context(writing)?;
    let staging = tempfile::Builder::new()
        .prefix(STAGING)
        .tempdir_in(repository);
    let staging = staging.with_context(writing)?;
    let files = staging.path().join("model");
    download(model, &files, session)?;
    installation.install(&staging, &files)
}

/// Downloads all files into a new directory.
fn download(
    model: &ModelArtifact,
    directory: &Path,
    session: &RegistrySession<'_>,
) -> anyhow::Result<()> {
    fs::create_dir(directory)?;
    let sizes = model.files.values().map(|blob| blob.size);
    let progress = progress::bar(sizes.fold(0, u64::saturating_add));
    for (title, blob) in &model.files {
        let path = title.within(directory);
        let file = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| File::create_new(&path))
            .with_context(|| format!("failed to write `{title}`"))?;
        session.fetch(&format!("`{title}`"), blob, (&file, &progress))?;
    }
    progress.finish_and_clear();
    Ok(())
}

impl Installation<'_> {
    /// Checks that the version can be installed, which is repeated when it is.
    fn check(&self) -> anyhow::Result<()> {
        self.replaced()?;
        for (title, blob) in self.model_files() {
            self.is_present(title, blob)?;
        }
        Ok(())
    }

    /// Returns the files that are not in the directory of the version.
    fn model_files(&self) -> impl Iterator<Item = (&FileTitle, &Blob)> {
        let files = self.model.files.iter();
        files.filter(|(title, _)| !self.model.is_of_version(title))
    }

    /// Returns the directory of the version that exists, if it may be replaced.
    fn replaced(&self) -> anyhow::Result<Option<PathBuf>> {
        if !exists(&self.directory)? {
            return Ok(None);
        }
        let version = self.model.version;
        let named = self.directory.join(version.to_string());
        // Its name may have leading zeros.
        let existing = match exists(&named)? {
            true => Some(named),
            false => versions(&self.directory)?.remove(&version),
        };
        if let Some(existing) = &existing
            && !self.force
        {
            bail!("`{}` exists; --force replaces it", display::path(existing));
        }
        Ok(existing)
    }

    /// Returns whether a file of the model has this content already. Another content is an error unless it may
    /// be replaced.
    fn is_present(&self, title: &FileTitle, blob: &Blob) -> anyhow::Result<bool> {
        for directory in title.directories() {
            let directory = self.directory.join(directory);
            if !exists(&directory)? {
                return Ok(false);
            }
        }
        let path = title.within(&self.directory);
        if !exists(&path)? {
            return Ok(false);
        }
        let shown = display::path(&path);
        let is_same = path.is_file()
            && Blob::of_file(&path).with_context(|| format!("cannot read `{shown}`"))? == *blob;
        ensure!(
            is_same || self.force,
            "`{shown}` differs from the file in the artifact, and belongs to all versions of the model; --force \
             replaces it"
        );
        Ok(is_same)
    }

    /// Moves the complete files to their places, and returns the directory of the version.
    fn install(&self, staging: &TempDir, files: &Path) -> anyhow::Result<PathBuf> {
        let shown = display::path(&self.directory);
        let moving = || format!("failed to write to `{shown}`");
        let version = self.model.version.to_string();
        let place = self.directory.join(&version);
        if !exists(&self.directory)? {
            fs::rename(files, &self.directory).with_context(moving)?;
            return Ok(place);
        }
        let replaced = self.replaced()?;
        for (title, blob) in self.model_files() {
            if self.is_present(title, blob)? {
                continue;
            }
            let path = title.within(&self.directory);
            path.parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::rename(title.within(files), &path))
                .with_context(moving)?;
        }
        let old = staging.path().join("old");
        if let Some(replaced) = &replaced {
            fs::rename(replaced, &old).with_context(moving)?;
        }
        let moved = fs::rename(files.join(&version), &place);
        if let (Err(_), Some(replaced)) = (&moved, &replaced) {
            // The first failure is the one to report.
            let _ = fs::rename(&old, replaced);
        }
        moved.with_context(moving)?;
        Ok(place)
    }
}

/// Returns whether there is anything at `path`. A link is an error, since it may lead elsewhere.
fn exists(path: &Path) -> anyhow::Result<bool> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => bail!(
            "`{}` is a symbolic link; pull to another directory",
            display::path(path)
        ),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", display::path(path))),
    }
}

#[cfg(test)]
mod tests;
