//! The small documents: which models there are, how a model is, what it takes and gives.
//!
//! Where TF Serving and KServe V1 share a path, one object carries the keys of both.

use crate::call::{IndexEntry, ModelDescription, ModelName, VersionState};
use bytes::Bytes;
use serde::Serialize;
use serde::ser::Serializer;
use wisp_tensor::{ElementType, TensorSpec};

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
    status: Failure<'a>,
}

#[derive(Serialize)]
struct Failure<'a> {
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

/// The key that is really there twice.
#[derive(Serialize)]
struct Signatures<T> {
    signature_def: T,
}

/// Its key is [`SIGNATURE_NAME`](super::SIGNATURE_NAME).
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

/// Written as an object of tensors by name.
struct Tensors<'a>(&'a [TensorSpec]);

/// That the server is alive, as KServe V1 asks at the root.
pub fn alive() -> Bytes {
    Bytes::from_static(br#"{"status":"alive"}"#)
}

/// The list of models, as KServe V1 and, below it, OpenAI's clients read it.
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

/// How a model's versions are, and whether any takes requests.
pub fn model_status(model: &ModelName, versions: &[IndexEntry]) -> Bytes {
    document(&Status {
        name: model.as_str(),
        ready: (versions.iter()).any(|version| version.state == VersionState::Ready),
        // A model without any version has nothing that this document could list.
        model_version_status: versions.iter().filter_map(StatusOfVersion::new).collect(),
    })
}

/// What a model takes and gives.
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
        let (state, error_code, error_message) = match &entry.state {
            VersionState::Loading => ("LOADING", "OK", ""),
            VersionState::Ready => ("AVAILABLE", "OK", ""),
            VersionState::Unloading => ("UNLOADING", "OK", ""),
            VersionState::Unloaded => ("END", "OK", ""),
            VersionState::Failed(reason) => ("END", "UNKNOWN", reason.as_str()),
        };
        Some(StatusOfVersion {
            version: entry.version?.to_string(),
            state,
            status: Failure {
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

/// TensorFlow's name of a datatype.
fn data_type(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Bool => "DT_BOOL",
        ElementType::Uint8 => "DT_UINT8",
        ElementType::Uint16 => "DT_UINT16",
        ElementType::Uint32 => "DT_UINT32",
        ElementType::Uint64 => "DT_UINT64",
        ElementType::Int8 => "DT_INT8",
        ElementType::Int16 => "DT_INT16",
        ElementType::Int32 => "DT_INT32",
        ElementType::Int64 => "DT_INT64",
        ElementType::Fp16 => "DT_HALF",
        ElementType::Bf16 => "DT_BFLOAT16",
        ElementType::Fp32 => "DT_FLOAT",
        ElementType::Fp64 => "DT_DOUBLE",
        ElementType::Bytes => "DT_STRING",
    }
}

fn document(value: &impl Serialize) -> Bytes {
    let text = serde_json::to_vec(value).expect("strings, integers and lists have a JSON form");
    Bytes::from(text)
}

#[cfg(test)]
mod tests;
