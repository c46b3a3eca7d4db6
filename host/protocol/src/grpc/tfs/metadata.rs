//! What a model takes and gives, and in which state its versions are.

use super::error::{DecodeError, Reason};
use super::tensor::data_type;
use super::{SIGNATURE, model_spec};
use crate::call::{IndexEntry, ModelDescription, Target};
use crate::grpc::message::tensorflow::error::Code;
use crate::grpc::message::tensorflow::serving::model_version_status::State;
use crate::grpc::message::tensorflow::serving::{
    GetModelMetadataRequest, GetModelMetadataResponse, GetModelStatusResponse, ModelVersionStatus,
    SignatureDefMap, StatusProto,
};
use crate::grpc::message::tensorflow::tensor_info::Encoding;
use crate::grpc::message::tensorflow::tensor_shape_proto::Dim;
use crate::grpc::message::tensorflow::{SignatureDef, TensorInfo, TensorShapeProto};
use crate::grpc::target::{Reason as TargetReason, TargetError};
use crate::label::Label;
use prost::Message;
use std::collections::BTreeMap;
use wisp_tensor::TensorSpec;

/// The only metadata there is, in the request as in the answer.
const SIGNATURE_DEF: &str = "signature_def";

/// Whether a request asks for the metadata that there is.
pub fn check_metadata_fields(message: &GetModelMetadataRequest) -> Result<(), DecodeError> {
    let fields = &message.metadata_field;
    match fields.iter().find(|field| *field != SIGNATURE_DEF) {
        Some(other) => Err(DecodeError::from(Reason::MetadataField(Label::new(other)))),
        None if fields.is_empty() => Err(DecodeError::from(Reason::NoMetadataField)),
        None => Ok(()),
    }
}

/// What a model takes and gives: its one signature, in a map within a map, as TensorFlow Serving has
/// it.
pub fn model_metadata(model: &ModelDescription) -> GetModelMetadataResponse {
    let signature = SignatureDef {
        inputs: model.signature.inputs.iter().map(tensor).collect(),
        outputs: model.signature.outputs.iter().map(tensor).collect(),
        method_name: "tensorflow/serving/predict".to_owned(),
    };
    let map = SignatureDefMap {
        signature_def: BTreeMap::from([(SIGNATURE.to_owned(), signature)]),
    };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/tensorflow.serving.SignatureDefMap".to_owned(),
        value: map.encode_to_vec(),
    };
    let mut spec = model_spec(model);
    // TensorFlow Serving names a signature only where a request chose one.
    spec.signature_name.clear();
    GetModelMetadataResponse {
        model_spec: Some(spec),
        metadata: BTreeMap::from([(SIGNATURE_DEF.to_owned(), any)]),
    }
}

/// The states of the versions that `target` names, out of those of all models. Without any, the
/// model or its version is unknown.
pub fn model_status(
    entries: &[IndexEntry],
    target: &Target,
) -> Result<GetModelStatusResponse, TargetError> {
    let entries = entries.iter().filter(|entry| {
        entry.model == target.model && (target.version.is_none() || entry.version == target.version)
    });
    let statuses = entries.filter_map(|entry| {
        let (state, status) = match &entry.state {
            Ok(()) => (State::Available, StatusProto::default()),
            Err(reason) => (
                State::End,
                StatusProto {
                    error_code: Code::Unavailable.into(),
                    error_message: reason.clone(),
                },
            ),
        };
        Some(ModelVersionStatus {
            version: entry.version?.to_string().parse().ok()?,
            state: state.into(),
            status: Some(status),
        })
    });
    let model_version_status: Vec<_> = statuses.collect();
    match (model_version_status.is_empty(), target.version) {
        (false, _) => Ok(GetModelStatusResponse {
            model_version_status,
        }),
        (true, None) => {
            let name = Label::new(target.model.as_str());
            Err(TargetError::from(TargetReason::UnknownModel(name)))
        }
        (true, Some(version)) => Err(TargetError::from(TargetReason::UnknownVersion {
            model: target.model.clone(),
            version: Label::new(&version.to_string()),
        })),
    }
}

fn tensor(spec: &TensorSpec) -> (String, TensorInfo) {
    let dim = spec.shape.iter().map(|size| Dim {
        size: size.to_wire(),
        name: String::new(),
    });
    let shape = TensorShapeProto {
        dim: dim.collect(),
        unknown_rank: false,
    };
    let entry = TensorInfo {
        dtype: data_type(spec.element_type).into(),
        tensor_shape: Some(shape),
        encoding: Some(Encoding::Name(spec.name.clone())),
    };
    (spec.name.clone(), entry)
}
