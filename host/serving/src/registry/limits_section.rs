//! The limits of a handler in `model.toml`, which lower those of the server.

use crate::registry::model_file_error::ModelFileError;
use serde::Deserialize;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use wisp_sandbox::limits::Limits;

/// The limits of the handler. Each key lowers one of the server's limits. Only the operator of the server, who
/// need not be the author of the model, can raise them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    pub memory_bytes: Option<usize>,
    pub table_elements: Option<usize>,
    pub tensor_bytes: Option<usize>,
    pub transfer_bytes: Option<usize>,
    pub handles: Option<usize>,
    pub guest_time_milliseconds: Option<u64>,
    pub log_bytes: Option<usize>,
}

impl LimitsSection {
    /// Returns the limits of the handler: the `defaults` of the server where the model file `file` sets none.
    pub(super) fn of_handler(
        &self,
        file: &Path,
        defaults: &Limits,
    ) -> Result<Limits, ModelFileError> {
        let LimitsSection {
            memory_bytes,
            table_elements,
            tensor_bytes,
            transfer_bytes,
            handles,
            guest_time_milliseconds,
            log_bytes,
        } = *self;
        let size = |key, value: Option<usize>, limit| lowered(file, key, value, limit);
        let guest_time = match guest_time_milliseconds {
            None => defaults.guest_time,
            Some(_) => {
                let limit = u64::try_from(defaults.guest_time.as_millis()).unwrap_or(u64::MAX);
                let key = "guest_time_milliseconds";
                Duration::from_millis(lowered(file, key, guest_time_milliseconds, limit)?)
            }
        };
        Ok(Limits {
            component_bytes: defaults.component_bytes,
            memory_bytes: size("memory_bytes", memory_bytes, defaults.memory_bytes)?,
            table_elements: size("table_elements", table_elements, defaults.table_elements)?,
            tensor_bytes: size("tensor_bytes", tensor_bytes, defaults.tensor_bytes)?,
            transfer_bytes: size("transfer_bytes", transfer_bytes, defaults.transfer_bytes)?,
            handles: size("handles", handles, defaults.handles)?,
            log_bytes: size("log_bytes", log_bytes, defaults.log_bytes)?,
            guest_time,
        })
    }
}

/// Returns the value in the model file, or the limit if the file sets none.
fn lowered<T: PartialOrd + Display>(
    file: &Path,
    key: &'static str,
    value: Option<T>,
    limit: T,
) -> Result<T, ModelFileError> {
    match value {
        Some(value) if value > limit => Err(ModelFileError::AboveLimit {
            path: file.to_owned(),
            key,
            value: value.to_string(),
            limit: limit.to_string(),
        }),
        Some(value) => Ok(value),
        None => Ok(limit),
    }
}
