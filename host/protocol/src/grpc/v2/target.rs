//! The model and version that a message names.

use crate::call::{Target, VersionChoice};
use crate::grpc::target::TargetError;
use crate::quoted::Quoted;
use crate::target::{model, numbered};

/// Returns the model and version that a message names; an empty version means the default. As in Triton, a version
/// that is not a number is an invalid request, and one that no model can have is unknown.
pub fn target(name: &str, version: &str) -> Result<Target, TargetError> {
    let model = model(name)?;
    Ok(match version {
        "" => Target {
            model,
            version: VersionChoice::Default,
        },
        number if number.bytes().all(|byte| byte.is_ascii_digit()) => numbered(model, number)?,
        text => return Err(TargetError::VersionText(Quoted::new(text))),
    })
}
