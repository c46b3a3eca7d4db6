//! The metadata of a model and the states of its versions.

use super::error::DecodeError;
use super::model_spec::model_spec;
use super::tensor::data_type;
use crate::call::{IndexEntry, ModelDescription, VersionState};
use crate::codec::CodecError;
use crate::grpc::message::tensorflow::error::Code;
use crate::grpc::message::tensorflow::serving::model_version_status::State;
use crate::grpc::message::tensorflow::serving::{
    GetModelMetadataRequest, GetModelMetadataResponse, GetModelStatusResponse, ModelVersionStatus,
    SignatureDefMap, StatusProto,
};
use crate::grpc::message::tensorflow::tensor_info::Encoding;
use crate::grpc::message::tensorflow::tensor_shape_proto::Dim;
use crate::grpc::message::tensorflow::{SignatureDef, TensorInfo, TensorShapeProto};
use crate::quoted::Quoted;
use crate::tfs::SIGNATURE_NAME;
use prost::Message;
use std::collections::BTreeMap;
use wisp_tensor::TensorSpec;

/// The only metadata field, in requests and responses.
const SIGNATURE_DEF: &str = "signature_def";

/// Checks that a request asks for the only metadata field.
pub fn check_metadata_fields(message: &GetModelMetadataRequest) -> Result<(), CodecError> {
    let fields = &message.metadata_field;
    match fields.iter().find(|field| *field != SIGNATURE_DEF) {
        Some(other) => Err(DecodeError::MetadataField(Quoted::new(other)).into()),
        None if fields.is_empty() => Err(DecodeError::NoMetadataField.into()),
        None => Ok(()),
    }
}

/// Returns the metadata of a model: its only signature, in a map within a map as in TensorFlow Serving.
pub fn model_metadata(model: &ModelDescription) -> GetModelMetadataResponse {
    let signature = SignatureDef {
        inputs: model.signature.inputs.iter().map(tensor).collect(),
        outputs: model.signature.outputs.iter().map(tensor).collect(),
        method_name: "tensorflow/serving/predict".to_owned(),
    };
    let map = SignatureDefMap {
        signature_def: BTreeMap::from([(SIGNATURE_NAME.to_owned(), signature)]),
    };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/tensorflow.serving.SignatureDefMap".to_owned(),
        value: map.encode_to_vec(),
    };
    let mut spec = model_spec(model);
    // TensorFlow Serving sets the signature's name only if the request chose one.
    spec.signature_name.clear();
    GetModelMetadataResponse {
        model_spec: Some(spec),
        metadata: BTreeMap::from([(SIGNATURE_DEF.to_owned(), any)]),
    }
}

/// Returns the states of these versions of a model.
pub fn model_status(versions: &[IndexEntry]) -> GetModelStatusResponse {
    let statuses = versions.iter().filter_map(|entry| {
        let (state, reason) = state(&entry.state);
        let status = reason.map_or_else(StatusProto::default, |reason| StatusProto {
            error_code: Code::Unknown.into(),
            error_message: reason.to_owned(),
        });
        Some(ModelVersionStatus {
            version: entry.version?.to_string().parse().ok()?,
            state: state.into(),
            status: Some(status),
        })
    });
    GetModelStatusResponse {
        model_version_status: statuses.collect(),
    }
}

/// Returns TensorFlow Serving's state, and the reason why a version cannot be served.
fn state(state: &VersionState) -> (State, Option<&str>) {
    match state {
        VersionState::Loading => (State::Loading, None),
        VersionState::Ready | VersionState::Dormant => (State::Available, None),
        VersionState::Unloading => (State::Unloading, None),
        VersionState::Unloaded => (State::End, None),
        VersionState::Failed(reason) => (State::End, Some(reason)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tfs::names;
    use wisp_tensor::ElementType;

    #[test]
    fn names_equal_those_over_rest() {
        for element_type in ElementType::ALL {
            let name = data_type(element_type).as_str_name();
            assert_eq!(name, names::data_type(element_type));
        }
        for version in [
            VersionState::Loading,
            VersionState::Ready,
            VersionState::Dormant,
            VersionState::Unloading,
            VersionState::Unloaded,
            VersionState::Failed("broken".to_owned()),
        ] {
            let (state, reason) = state(&version);
            assert_eq!((state.as_str_name(), reason), names::state(&version));
        }
    }
}
