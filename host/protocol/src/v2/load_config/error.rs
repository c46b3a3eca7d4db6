//! The errors in a model configuration.

use crate::error::{ErrorKind, HasErrorKind};
use crate::quoted::Quoted;

/// The maximum length of a configuration in bytes, many times the usual length. Parsed, it may take tens of times
/// as much memory, which no budget counts, and gRPC decodes it on the thread of a connection.
pub(super) const MAX_BYTES: usize = 256 << 10;

/// The reason that a configuration cannot be used. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadConfigError {
    #[error("`config` has more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("`config` is not a model configuration in JSON: {0}")]
    Json(Box<str>),
    #[error("`config` has the unknown field {0}")]
    Unknown(Quoted),
    #[error("`config`: {0} is not supported by this server")]
    Unsupported(Quoted),
    #[error("`config`: {name} is not {expected}")]
    Value {
        name: Quoted,
        expected: &'static str,
    },
}

impl HasErrorKind for LoadConfigError {
    fn kind(&self) -> ErrorKind {
        match self {
            LoadConfigError::Unsupported(_) => ErrorKind::NotImplemented,
            LoadConfigError::TooLarge
            | LoadConfigError::Json(_)
            | LoadConfigError::Unknown(_)
            | LoadConfigError::Value { .. } => ErrorKind::InvalidRequest,
        }
    }
}
