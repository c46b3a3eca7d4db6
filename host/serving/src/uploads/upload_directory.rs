//! The directory of uploads on the disk: its parts, its recovery at a start, and the bytes of its files.
//!
//! It is on the file system of the repository, so that a rename moves what is in it. Its name begins with a dot, as no
//! model's does. Whatever a server that ended has left there is removed at the next start, apart from uploads whose
//! commit was decided.

use crate::uploads::commit;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use wisp_protocol::upload::VersionName;

/// The name of the directory.
pub(super) const ROOT: &str = ".wisp-uploads";

/// The files that arrive.
pub(super) const INCOMING: &str = "incoming";

/// The uploads that are not committed, by model and version.
pub(super) const STAGED: &str = "staged";

/// The directories from which versions are loaded before they are committed.
pub(super) const TRIALS: &str = "trials";

/// The versions that are being deleted.
pub(super) const TRASH: &str = "trash";

/// The maximum depth of folders of which the files are counted.
const MAX_DEPTH: usize = 16;

/// Creates the directory and the file of its lock, which is returned.
pub(super) fn prepare(root: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // A link would lead to another file system, or to the files of others.
    if !fs::symlink_metadata(root)?.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    let lock = root.join("lock");
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(lock)
}

/// Completes the commits that were decided, and removes everything else.
pub(super) fn recover(root: &Path, repository: &Path) -> io::Result<()> {
    for part in [INCOMING, TRIALS, TRASH] {
        let part = root.join(part);
        if fs::symlink_metadata(&part).is_ok() {
            fs::remove_dir_all(&part)?;
        }
        fs::create_dir(&part)?;
    }
    let staged = root.join(STAGED);
    match fs::create_dir(&staged) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    for model in names(&staged)? {
        let directory = staged.join(&model);
        for version in names(&directory)? {
            let upload = directory.join(&version);
            let name = VersionName::parse(&model, &version).ok();
            match name.filter(|_| commit::is_decided(&upload)) {
                Some(name) => {
                    commit::roll_forward(&upload, repository, &name)?;
                    tracing::info!(%model, %version, "completed the commit of an upload");
                }
                None => {
                    fs::remove_dir_all(&upload)?;
                    tracing::info!(%model, %version, "removed an upload that was not committed");
                }
            }
        }
        fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

/// Removes the directory of the uploads of a model, if no other upload is in it.
pub(super) fn remove_if_empty(staged: &Path) {
    if let Some(model) = staged.parent() {
        let _ = fs::remove_dir(model);
    }
}

/// Returns whether a directory of models has anything in it, an upload included that the next start may complete. One that
/// does not exist has nothing.
pub(crate) fn has_content(repository: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(repository) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in entries {
        if entry?.file_name() != ROOT {
            return Ok(true);
        }
    }
    let staged = names(&repository.join(ROOT).join(STAGED))?;
    Ok(!staged.is_empty())
}

/// Returns the names of the directories in a directory, without hidden ones. A directory that does not exist has none.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_dir() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Returns the bytes of all files in a directory. Links are not followed.
pub(super) fn stored_bytes(directory: &Path, depth: usize) -> io::Result<u64> {
    let mut bytes = 0u64;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // It has just been removed.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let own = match metadata.is_dir() && depth < MAX_DEPTH {
            true => stored_bytes(&entry.path(), depth.saturating_add(1))?,
            false => metadata.len(),
        };
        bytes = bytes.saturating_add(own);
    }
    Ok(bytes)
}
