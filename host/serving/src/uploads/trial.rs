//! A directory with an upload as it would be in the repository, from which its version is loaded before it is committed.
//!
//! It contains the files of the upload, and those files of the model that the upload does not replace, as far as a load
//! reads them. It is removed on drop.

use crate::registry::baseline_file;
use crate::registry::model_file::{self, ModelFile};
use crate::registry::triton_config::TRITON_CONFIG_FILE;
use crate::uploads::commit::{CASES, MODEL, VERSION};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use tempfile::TempDir;
use wisp_protocol::upload::VersionName;

/// The maximum number of golden cases that are copied, the same as of computed ones.
const MAX_CASES: usize = 64;

/// The directory of one load. Lifetime: a commit.
#[derive(Debug)]
pub(crate) struct Trial {
    _temporary: TempDir,
    model_directory: PathBuf,
    has_settings: bool,
}

impl Trial {
    /// Makes the directory below `trials`, from the directories of the upload and of the model, which may not exist.
    pub(super) fn make(
        trials: &Path,
        (staged, current): (&Path, &Path),
        name: &VersionName,
    ) -> io::Result<Trial> {
        let temporary = tempfile::Builder::new()
            .prefix("trial-")
            .tempdir_in(trials)?;
        let model_directory = temporary.path().join(name.model.as_str());
        fs::create_dir(&model_directory)?;
        let settings = staged.join(MODEL);
        add_files(&settings, &model_directory)?;
        for file in [
            model_file::FILE_NAME,
            TRITON_CONFIG_FILE,
            baseline_file::FILE_NAME,
        ] {
            copy_missing(current, &model_directory, Path::new(file))?;
        }
        let cases = model_directory.join(CASES);
        fs::create_dir(&cases)?;
        add_files(&settings.join(CASES), &cases)?;
        copy_cases(&current.join(CASES), &cases)?;
        let version = model_directory.join(name.version.to_string());
        fs::create_dir(&version)?;
        add_files(&staged.join(VERSION), &version)?;
        // A file that cannot be read is reported by the load.
        let model_file = ModelFile::load(&model_directory).unwrap_or_default();
        for file in model_file.files() {
            if !version.join(file).exists() {
                copy_missing(current, &model_directory, file)?;
            }
        }
        Ok(Trial {
            has_settings: settings.join(model_file::FILE_NAME).is_file()
                || settings.join(TRITON_CONFIG_FILE).is_file(),
            _temporary: temporary,
            model_directory,
        })
    }

    /// Returns the directory of the model.
    pub(crate) fn model_directory(&self) -> &Path {
        &self.model_directory
    }

    /// Returns whether the settings of the model are among the files of the upload.
    pub(crate) fn has_settings(&self) -> bool {
        self.has_settings
    }
}

/// Adds the files of a directory of the upload, which may not exist, without a copy if possible.
fn add_files(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        // Some file systems have no hard links.
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// Copies a file of the model, unless there is one already. A path that leads elsewhere is left to the load.
fn copy_missing(from: &Path, to: &Path, file: &Path) -> io::Result<()> {
    let is_within = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    let (source, target) = (from.join(file), to.join(file));
    if !file.components().all(is_within) || !source.is_file() || target.exists() {
        return Ok(());
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::copy(source, target)?;
    Ok(())
}

/// Copies the first golden cases of the model by name, and the files of their inputs.
fn copy_cases(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(from)? {
        names.push(entry?.file_name());
    }
    names.sort();
    for name in names.iter().take(4 * MAX_CASES) {
        copy_missing(from, to, Path::new(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;

    #[test]
    fn a_trial_has_the_files_of_the_upload_and_the_other_ones_that_a_load_reads() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let files = [
            ("m/model.toml", "[outputs.y]\nlabels = 'texts/labels.txt'"),
            ("m/texts/labels.txt", "a"),
            ("m/config.pbtxt", "max_batch_size: 1"),
            ("m/cases/a.json", "old"),
            ("m/cases/b.json", "old"),
            ("m/src/lib.rs", ""),
            ("m/1/model.onnx", ""),
            ("staged/version/model.onnx", "new"),
            ("staged/model/config.pbtxt", "max_batch_size: 2"),
            ("staged/model/cases/a.json", "new"),
        ];
        for (path, content) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(path, content)?;
        }
        let (staged, model) = (directory.path().join("staged"), directory.path().join("m"));
        let name = VersionName::parse("m", "2")?;
        let trial = Trial::make(directory.path(), (&staged, &model), &name)?;
        assert!(trial.has_settings());
        let read = |file: &str| fs::read_to_string(trial.model_directory().join(file));
        assert_eq!(read("2/model.onnx")?, "new");
        assert_eq!(read("config.pbtxt")?, "max_batch_size: 2");
        assert_eq!(read("texts/labels.txt")?, "a");
        assert_eq!(read("cases/a.json")?, "new");
        assert_eq!(read("cases/b.json")?, "old");
        assert!(!trial.model_directory().join("1").exists());
        assert!(!trial.model_directory().join("src").exists());
        let path = trial.model_directory().to_owned();
        drop(trial);
        assert!(!path.exists());
        Ok(())
    }
}
