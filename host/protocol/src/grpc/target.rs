//! Why a message names no model.

use crate::error::ErrorKind;
use crate::target::UnknownTarget;

/// Why a message names no model that could exist. Lifetime: one request.
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
    /// What the error table is asked with.
    pub fn kind(&self) -> ErrorKind {
        match self.0 {
            Reason::Unknown(_) => ErrorKind::NotFound,
            Reason::NoModelSpec | Reason::NoTasks | Reason::SeveralModels => {
                ErrorKind::InvalidRequest
            }
        }
    }
}
