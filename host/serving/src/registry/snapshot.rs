//! The state of the files of a repository at one moment, for detecting later changes.
//!
//! The state consists of the times, sizes and inodes of the files, with links followed; no content is
//! read. All files of a version count, since a graph may have its weights in other files.

use crate::file_state::FileState;
use crate::registry::load_error::LoadError;
use crate::registry::{model_file, repository};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use wisp_protocol::call::ModelName;

/// The files of each model with a valid name, by name.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub models: BTreeMap<ModelName, ModelFiles>,
}

/// The files of a model and the state of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFiles {
    files: BTreeMap<PathBuf, FileState>,
    /// Set if there are more files that could not be read.
    unreadable: bool,
}

impl Snapshot {
    /// Takes a snapshot of the models below `path`.
    pub fn take(path: &Path) -> Result<Snapshot, LoadError> {
        let paths = repository::model_paths(path)?.into_iter();
        let models = paths.map(|(name, path)| (name, ModelFiles::take(&path)));
        Ok(Snapshot {
            models: models.collect(),
        })
    }
}

impl ModelFiles {
    /// Takes the files of one model: a graph, or the directory of a model.
    fn take(path: &Path) -> ModelFiles {
        let mut taken = ModelFiles::default();
        taken.unreadable = taken.add_all(path).is_err();
        taken
    }

    fn add_all(&mut self, path: &Path) -> Result<(), LoadError> {
        if path.is_file() {
            return self.add(path);
        }
        self.add(&path.join(model_file::FILE_NAME))?;
        for directory in repository::versions(path)?.values() {
            // A version directory may exist before any of its files.
            self.add(directory)?;
            for file in repository::entries(directory)? {
                self.add(&file)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path) -> Result<(), LoadError> {
        match FileState::of(path) {
            Ok(state) => {
                self.files.insert(path.to_owned(), state);
                Ok(())
            }
            // The file never existed or has just been removed.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(LoadError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_models_files_show_every_change_that_matters() -> anyhow::Result<()> {
        let repository = tempfile::tempdir()?;
        let version = repository.path().join("m/1");
        fs::create_dir_all(&version)?;
        fs::write(version.join("model.onnx"), "a")?;
        fs::write(repository.path().join("m/README.md"), "a")?;
        let mut before = Snapshot::take(repository.path())?.models;
        let mut check = |what: &str, expected: bool| -> anyhow::Result<()> {
            let now = Snapshot::take(repository.path())?.models;
            anyhow::ensure!((now != before) == expected, "{what}");
            before = now;
            Ok(())
        };
        check("nothing", false)?;
        fs::write(repository.path().join("m/README.md"), "other")?;
        check("a file that is none of the model's", false)?;
        fs::write(version.join("model.onnx"), "longer")?;
        check("a graph that was written over", true)?;
        fs::write(version.join("new"), "other!")?;
        fs::rename(version.join("new"), version.join("model.onnx"))?;
        check("a graph that was replaced by one as long", true)?;
        let times = fs::metadata(version.join("model.onnx"))?.modified()?;
        let file = fs::File::options()
            .write(true)
            .open(version.join("model.onnx"))?;
        std::io::Write::write_all(&mut &file, b"as long")?;
        file.set_len(6)?;
        file.set_modified(times)?;
        check(
            "a graph that was written over as long, at the time it had",
            true,
        )?;
        fs::write(version.join("handler.wasm"), "")?;
        check("a handler", true)?;
        fs::write(repository.path().join("m/model.toml"), "")?;
        check("a model file", true)?;
        fs::create_dir_all(repository.path().join("m/2"))?;
        check("a version", true)?;
        fs::remove_dir_all(repository.path().join("m"))?;
        check("a model that is gone", true)?;
        assert!(before.is_empty());
        assert!(Snapshot::take(&repository.path().join("none")).is_err());
        Ok(())
    }
}
