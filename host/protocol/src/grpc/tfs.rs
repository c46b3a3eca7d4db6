//! TensorFlow Serving over gRPC: tensors or examples in, tensors, classes or numbers out.
//!
//! [`target`] names the model of a request. [`decode_predict`] and [`encode_predict`] carry tensors
//! (`tensor`); [`decode_classify`], [`decode_regress`] and [`decode_multi`] make the inputs from
//! examples (`example`) and give a reply that reads classes or numbers from the outputs
//! (`classify`, `multi`). `metadata` describes a model and tells its state, `reload` says which are to be
//! served.
//!
//! There is one signature, `serving_default`, which is the model's own. Version 0 means the latest,
//! as clients send it that were told of none.
//!
//! As in V2 it is left to the caller whether names, datatypes and shapes are those of the model.
//!
//! Invariant: `limit`, a number of bytes, bounds what all lists of one request are widened,
//! repeated or copied to, before it is allocated.

mod budget;
mod classify;
mod error;
mod example;
mod metadata;
mod multi;
mod predict;
mod reload;
mod tensor;

pub use classify::{ClassifyReply, RegressReply, decode_classify, decode_regress};
pub use error::DecodeError;
pub(super) use example::repeated_bytes;
pub(crate) use metadata::state;
pub use metadata::{check_metadata_fields, model_metadata, model_status};
pub use multi::{MultiReply, decode_multi, multi_target};
pub(super) use predict::filled_bytes;
pub use predict::{decode_predict, encode_predict};
pub use reload::{decode_reload, reloaded};
pub(crate) use tensor::data_type;

use super::message::tensorflow::serving::ModelSpec;
use super::message::tensorflow::serving::model_spec::VersionChoice as WireChoice;
use super::target::{Reason, TargetError};
use crate::call::{ModelDescription, Target, VersionChoice};
use crate::label::Label;
use crate::target::{labelled, model, numbered};
use crate::tfs::SIGNATURE_NAME;
use error::Reason as DecodeReason;

/// The model and version that a request's `model_spec` names.
pub fn target(spec: Option<&ModelSpec>) -> Result<Target, TargetError> {
    let spec = spec.ok_or(Reason::NoModelSpec)?;
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

/// Whether a request asks for the signature that there is.
fn check_signature(spec: Option<&ModelSpec>) -> Result<(), DecodeReason> {
    match spec.map_or("", |spec| &spec.signature_name) {
        "" | SIGNATURE_NAME => Ok(()),
        other => Err(DecodeReason::Signature(Label::new(other))),
    }
}

/// What an answer says of the model that gave it.
fn model_spec(model: &ModelDescription) -> ModelSpec {
    // A version beyond this dialect's numbers is left out rather than told wrong.
    let version = model.version.to_string().parse().ok();
    ModelSpec {
        name: model.model.to_string(),
        version_choice: version.map(WireChoice::Version),
        signature_name: SIGNATURE_NAME.to_owned(),
    }
}
