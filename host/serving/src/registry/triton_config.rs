//! The `config.pbtxt` in the directory of a model, Triton's configuration in protobuf's text format.
//!
//! `model_settings` takes its settings where `model.toml` has none. Nothing is written to it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use wisp_backend::bounded_file::read_regular_text;
use wisp_protocol::config_text::{self, ConfigText, ConfigTextError, MAX_BYTES};

/// The name of the file.
pub const TRITON_CONFIG_FILE: &str = "config.pbtxt";

/// The reason that the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TritonConfigError {
    #[error("failed to read `{}`", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` cannot be used", path.display())]
    Text {
        path: PathBuf,
        source: ConfigTextError,
    },
}

impl TritonConfigError {
    /// Returns the reason without the path of the file, for clients.
    pub(super) fn reason(&self) -> String {
        match self {
            TritonConfigError::Read { source, .. } => format!("it cannot be read: {source}"),
            TritonConfigError::Text { source, .. } => source.to_string(),
        }
    }
}

/// Reads the file in the directory of a model, if there is one.
pub(super) fn load(model_directory: &Path) -> Result<Option<ConfigText>, TritonConfigError> {
    let path = model_directory.join(TRITON_CONFIG_FILE);
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let text = match read_regular_text(&path, limit) {
        Ok(text) => text,
        // A dangling link is an error: the file is meant to exist.
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => return Ok(None),
        Err(source) => return Err(TritonConfigError::Read { path, source }),
    };
    match config_text::decode(&text) {
        Ok(config) => Ok(Some(config)),
        Err(source) => Err(TritonConfigError::Text { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_no_configuration_and_an_unreadable_one_is_an_error() -> anyhow::Result<()>
    {
        let directory = tempfile::tempdir()?;
        assert!(load(directory.path())?.is_none());
        let path = directory.path().join(TRITON_CONFIG_FILE);
        std::fs::write(&path, "name: \"m\"\nbatch: 8\n")?;
        let refused = load(directory.path()).expect_err("it has an unknown field");
        assert_eq!(refused.reason(), "line 2: ModelConfig has no field `batch`");
        std::fs::remove_file(&path)?;
        std::os::unix::fs::symlink("nowhere", &path)?;
        let refused = load(directory.path());
        assert!(matches!(refused, Err(TritonConfigError::Read { .. })));
        Ok(())
    }
}
