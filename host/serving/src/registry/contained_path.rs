//! Paths in the files of a model that must stay within its directory, or within one below it.
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

/// Returns the path of an existing file in `root`, without links, which is named from a `directory` in it and may be in
/// another one; `None` if it leads elsewhere.
pub(super) fn contained_from(
    root: &Path,
    directory: &Path,
    path: &Path,
) -> io::Result<Option<PathBuf>> {
    let root = root.canonicalize()?;
    let path = directory.join(path).canonicalize()?;
    Ok(path.starts_with(&root).then_some(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_beside_a_directory_of_the_model_is_found_and_one_outside_of_the_model_is_not()
    -> anyhow::Result<()> {
        let repository = tempfile::tempdir()?;
        let repository = repository.path().canonicalize()?;
        let model = repository.join("model");
        let cases = model.join("cases");
        fs::create_dir_all(&cases)?;
        fs::create_dir_all(model.join("samples"))?;
        fs::create_dir_all(repository.join("model-2"))?;
        for file in ["model/cases/a", "model/samples/b", "model-2/secret"] {
            fs::write(repository.join(file), "")?;
        }
        symlink("../../model-2/secret", model.join("samples/link"))?;
        let secret = repository.join("model-2/secret");
        for (path, found) in [
            (Path::new("a"), Some(cases.join("a"))),
            (Path::new("../samples/b"), Some(model.join("samples/b"))),
            (Path::new("../../model-2/secret"), None),
            (Path::new("../samples/link"), None),
            (&secret, None),
        ] {
            let contained = contained_from(&model, &cases, path)?;
            assert_eq!(contained, found, "{}", path.display());
        }
        assert!(contained_from(&model, &cases, Path::new("../samples/c")).is_err());
        // Those that are named from the directory in which they must be.
        assert_eq!(contained(&cases, Path::new("../samples/b"))?, None);
        assert_eq!(
            contained(&model, Path::new("cases/a"))?,
            Some(cases.join("a"))
        );
        Ok(())
    }
}
