//! The `model_spec` of requests and responses: the model, its version and its only signature.

use super::error::DecodeError;
use crate::call::{ModelDescription, Target, VersionChoice};
use crate::grpc::message::tensorflow::serving::ModelSpec;
use crate::grpc::message::tensorflow::serving::model_spec::VersionChoice as WireChoice;
use crate::grpc::target::TargetError;
use crate::quoted::Quoted;
use crate::target::{labelled, model, numbered};
use crate::tfs::SIGNATURE_NAME;

/// Returns the model and version that a request's `model_spec` names.
pub fn target(spec: Option<&ModelSpec>) -> Result<Target, TargetError> {
    let spec = spec.ok_or(TargetError::NoModelSpec)?;
    let model = model(&spec.name)?;
    Ok(match &spec.version_choice {
        None | Some(WireChoice::Version(0)) => Target {
            model,
            version: VersionChoice::Default,
        },
        Some(WireChoice::Version(number)) => numbered(model, &number.to_string())?,
        Some(WireChoice::VersionLabel(label)) => labelled(model, label)?,
    })
}

/// Checks that a request names the only signature, or none.
pub(super) fn check_signature(spec: Option<&ModelSpec>) -> Result<(), DecodeError> {
    match spec.map_or("", |spec| &spec.signature_name) {
        "" | SIGNATURE_NAME => Ok(()),
        other => Err(DecodeError::Signature(Quoted::new(other))),
    }
}

/// Returns the `model_spec` of a response.
pub(super) fn model_spec(model: &ModelDescription) -> ModelSpec {
    // A version beyond the protocol's integer range is omitted rather than reported incorrectly.
    let version = model.version.to_string().parse().ok();
    ModelSpec {
        name: model.model.to_string(),
        version_choice: version.map(WireChoice::Version),
        signature_name: SIGNATURE_NAME.to_owned(),
    }
}
