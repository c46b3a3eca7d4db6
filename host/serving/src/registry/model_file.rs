//! `model.toml`: what a model says beyond what its files show. Every key has a sensible default.
//!
//! Unknown keys are errors: a misspelt limit must not be a limit that silently is not there.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wisp_sandbox::limits::Limits;

/// The name of the file in a model's directory.
pub const FILE_NAME: &str = "model.toml";

/// A model's own settings.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelFile {
    /// The most rows of axis 0 in one request; 0 says that axis 0 is no batch. By default 32 when
    /// every input and output has a variable first axis, else 0.
    pub max_batch_size: Option<u32>,
    /// The command that makes a `model.onnx` which the repository does not hold.
    pub export: Option<String>,
    pub handler: HandlerSection,
    pub limits: LimitsSection,
}

/// Where the handler comes from.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HandlerSection {
    /// The handler's crate, relative to the model's directory. Only `wisp build` reads it.
    pub source: Option<PathBuf>,
}

/// What the handler may use; each key replaces one default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    pub memory_bytes: Option<usize>,
    pub host_bytes: Option<usize>,
    pub transfer_bytes: Option<usize>,
    pub guest_time_milliseconds: Option<u64>,
}

/// A `model.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    #[error("failed to read `{}`", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}` is not a valid model file", path.display())]
    Parse {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    #[error("`{}`: {key} is {value}, the limit is {limit}", path.display())]
    AboveLimit {
        path: PathBuf,
        key: &'static str,
        value: usize,
        limit: usize,
    },
}

impl ModelFile {
    /// Read a model directory's file; without one, the defaults.
    pub fn load(model_directory: &Path) -> Result<ModelFile, ModelFileError> {
        let path = model_directory.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(ModelFile::default());
            }
            Err(source) => return Err(ModelFileError::Read { path, source }),
        };
        toml::from_str(&text).map_err(|source| ModelFileError::Parse {
            path,
            source: Box::new(source),
        })
    }

    /// The limits of this model's handler: the server's `defaults` where the file is silent.
    pub fn limits(
        &self,
        model_directory: &Path,
        defaults: &Limits,
    ) -> Result<Limits, ModelFileError> {
        let section = &self.limits;
        let memory_bytes = section.memory_bytes.unwrap_or(defaults.memory_bytes);
        if memory_bytes > defaults.memory_bytes {
            return Err(ModelFileError::AboveLimit {
                path: model_directory.join(FILE_NAME),
                key: "limits.memory_bytes",
                value: memory_bytes,
                limit: defaults.memory_bytes,
            });
        }
        Ok(Limits {
            memory_bytes,
            host_bytes: section.host_bytes.unwrap_or(defaults.host_bytes),
            transfer_bytes: section.transfer_bytes.unwrap_or(defaults.transfer_bytes),
            guest_time: section
                .guest_time_milliseconds
                .map_or(defaults.guest_time, Duration::from_millis),
            ..defaults.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Result<ModelFile, ModelFileError>> {
        let directory = tempfile::tempdir()?;
        std::fs::write(directory.path().join(FILE_NAME), text)?;
        Ok(ModelFile::load(directory.path()))
    }

    #[test]
    fn a_model_without_a_file_has_the_defaults() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        assert_eq!(ModelFile::load(directory.path())?, ModelFile::default());
        Ok(())
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() -> anyhow::Result<()> {
        for text in ["max_batchsize = 1", "[limits]\nmemory = 1", "[handlers]"] {
            let Err(ModelFileError::Parse { source, .. }) = load(text)? else {
                anyhow::bail!("`{text}` was accepted");
            };
            assert!(source.to_string().contains("unknown field"), "{source}");
        }
        Ok(())
    }

    #[test]
    fn a_model_can_lower_its_memory_and_not_raise_it() -> anyhow::Result<()> {
        let path = Path::new("m");
        let lower = load("[limits]\nmemory_bytes = 1048576")??;
        assert_eq!(
            lower.limits(path, &Limits::default())?.memory_bytes,
            1 << 20
        );
        let higher = load("[limits]\nmemory_bytes = 1073741824")??;
        let error = higher.limits(path, &Limits::default());
        assert!(matches!(error, Err(ModelFileError::AboveLimit { .. })));
        Ok(())
    }
}
