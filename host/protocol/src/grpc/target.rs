//! The model that a message names, in the words of each dialect.

use crate::call::{ModelName, Target, Version, VersionChoice};
use crate::error::ErrorKind;
use crate::label::Label;

/// Why a message names no model that could exist. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct TargetError(#[from] Reason);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("unknown model: {0}")]
    UnknownModel(Label),
    #[error("unknown version: `{model}` has no version {version}")]
    UnknownVersion { model: ModelName, version: Label },
    #[error("unknown version label: `{model}` has no label {label}, name a version by its number")]
    UnknownLabel { model: ModelName, label: Label },
    #[error("the request has no `model_spec`")]
    NoModelSpec,
    #[error("the request has no tasks")]
    NoTasks,
    #[error("the tasks of one request are for one model and version, these name several")]
    SeveralModels,
}

/// The model of this name; a name that breaks the grammar belongs to no model.
pub(super) fn model(name: &str) -> Result<ModelName, Reason> {
    ModelName::new(name).map_err(|_| Reason::UnknownModel(Label::new(name)))
}

/// The model of this name, in the version with this number.
pub(super) fn target(name: &str, version: &str) -> Result<Target, Reason> {
    let model = model(name)?;
    match Version::from_decimal(version) {
        Some(version) => Ok(Target {
            model,
            version: VersionChoice::Number(version),
        }),
        None => {
            let version = Label::new(version);
            Err(Reason::UnknownVersion { model, version })
        }
    }
}

impl TargetError {
    /// What the error table is asked with.
    pub fn kind(&self) -> ErrorKind {
        match self.0 {
            Reason::UnknownModel(_)
            | Reason::UnknownVersion { .. }
            | Reason::UnknownLabel { .. } => ErrorKind::NotFound,
            Reason::NoModelSpec | Reason::NoTasks | Reason::SeveralModels => {
                ErrorKind::InvalidRequest
            }
        }
    }
}
