//! The reasons that the settings of a model cannot be used, for the operator and for clients.

use crate::registry::batching::BatchingError;
use crate::registry::triton_config::{TRITON_CONFIG_FILE, TritonConfigError};
use std::path::PathBuf;

/// The reason that a `model.toml` cannot be used.
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
    #[error(transparent)]
    Triton(TritonConfigError),
    #[error("`{}`: dynamic_batching: {source}", path.display())]
    Batching {
        path: PathBuf,
        source: BatchingError,
    },
    #[error("`{}`: {key} is {value}, the limit on this machine is {limit}", path.display())]
    TooManyThreads {
        path: PathBuf,
        key: &'static str,
        value: usize,
        limit: usize,
    },
    #[error(
        "`{}`: limits.{key} is {value}, the server's limit is {limit}{}",
        path.display(),
        operator_setting(key)
    )]
    AboveLimit {
        path: PathBuf,
        key: &'static str,
        value: String,
        limit: String,
    },
}

impl ModelFileError {
    /// Returns the name of the file that has the error.
    pub(super) fn file_name(&self) -> &str {
        let path = match self {
            ModelFileError::Triton(_) => return TRITON_CONFIG_FILE,
            ModelFileError::Batching { path, .. }
            | ModelFileError::Read { path, .. }
            | ModelFileError::Parse { path, .. }
            | ModelFileError::TooManyThreads { path, .. }
            | ModelFileError::AboveLimit { path, .. } => path,
        };
        let name = path.file_name().and_then(|name| name.to_str());
        name.unwrap_or_default()
    }

    /// Returns the reason without the path of the file, for clients. An error in the text is given with its line and
    /// column.
    pub fn reason(&self) -> String {
        match self {
            ModelFileError::Read { source, .. } => format!("it cannot be read: {source}"),
            ModelFileError::Parse { source, .. } => {
                // The first line of the text has the position; the lines of the file that follow it are left out.
                let text = source.to_string();
                let first = text.lines().next().unwrap_or_default();
                let message = source.message().replace('\n', " ");
                match first.strip_prefix("TOML parse error at ") {
                    Some(position) => format!("{position}: {message}"),
                    None => message,
                }
            }
            ModelFileError::Triton(error) => error.reason(),
            ModelFileError::Batching { source, .. } => format!("dynamic_batching: {source}"),
            ModelFileError::TooManyThreads {
                key, value, limit, ..
            } => format!("{key} is {value}, the limit on this machine is {limit}"),
            ModelFileError::AboveLimit {
                key, value, limit, ..
            } => {
                let setting = operator_setting(key);
                format!("limits.{key} is {value}, the server's limit is {limit}{setting}")
            }
        }
    }
}

/// Returns the end of an error about this key: the setting with which the operator raises the server's limit.
fn operator_setting(key: &str) -> &'static str {
    match key {
        "memory_bytes" => "; the operator can raise it with --max-handler-memory-bytes",
        "tensor_bytes" => "; the operator can raise it with --max-handler-tensor-bytes",
        "transfer_bytes" => "; the operator can raise it with --max-handler-transfer-bytes",
        "guest_time_milliseconds" => {
            "; the operator can raise it with --max-handler-time-milliseconds"
        }
        // These are the same on every server.
        _ => "",
    }
}
