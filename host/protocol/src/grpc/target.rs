//! Errors in the target of a message.

use crate::error::ErrorKind;
use crate::target::UnknownTarget;

/// The error for a message that names no valid model. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct TargetError(#[from] Reason);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error(transparent)]
    Unknown(#[from] UnknownTarget),
    #[error("the request has no `model_spec`")]
    NoModelSpec,
    #[error("the request has no tasks")]
    NoTasks,
    #[error("the tasks of one request are for one model and version, these name several")]
    SeveralModels,
}

impl From<UnknownTarget> for TargetError {
    fn from(unknown: UnknownTarget) -> TargetError {
        TargetError(Reason::Unknown(unknown))
    }
}

impl TargetError {
    /// Returns the kind, the key into the error table.
    pub fn kind(&self) -> ErrorKind {
        match self.0 {
            Reason::Unknown(_) => ErrorKind::NotFound,
            Reason::NoModelSpec | Reason::NoTasks | Reason::SeveralModels => {
                ErrorKind::InvalidRequest
            }
        }
    }
}
