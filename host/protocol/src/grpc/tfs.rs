//! TensorFlow Serving over gRPC: tensors or examples in, tensors, classes or numbers out.
//!
//! [`target`] resolves the model of a request. [`decode_predict`] and [`encode_predict`] convert tensors
//! (`tensor`); [`decode_classify`], [`decode_regress`] and [`decode_multi`] build the inputs from
//! examples (`example`) and return a reply that reads classes or numbers from the outputs (`classify`,
//! `multi`). `metadata` describes models and their states; `reload` parses the set of models to serve.
//!
//! The only signature is `serving_default`, the model's own. Version 0 means the latest: clients send it
//! if they were not given a version. As in V2, the caller checks that names, datatypes and shapes match
//! the model.
//!
//! Invariant: `limit` bounds, in bytes, the memory that all repeated fields of one request are widened,
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
use crate::quoted::Quoted;
use crate::target::{labelled, model, numbered};
use crate::tfs::SIGNATURE_NAME;
use error::Reason as DecodeReason;

/// Returns the model and version that a request's `model_spec` names.
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

/// Checks that a request names the only signature, or none.
fn check_signature(spec: Option<&ModelSpec>) -> Result<(), DecodeReason> {
    match spec.map_or("", |spec| &spec.signature_name) {
        "" | SIGNATURE_NAME => Ok(()),
        other => Err(DecodeReason::Signature(Quoted::new(other))),
    }
}

/// Returns the `model_spec` of a response.
fn model_spec(model: &ModelDescription) -> ModelSpec {
    // A version beyond the protocol's integer range is omitted rather than reported incorrectly.
    let version = model.version.to_string().parse().ok();
    ModelSpec {
        name: model.model.to_string(),
        version_choice: version.map(WireChoice::Version),
        signature_name: SIGNATURE_NAME.to_owned(),
    }
}
