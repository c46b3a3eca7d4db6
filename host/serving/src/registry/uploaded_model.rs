//! The files of a model that a client sent with a load, outside of the repository.
//!
//! They are in a temporary directory that only this user can read, while the model is loaded. A loaded version needs
//! none of them.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wisp_protocol::call::ModelName;
use wisp_protocol::load::UploadedFile;

/// The directory of a model with the files of a client. Deleted on drop. Lifetime: one load.
#[derive(Debug)]
pub(crate) struct UploadedModel {
    _temporary: TempDir,
    directory: PathBuf,
}

impl UploadedModel {
    /// Writes the files into a new temporary directory.
    pub(crate) fn store(model: &ModelName, files: &[UploadedFile]) -> io::Result<UploadedModel> {
        let temporary = tempfile::Builder::new()
            .prefix("wisp-model-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let directory = temporary.path().join(model.as_str());
        for file in files {
            let version = directory.join(file.version.to_string());
            std::fs::create_dir_all(&version)?;
            std::fs::write(version.join(&file.name), &file.content)?;
        }
        Ok(UploadedModel {
            _temporary: temporary,
            directory,
        })
    }

    /// Returns the directories of the versions.
    pub(crate) fn version_directories(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.directory);
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// Returns the directory of the model, which has its name.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::call::Version;

    #[test]
    fn the_files_are_private_and_go_with_the_load() -> anyhow::Result<()> {
        let file = UploadedFile {
            version: Version::FIRST,
            name: "model.onnx".to_owned(),
            content: b"graph".as_slice().into(),
        };
        let uploaded = UploadedModel::store(&ModelName::new("m")?, &[file])?;
        let directory = uploaded.directory().to_owned();
        assert!(directory.ends_with("m"));
        assert_eq!(std::fs::read(directory.join("1/model.onnx"))?, b"graph");
        let parent = directory.parent().unwrap_or(&directory);
        let mode = std::fs::metadata(parent)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(uploaded);
        assert!(!directory.exists());
        Ok(())
    }
}
