//! The documents with the list of models, the state of a model, and its inputs and outputs.
//!
//! If TF Serving and KServe V1 share a path, one object has the keys of both.

use super::names::{data_type, state};
use crate::call::{IndexEntry, ModelDescription, ModelName, VersionState};
use crate::encoded_response::document;
use bytes::Bytes;
use serde::Serialize;
use serde::ser::Serializer;
use wisp_tensor::TensorSpec;

#[derive(Serialize)]
struct List<'a> {
    models: Vec<&'a str>,
    object: &'static str,
    data: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u32,
    owned_by: &'static str,
}

#[derive(Serialize)]
struct Status<'a> {
    name: &'a str,
    ready: bool,
    model_version_status: Vec<StatusOfVersion<'a>>,
}

#[derive(Serialize)]
struct StatusOfVersion<'a> {
    version: String,
    state: &'static str,
    status: StatusError<'a>,
}

#[derive(Serialize)]
struct StatusError<'a> {
    error_code: &'static str,
    error_message: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    model_spec: ModelSpec<'a>,
    metadata: Signatures<Signatures<OnlySignature<'a>>>,
}

#[derive(Serialize)]
struct ModelSpec<'a> {
    name: &'a str,
    signature_name: &'static str,
    version: String,
}

/// The key `signature_def`, which the document nests twice.
#[derive(Serialize)]
struct Signatures<T> {
    signature_def: T,
}

/// The only signature, with [`SIGNATURE_NAME`](super::SIGNATURE_NAME) as its key.
#[derive(Serialize)]
struct OnlySignature<'a> {
    serving_default: Signature<'a>,
}

#[derive(Serialize)]
struct Signature<'a> {
    inputs: Tensors<'a>,
    outputs: Tensors<'a>,
    method_name: &'static str,
}

#[derive(Serialize)]
struct Tensor<'a> {
    dtype: &'static str,
    tensor_shape: TensorShape,
    name: &'a str,
}

#[derive(Serialize)]
struct TensorShape {
    dim: Vec<Dim>,
    unknown_rank: bool,
}

#[derive(Serialize)]
struct Dim {
    size: String,
    name: &'static str,
}

/// The inputs or outputs of a model, written as an object of tensors by name.
struct Tensors<'a>(&'a [TensorSpec]);

/// Returns the liveness document that KServe V1 has at the root path.
pub fn alive() -> Bytes {
    Bytes::from_static(br#"{"status":"alive"}"#)
}

/// Returns the list of models, with the keys of KServe V1 and then of OpenAI's clients.
pub fn model_list(models: &[ModelName]) -> Bytes {
    let names = models.iter().map(ModelName::as_str);
    let entries = names.clone().map(|id| Entry {
        id,
        object: "model",
        created: 0,
        owned_by: "wisp",
    });
    document(&List {
        models: names.collect(),
        object: "list",
        data: entries.collect(),
    })
}

/// Returns the states of a model's versions, and whether any of them is ready.
pub fn model_status(model: &ModelName, versions: &[IndexEntry]) -> Bytes {
    document(&Status {
        name: model.as_str(),
        ready: (versions.iter())
            .any(|version| matches!(version.state, VersionState::Ready | VersionState::Dormant)),
        // The entry of a model without versions has no version number, and is left out.
        model_version_status: versions.iter().filter_map(StatusOfVersion::new).collect(),
    })
}

/// Returns the inputs and outputs of a model.
pub fn model_metadata(model: &ModelDescription) -> Bytes {
    let serving_default = Signature {
        inputs: Tensors(&model.signature.inputs),
        outputs: Tensors(&model.signature.outputs),
        method_name: "tensorflow/serving/predict",
    };
    document(&Metadata {
        model_spec: ModelSpec {
            name: model.model.as_str(),
            signature_name: "",
            version: model.version.to_string(),
        },
        metadata: Signatures {
            signature_def: Signatures {
                signature_def: OnlySignature { serving_default },
            },
        },
    })
}

impl<'a> StatusOfVersion<'a> {
    fn new(entry: &'a IndexEntry) -> Option<StatusOfVersion<'a>> {
        let (state, failure) = state(&entry.state);
        let (error_code, error_message) = match failure {
            None => ("OK", ""),
            Some(reason) => ("UNKNOWN", reason),
        };
        Some(StatusOfVersion {
            version: entry.version?.to_string(),
            state,
            status: StatusError {
                error_code,
                error_message,
            },
        })
    }
}

impl Serialize for Tensors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|spec| (&spec.name, Tensor::new(spec))))
    }
}

impl<'a> Tensor<'a> {
    fn new(spec: &'a TensorSpec) -> Tensor<'a> {
        let dim = spec.shape.iter().map(|size| Dim {
            size: size.to_wire().to_string(),
            name: "",
        });
        Tensor {
            dtype: data_type(spec.element_type),
            tensor_shape: TensorShape {
                dim: dim.collect(),
                unknown_rank: false,
            },
            name: &spec.name,
        }
    }
}

#[cfg(test)]
mod tests;
