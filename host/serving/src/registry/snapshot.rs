//! The state of the files of a repository at one moment, for detecting later changes.
//!
//! The state consists of the times, sizes and inodes of the files, with links followed. All files of a version count,
//! in folders too, since a graph may have its weights in other files, and the settings with the files that they name. Of a single
//! graph, the files of its external data count. No other content is read.

use crate::file_state::FileState;
use crate::registry::baseline_file;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{self, ModelFile};
use crate::registry::repository;
use crate::registry::skipped_entry::{SkippedEntry, skipped_entries};
use crate::registry::triton_config::TRITON_CONFIG_FILE;
use crate::registry::version_directory::{entries, skipped_versions, version_directories};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use wisp_backend::model_outline::ModelOutline;
use wisp_protocol::call::ModelName;

/// The maximum depth of folders in the directory of a version. Links may form circles.
const MAX_DEPTH: usize = 8;

/// The number of files of a model from which on no further folders are read.
const MAX_FILES: usize = 10_000;

/// The files of each model with a valid name, by name, and the entries that are no models.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub models: BTreeMap<ModelName, ModelFiles>,
    /// The reasons that entries of each model's directory look like versions and are none. They are no files of the model,
    /// which is not loaded again because of them.
    pub skipped_versions: BTreeMap<ModelName, Vec<String>>,
    pub skipped: Vec<SkippedEntry>,
}

/// The files of a model and the state of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFiles {
    files: BTreeMap<PathBuf, FileState>,
    /// Set if there are more files, which could not be read or are in folders beyond the limits.
    is_partial: bool,
}

impl Snapshot {
    /// Takes a snapshot of the models below `path`.
    pub fn take(path: &Path) -> Result<Snapshot, LoadError> {
        let mut models = BTreeMap::new();
        let mut skipped_versions = BTreeMap::new();
        for (name, path) in repository::model_paths(path)? {
            skipped_versions.insert(name.clone(), reasons_for_skipping(&path));
            models.insert(name, ModelFiles::take(&path));
        }
        Ok(Snapshot {
            models,
            skipped_versions,
            skipped: skipped_entries(path)?,
        })
    }
}

/// Returns the reasons that entries in the directory of a model look like versions and are none. A model that is a graph has
/// none, and nor has a directory that cannot be read, which its load reports.
pub(crate) fn reasons_for_skipping(path: &Path) -> Vec<String> {
    match path.is_dir() {
        true => skipped_versions(path).unwrap_or_default(),
        false => Vec::new(),
    }
}

impl ModelFiles {
    /// Takes the files of one model: a graph, or the directory of a model.
    pub(crate) fn take(path: &Path) -> ModelFiles {
        let mut taken = ModelFiles::default();
        let is_read = taken.add_all(path).is_ok();
        taken.is_partial |= !is_read;
        taken
    }

    /// Returns whether these are the same files, and all of the model, as far as their states show.
    pub fn is_unchanged_since(&self, before: &ModelFiles) -> bool {
        self == before && !self.is_partial
    }

    fn add_all(&mut self, path: &Path) -> Result<(), LoadError> {
        if path.is_file() {
            self.add(path)?;
            return self.add_external_files(path);
        }
        self.add(&path.join(model_file::FILE_NAME))?;
        self.add(&path.join(TRITON_CONFIG_FILE))?;
        self.add(&path.join(baseline_file::FILE_NAME))?;
        // A model file that cannot be read names no files until it changes.
        let model_file = ModelFile::load(path).unwrap_or_default();
        for file in model_file.files() {
            self.add(&path.join(file))?;
        }
        for (_, directory) in version_directories(path)? {
            self.add_directory(&directory, 0)?;
        }
        Ok(())
    }

    /// Adds the files with the weights of a single graph, which lie beside it.
    fn add_external_files(&mut self, graph: &Path) -> Result<(), LoadError> {
        let folder = graph.parent().unwrap_or(Path::new(""));
        // A file without an outline is no ONNX file and has no external data.
        let outline = ModelOutline::read(graph).unwrap_or_default();
        for file in &outline.external_files {
            self.add(&folder.join(file))?;
        }
        Ok(())
    }

    /// Adds a directory, which may exist before any of its files, and everything in it.
    fn add_directory(&mut self, directory: &Path, depth: usize) -> Result<(), LoadError> {
        self.add(directory)?;
        for path in entries(directory)? {
            let is_folder = path.is_dir();
            let is_within = depth < MAX_DEPTH && self.files.len() < MAX_FILES;
            self.is_partial |= is_folder && !is_within;
            match is_folder && is_within {
                true => self.add_directory(&path, depth + 1)?,
                false => self.add(&path)?,
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
        fs::create_dir_all(version.join("weights/more"))?;
        check("a folder", true)?;
        fs::write(version.join("weights/more/data"), "a")?;
        check("a file in a folder", true)?;
        std::os::unix::fs::symlink(".", version.join("weights/circle"))?;
        check("a circle of links", true)?;
        fs::write(version.join("weights/more/data"), "longer")?;
        check("a file in a folder that was written over", true)?;
        fs::write(repository.path().join("m/labels.txt"), "a")?;
        check("a file that the model file does not name", false)?;
        let names = "[outputs.y]\nlabels = 'labels.txt'";
        fs::write(repository.path().join("m/model.toml"), names)?;
        check("a model file", true)?;
        fs::write(repository.path().join("m/labels.txt"), "longer")?;
        check("a file that the model file names", true)?;
        let triton = repository.path().join("m").join(TRITON_CONFIG_FILE);
        fs::write(triton, "max_batch_size: 8")?;
        check("a configuration of Triton", true)?;
        fs::create_dir_all(repository.path().join("m/2"))?;
        check("a version", true)?;
        fs::create_dir_all(repository.path().join("m/00002"))?;
        check("another directory of the same version", true)?;
        fs::remove_dir_all(repository.path().join("m"))?;
        check("a model that is gone", true)?;
        assert!(before.is_empty());
        assert!(Snapshot::take(&repository.path().join("none")).is_err());
        Ok(())
    }

    #[test]
    fn a_model_with_files_beyond_the_limits_may_have_changed() -> anyhow::Result<()> {
        let model = tempfile::tempdir()?;
        let version = model.path().join("1");
        fs::create_dir(&version)?;
        fs::write(version.join("model.onnx"), "a")?;
        let is_unchanged = || {
            let before = ModelFiles::take(model.path());
            ModelFiles::take(model.path()).is_unchanged_since(&before)
        };
        fs::create_dir_all(version.join("deeper/".repeat(MAX_DEPTH)))?;
        assert!(is_unchanged());
        fs::create_dir_all(version.join("deeper/".repeat(MAX_DEPTH + 1)))?;
        assert!(!is_unchanged());
        Ok(())
    }
}
