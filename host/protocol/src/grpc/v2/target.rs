//! The model and version that a message names.

use crate::call::{Target, VersionChoice};
use crate::grpc::target::TargetError;
use crate::target::{model, numbered};

/// Returns the model and version that a message names; an empty version means the default.
pub fn target(name: &str, version: &str) -> Result<Target, TargetError> {
    let model = model(name)?;
    Ok(match version {
        "" => Target {
            model,
            version: VersionChoice::Default,
        },
        number => numbered(model, number)?,
    })
}
