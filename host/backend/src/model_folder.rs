//! The folder of a model file, in which its external data must be.
//!
//! Clients of the Hugging Face hub store a model as links: `snapshots/<revision>/model.onnx` and the files
//! beside it lead to `blobs/<hash>` in the same `models--<organisation>--<name>` folder. Such links out of
//! the folder are followed within the repository of the model file itself, and nowhere else.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The prefix of the folder of a repository in the cache of the Hugging Face hub.
const REPOSITORY_PREFIX: &str = "models--";

/// The folders that such a repository consists of.
const REPOSITORY_FOLDERS: [&str; 2] = ["blobs", "snapshots"];

/// The folder of a model file.
#[derive(Debug, Clone)]
pub(crate) struct ModelFolder {
    folder: PathBuf,
    file: PathBuf,
}

impl ModelFolder {
    /// Returns the folder of the model in `file`, if it has one.
    pub(crate) fn of(file: &Path) -> Option<ModelFolder> {
        let folder = match file.parent()? {
            folder if folder.as_os_str().is_empty() => Path::new("."),
            folder => folder,
        };
        Some(ModelFolder {
            folder: folder.to_owned(),
            file: file.to_owned(),
        })
    }

    /// Returns the path of the folder as it was given.
    #[cfg(feature = "tract")]
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Returns whether the file at this real path is in the folder.
    #[cfg(feature = "tract")]
    pub(crate) fn contains(&self, path: &Path) -> bool {
        let folder = self.folder.canonicalize();
        folder.is_ok_and(|folder| path.starts_with(folder))
    }

    /// Returns the real path of the file at `location` in this folder; `None` if it is neither in the folder
    /// nor in the repository of the model file.
    pub(crate) fn real_path(&self, location: &Path) -> io::Result<Option<PathBuf>> {
        let folder = self.folder.canonicalize()?;
        let path = folder.join(location).canonicalize()?;
        if path.starts_with(&folder) {
            return Ok(Some(path));
        }
        let model = self.file.canonicalize()?;
        let is_inside = repository(&model).is_some_and(|repository| path.starts_with(repository));
        Ok(is_inside.then_some(path))
    }
}

/// Returns the repository in the cache of the Hugging Face hub that contains the file at this real path: the
/// nearest folder with such a name, and the file is in one of the folders that it consists of.
fn repository(file: &Path) -> Option<&Path> {
    let is_repository = |folder: &&Path| {
        let name = folder.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| name.starts_with(REPOSITORY_PREFIX))
    };
    let folder = file.ancestors().skip(1).find(is_repository)?;
    let parts = REPOSITORY_FOLDERS.map(|part| folder.join(part));
    let is_whole = parts.iter().all(|part| part.is_dir());
    let is_inside = parts.iter().any(|part| file.starts_with(part));
    (is_whole && is_inside).then_some(folder)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Makes a cache with one repository and returns the folder of its snapshot.
    fn snapshot(cache: &Path, repository: &str) -> anyhow::Result<PathBuf> {
        let repository = cache.join(repository);
        let snapshot = repository.join("snapshots/rev");
        std::fs::create_dir_all(&snapshot)?;
        std::fs::create_dir_all(repository.join("blobs"))?;
        for (blob, name) in [("1a", "model.onnx"), ("2b", "model.onnx_data")] {
            std::fs::write(repository.join("blobs").join(blob), blob)?;
            symlink(Path::new("../../blobs").join(blob), snapshot.join(name))?;
        }
        Ok(snapshot)
    }

    fn is_found(model: &Path, location: &str) -> anyhow::Result<bool> {
        let folder = ModelFolder::of(model).ok_or_else(|| anyhow::anyhow!("no folder"))?;
        Ok(folder.real_path(Path::new(location))?.is_some())
    }

    #[test]
    fn links_lead_to_the_blobs_of_the_models_own_repository_only() -> anyhow::Result<()> {
        let cache = tempfile::tempdir()?;
        let snapshot = snapshot(cache.path(), "models--org--name")?;
        let model = snapshot.join("model.onnx");
        assert!(is_found(&model, "model.onnx_data")?);
        let other = self::snapshot(cache.path(), "models--org--other")?;
        symlink(other.join("model.onnx_data"), snapshot.join("stolen"))?;
        assert!(!is_found(&model, "stolen")?);
        std::fs::write(cache.path().join("secret"), "secret")?;
        symlink(cache.path().join("secret"), snapshot.join("outside"))?;
        assert!(!is_found(&model, "outside")?);
        Ok(())
    }

    #[test]
    fn a_model_repository_may_link_to_a_snapshot() -> anyhow::Result<()> {
        let cache = tempfile::tempdir()?;
        let snapshot = snapshot(cache.path(), "models--org--name")?;
        let version = tempfile::tempdir()?;
        for name in ["model.onnx", "model.onnx_data"] {
            symlink(snapshot.join(name), version.path().join(name))?;
        }
        assert!(is_found(
            &version.path().join("model.onnx"),
            "model.onnx_data"
        )?);
        // A model file elsewhere has no repository, regardless of the files beside it.
        std::fs::write(version.path().join("copy.onnx"), "copy")?;
        assert!(!is_found(
            &version.path().join("copy.onnx"),
            "model.onnx_data"
        )?);
        Ok(())
    }

    #[test]
    fn a_folder_of_another_form_is_no_repository() -> anyhow::Result<()> {
        let cache = tempfile::tempdir()?;
        let unnamed = snapshot(cache.path(), "org--name")?;
        assert!(!is_found(&unnamed.join("model.onnx"), "model.onnx_data")?);
        let loose = cache.path().join("models--org--loose");
        std::fs::create_dir_all(loose.join("snapshots"))?;
        std::fs::create_dir_all(loose.join("blobs"))?;
        std::fs::create_dir_all(loose.join("deep"))?;
        std::fs::write(loose.join("deep/model.onnx"), "model")?;
        std::fs::write(loose.join("blobs/data"), "data")?;
        symlink("../blobs/data", loose.join("deep/data"))?;
        assert!(!is_found(&loose.join("deep/model.onnx"), "data")?);
        Ok(())
    }
}
