//! The step that makes an uploaded version part of the repository, whole or not at all.
//!
//! The files of the version are in `version`, and those of its model in `model`, of a directory on the file system of
//! the repository. A marker in that directory decides: before it is written, the upload is not part of the repository;
//! afterwards it is, and what is not yet in its place is moved there, at the latest by the next start. Each file is moved
//! by one rename, and the version as a whole by the last. All of it has been written to the disk before.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;
use wisp_protocol::upload::VersionName;

/// The directory with the files of the version.
pub(super) const VERSION: &str = "version";

/// The directory with the files of the model.
pub(super) const MODEL: &str = "model";

/// The directory of the golden cases, in the model's.
pub(super) const CASES: &str = "cases";

/// The file that decides.
const MARKER: &str = "commit";

/// Decides that the upload in the directory `staged` is part of the repository.
pub(super) fn decide(staged: &Path) -> io::Result<()> {
    let model = staged.join(MODEL);
    for directory in [staged.join(VERSION), model.join(CASES), model] {
        if directory.is_dir() {
            sync_directory(&directory)?;
        }
    }
    File::create(staged.join(MARKER))?.sync_all()?;
    sync_directory(staged)
}

/// Returns whether the upload in the directory `staged` is part of the repository.
pub(super) fn is_decided(staged: &Path) -> bool {
    fs::symlink_metadata(staged.join(MARKER)).is_ok()
}

/// Moves the files of a decided upload to their places, and removes its directory. May be repeated after any step.
pub(super) fn roll_forward(staged: &Path, repository: &Path, name: &VersionName) -> io::Result<()> {
    let model = repository.join(name.model.as_str());
    make_directory(&model)?;
    let files = staged.join(MODEL);
    move_files(&files, &model)?;
    let cases = files.join(CASES);
    if cases.is_dir() {
        let directory = model.join(CASES);
        make_directory(&directory)?;
        move_files(&cases, &directory)?;
        sync_directory(&directory)?;
    }
    let version = staged.join(VERSION);
    if version.is_dir() {
        fs::rename(&version, model.join(name.version.to_string()))?;
    }
    sync_directory(&model)?;
    sync_directory(repository)?;
    fs::remove_dir_all(staged)
}

/// Creates a directory, unless it exists.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Moves the files in a directory, which may not exist, into another one.
fn move_files(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::rename(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Writes the entries of a directory to the disk.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Result;
    use tempfile::TempDir;

    /// Creates a repository with a model, and an upload of its version 2 with all kinds of files.
    fn upload() -> Result<(TempDir, VersionName)> {
        let directory = tempfile::tempdir()?;
        for (path, content) in [
            ("repository/m/1/model.onnx", "old"),
            ("repository/m/model.toml", "old settings"),
            ("staged/version/model.onnx", "new"),
            ("staged/model/model.toml", "new settings"),
            ("staged/model/cases/a.json", "case"),
        ] {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(path, content)?;
        }
        Ok((directory, VersionName::parse("m", "2")?))
    }

    fn is_new(directory: &TempDir) -> Result<bool> {
        let model = directory.path().join("repository/m");
        assert_eq!(fs::read_to_string(model.join("1/model.onnx"))?, "old");
        let has_version = model.join("2/model.onnx").is_file();
        let settings = fs::read_to_string(model.join("model.toml"))?;
        let has_case = model.join("cases/a.json").is_file();
        let is_new = [has_version, settings == "new settings", has_case];
        assert!(is_new.iter().all(|part| *part == has_version), "{is_new:?}");
        Ok(has_version)
    }

    #[test]
    fn after_each_step_the_rest_can_be_done() -> Result<()> {
        // The steps that were done before the process ended.
        let moves: [&[(&str, &str)]; 4] = [
            &[],
            &[("model/model.toml", "model.toml")],
            &[("model/model.toml", "model.toml"), ("version", "2")],
            &[
                ("model/model.toml", "model.toml"),
                ("model/cases", "cases"),
                ("version", "2"),
            ],
        ];
        for done in moves {
            let (directory, name) = upload()?;
            let staged = directory.path().join("staged");
            let repository = directory.path().join("repository");
            assert!(!is_decided(&staged) && !is_new(&directory)?);
            decide(&staged)?;
            assert!(is_decided(&staged));
            for (from, to) in done {
                fs::rename(staged.join(from), repository.join("m").join(to))?;
            }
            roll_forward(&staged, &repository, &name)?;
            assert!(is_new(&directory)?, "{done:?}");
            assert!(!staged.exists());
        }
        Ok(())
    }

    #[test]
    fn the_first_version_of_a_model_makes_its_directory() -> Result<()> {
        let (directory, _) = upload()?;
        let name = VersionName::parse("other", "2")?;
        let repository = directory.path().join("repository");
        let staged = directory.path().join("staged");
        decide(&staged)?;
        roll_forward(&staged, &repository, &name)?;
        assert!(repository.join("other/2/model.onnx").is_file());
        assert!(repository.join("other/cases/a.json").is_file());
        Ok(())
    }
}
