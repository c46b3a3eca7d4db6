//! The configuration of a model in Triton's format, from the fields of its description.
//!
//! Instances, batching and the version policy are not in the description and are left out. This module
//! writes JSON; `grpc::v2::model_config` writes the message.

use crate::call::ModelDescription;
use crate::encoded_response::document;
use bytes::Bytes;
use serde::Serialize;
use wisp_tensor::{ElementType, TensorSpec};

/// The configuration of a model, with Triton's member names.
#[derive(Serialize)]
pub(crate) struct Config<'a> {
    pub(crate) name: &'a str,
    pub(crate) platform: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) max_batch_size: u32,
    pub(crate) input: Vec<Tensor<'a>>,
    pub(crate) output: Vec<Tensor<'a>>,
}

#[derive(Serialize)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) data_type: &'static str,
    pub(crate) dims: Vec<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) optional: bool,
}

/// Returns the configuration of a model as JSON.
pub fn model_config(model: &ModelDescription) -> Bytes {
    document(&Config::new(model))
}

impl<'a> Config<'a> {
    pub(crate) fn new(model: &'a ModelDescription) -> Config<'a> {
        let tensors = |specs: &'a [TensorSpec]| {
            let tensors = specs.iter().map(|spec| Tensor::new(spec, model));
            tensors.collect()
        };
        Config {
            name: model.model.as_str(),
            platform: &model.platform,
            backend: model.platform.split('_').next().unwrap_or_default(),
            max_batch_size: model.max_batch_size,
            input: tensors(&model.signature.inputs),
            output: tensors(&model.signature.outputs),
        }
    }
}

impl<'a> Tensor<'a> {
    /// Returns the configuration of an input or output. As in Triton, its shape excludes the batch axis
    /// of a model with a `max_batch_size` above 0.
    fn new(spec: &'a TensorSpec, model: &ModelDescription) -> Tensor<'a> {
        let batch_axes = usize::from(model.max_batch_size > 0);
        let dims = spec.shape.iter().skip(batch_axes);
        Tensor {
            name: &spec.name,
            data_type: data_type(spec.element_type),
            dims: dims.map(|size| size.to_wire()).collect(),
            optional: spec.optional,
        }
    }
}

/// Returns the name of an element type in a model configuration.
fn data_type(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Bool => "TYPE_BOOL",
        ElementType::Uint8 => "TYPE_UINT8",
        ElementType::Uint16 => "TYPE_UINT16",
        ElementType::Uint32 => "TYPE_UINT32",
        ElementType::Uint64 => "TYPE_UINT64",
        ElementType::Int8 => "TYPE_INT8",
        ElementType::Int16 => "TYPE_INT16",
        ElementType::Int32 => "TYPE_INT32",
        ElementType::Int64 => "TYPE_INT64",
        ElementType::Fp16 => "TYPE_FP16",
        ElementType::Bf16 => "TYPE_BF16",
        ElementType::Fp32 => "TYPE_FP32",
        ElementType::Fp64 => "TYPE_FP64",
        ElementType::Bytes => "TYPE_STRING",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{model, spec};

    #[test]
    fn shapes_lack_the_batch_axis_and_types_have_tritons_names() {
        let output = TensorSpec {
            optional: true,
            ..spec("y", ElementType::Bytes, &[-1])
        };
        let model = model(vec![spec("x", ElementType::Fp32, &[-1, 2])], vec![output]);
        assert_eq!(
            model_config(&model),
            concat!(
                r#"{"name":"wine","platform":"tract_onnx","backend":"tract","max_batch_size":8,"#,
                r#""input":[{"name":"x","data_type":"TYPE_FP32","dims":[2]}],"#,
                r#""output":[{"name":"y","data_type":"TYPE_STRING","dims":[],"optional":true}]}"#,
            )
        );
    }
}
