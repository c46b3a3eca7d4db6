//! The settings and files that `model.toml` names, for a handler to read.
//!
//! A file is looked up in the directory of the version and then of the model, so that versions can differ. It must be within
//! that directory, a regular file, and all of them together within a limit. They are read once, when the
//! version is loaded.

use crate::registry::contained_path::contained;
use crate::registry::model_file::{FILE_NAME, ModelFile};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use wisp_backend::bounded_file::read_regular;
use wisp_sandbox::configuration::HandlerConfiguration;

/// The size limit of the files of one version together, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// The reason that the files of a handler cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HandlerFilesError {
    #[error(
        "there is no file `{file}` in the directory of the version or of the model, which handler.files in {FILE_NAME} lists"
    )]
    Missing { file: String },
    #[error(
        "`{file}` is not in the model's directory: handler.files in {FILE_NAME} lists paths within it"
    )]
    Elsewhere { file: String },
    #[error("`{file}`, which handler.files in {FILE_NAME} lists, cannot be read")]
    Read { file: String, source: io::Error },
    #[error(
        "with `{file}`, the files that handler.files in {FILE_NAME} lists have more than {MAX_BYTES} bytes"
    )]
    TooLarge { file: String },
}

/// Reads the files that the model file lists, from the first of `directories` that has each.
pub(super) fn load(
    model_file: &ModelFile,
    directories: &[&Path],
) -> Result<HandlerConfiguration, HandlerFilesError> {
    let section = &model_file.handler;
    let mut files = BTreeMap::new();
    let mut left = MAX_BYTES;
    for file in &section.files {
        let content = read(file, directories, left)?;
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        left = left.saturating_sub(size);
        files.insert(file.clone(), content.into());
    }
    Ok(HandlerConfiguration::new(section.config.clone(), files))
}

fn read(file: &str, directories: &[&Path], limit: u64) -> Result<Vec<u8>, HandlerFilesError> {
    let file = file.to_owned();
    for directory in directories {
        let path = match contained(directory, Path::new(&file)) {
            Ok(Some(path)) => path,
            Ok(None) => return Err(HandlerFilesError::Elsewhere { file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(HandlerFilesError::Read { file, source }),
        };
        return read_regular(&path, limit).map_err(|source| match source.kind() {
            io::ErrorKind::FileTooLarge => HandlerFilesError::TooLarge { file },
            _ => HandlerFilesError::Read { file, source },
        });
    }
    Err(HandlerFilesError::Missing { file })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::model_file::HandlerSection;
    use anyhow::{Context, Result};

    /// Creates a model directory with files of the model and of its version 1, and a file beside it.
    fn directory() -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        let model = directory.path().join("m");
        std::fs::create_dir_all(model.join("1"))?;
        std::fs::create_dir_all(model.join("texts"))?;
        std::fs::write(model.join("texts/labels.txt"), "of the model")?;
        std::fs::write(model.join("vocab.txt"), "of the model")?;
        std::fs::write(model.join("1/vocab.txt"), "of the version")?;
        std::fs::write(directory.path().join("secret"), "secret")?;
        std::os::unix::fs::symlink("../secret", model.join("link"))?;
        Ok(directory)
    }

    fn load_file(directory: &Path, file: &str) -> Result<HandlerConfiguration, HandlerFilesError> {
        let model = directory.join("m");
        let model_file = ModelFile {
            handler: HandlerSection {
                files: vec![file.to_owned()],
                ..HandlerSection::default()
            },
            ..ModelFile::default()
        };
        load(&model_file, &[&model.join("1"), &model])
    }

    #[test]
    fn a_file_of_the_version_is_found_before_one_of_the_model() -> Result<()> {
        let directory = directory()?;
        for (file, content) in [
            ("vocab.txt", "of the version"),
            ("./vocab.txt", "of the version"),
            ("texts/labels.txt", "of the model"),
        ] {
            let configuration = load_file(directory.path(), file)?;
            let read = configuration.file(file).context("it is not there")?;
            assert_eq!(read, content.as_bytes(), "{file}");
        }
        Ok(())
    }

    #[test]
    fn files_elsewhere_missing_ones_and_those_that_are_no_files_are_refused_by_name() -> Result<()>
    {
        let directory = directory()?;
        let absolute = directory.path().join("m/vocab.txt").display().to_string();
        for file in ["../secret", "texts/../../secret", "link", &absolute] {
            let refused = load_file(directory.path(), file);
            let is_elsewhere = matches!(refused, Err(HandlerFilesError::Elsewhere { .. }));
            assert!(is_elsewhere, "{file}: {refused:?}");
        }
        let missing = load_file(directory.path(), "merges.txt").err();
        let text = missing.context("accepted")?.to_string();
        assert!(text.contains("no file `merges.txt`"), "{text}");
        let irregular = load_file(directory.path(), "texts").err();
        let text = irregular.context("accepted")?.to_string();
        assert!(text.contains("`texts`"), "{text}");
        Ok(())
    }

    #[test]
    fn the_files_of_a_version_have_a_limit_together() -> Result<()> {
        let directory = directory()?;
        let path = directory.path().join("m/large");
        std::fs::File::create(path)?.set_len(MAX_BYTES + 1)?;
        let refused = load_file(directory.path(), "large");
        assert!(matches!(refused, Err(HandlerFilesError::TooLarge { .. })));
        Ok(())
    }
}
