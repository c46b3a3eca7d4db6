//! The metadata, health and index responses of V2.

use super::error::DecodeError;
use crate::call::{IndexEntry, ModelDescription, Version};
use crate::codec::CodecError;
use crate::grpc::message::inference::model_metadata_response::TensorMetadata;
use crate::grpc::message::inference::repository_index_response::ModelIndex;
use crate::grpc::message::inference::{
    ModelMetadataResponse, ModelReadyResponse, RepositoryIndexRequest, RepositoryIndexResponse,
    ServerLiveResponse, ServerMetadataResponse, ServerReadyResponse,
};
use crate::v2::IndexFilter;
use crate::v2::index as names;
use crate::v2::metadata::EXTENSIONS;
use wisp_tensor::TensorSpec;

/// Returns the server's metadata; `version` is the program's.
pub fn server_metadata(version: &str) -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "wisp".to_owned(),
        version: version.to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).into(),
    }
}

/// Returns the metadata of a model; `versions` are those that a client may request.
pub fn model_metadata(model: &ModelDescription, versions: &[Version]) -> ModelMetadataResponse {
    ModelMetadataResponse {
        name: model.model.to_string(),
        versions: versions.iter().map(Version::to_string).collect(),
        platform: model.platform.clone(),
        inputs: model.signature.inputs.iter().map(tensor).collect(),
        outputs: model.signature.outputs.iter().map(tensor).collect(),
        properties: model.properties.clone(),
    }
}

fn tensor(spec: &TensorSpec) -> TensorMetadata {
    TensorMetadata {
        name: spec.name.clone(),
        datatype: spec.element_type.name().to_owned(),
        shape: spec.shape.iter().map(|size| size.to_wire()).collect(),
    }
}

/// Returns the liveness response, which is always true.
pub fn live() -> ServerLiveResponse {
    ServerLiveResponse { live: true }
}

/// Returns the readiness of the server for inference requests.
pub fn ready(ready: bool) -> ServerReadyResponse {
    ServerReadyResponse { ready }
}

/// Returns the readiness of a model for inference requests.
pub fn model_ready(ready: bool) -> ModelReadyResponse {
    ModelReadyResponse { ready }
}

/// Returns the filter on the index entries that the client requests.
pub fn decode_index(message: &RepositoryIndexRequest) -> Result<IndexFilter, CodecError> {
    if !message.repository_name.is_empty() {
        return Err(DecodeError::RepositoryName.into());
    }
    Ok(match message.ready {
        true => IndexFilter::Ready,
        false => IndexFilter::All,
    })
}

/// Returns the index of these entries.
pub fn index(entries: &[IndexEntry]) -> RepositoryIndexResponse {
    let models = entries.iter().map(|entry| ModelIndex {
        name: entry.name.clone(),
        version: entry
            .version
            .map_or_else(String::new, |version| version.to_string()),
        state: names::state(&entry.state).to_owned(),
        reason: names::reason(&entry.state).unwrap_or_default().to_owned(),
    });
    RepositoryIndexResponse {
        models: models.collect(),
    }
}
