//! Errors in the target of a message.

use crate::error::{ErrorKind, HasErrorKind};
use crate::quoted::Quoted;
use crate::target::UnknownTarget;

/// The error for a message that names no valid model. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error(transparent)]
    Unknown(#[from] UnknownTarget),
    /// A version in the Open Inference Protocol that is not a number. The text begins as Triton's, which clients compare.
    #[error(
        "failed to get model version from specified version string '{}', version should be an integral value > 0",
        .0.text()
    )]
    VersionText(Quoted),
    #[error("the request has no `model_spec`")]
    NoModelSpec,
    #[error("the request has no tasks")]
    NoTasks,
    #[error("the tasks of a request must name one model and version, and these name several")]
    SeveralModels,
    #[error("the request has both `model_version` and `version_label`: send one of them")]
    SeveralVersions,
}

impl HasErrorKind for TargetError {
    fn kind(&self) -> ErrorKind {
        match self {
            TargetError::Unknown(_) => ErrorKind::NotFound,
            TargetError::VersionText(_)
            | TargetError::NoModelSpec
            | TargetError::NoTasks
            | TargetError::SeveralModels
            | TargetError::SeveralVersions => ErrorKind::InvalidRequest,
        }
    }
}
