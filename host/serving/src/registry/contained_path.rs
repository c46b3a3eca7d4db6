//! Paths in `model.toml` that must stay within a directory of the model.
//!
//! The author of a model need not be the operator of the server, so a path that leads elsewhere, by `..`,
//! as an absolute path or through a symbolic link, would disclose the server's files.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Returns the path of an existing file in `directory`, without links; `None` if it leads elsewhere.
pub(super) fn contained(directory: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let is_within = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if !path.components().all(is_within) {
        return Ok(None);
    }
    let directory = directory.canonicalize()?;
    let path = directory.join(path).canonicalize()?;
    Ok(path.starts_with(&directory).then_some(path))
}
