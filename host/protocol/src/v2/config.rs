//! A model's configuration in Triton's words, as far as its description knows it.
//!
//! What is not known here (instances, batching, versions kept) is left out instead of guessed. The
//! same over gRPC is `grpc::v2::model_config`.

use super::metadata::document;
use crate::call::ModelDescription;
use bytes::Bytes;
use serde::Serialize;
use wisp_tensor::{ElementType, TensorSpec};

#[derive(Serialize)]
struct Config<'a> {
    name: &'a str,
    platform: &'a str,
    backend: &'a str,
    max_batch_size: u32,
    input: Vec<Tensor<'a>>,
    output: Vec<Tensor<'a>>,
}

#[derive(Serialize)]
struct Tensor<'a> {
    name: &'a str,
    data_type: String,
    dims: Vec<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

/// The configuration of a model. As in Triton, shapes exclude the batch axis that a model with a
/// `max_batch_size` has.
pub fn model_config(model: &ModelDescription) -> Bytes {
    let signature = &model.signature;
    document(&Config {
        name: model.model.as_str(),
        platform: &model.platform,
        backend: model.platform.split('_').next().unwrap_or_default(),
        max_batch_size: model.max_batch_size,
        input: signature
            .inputs
            .iter()
            .map(|spec| tensor(spec, model))
            .collect(),
        output: signature
            .outputs
            .iter()
            .map(|spec| tensor(spec, model))
            .collect(),
    })
}

fn tensor<'a>(spec: &'a TensorSpec, model: &ModelDescription) -> Tensor<'a> {
    let batch_axes = usize::from(model.max_batch_size > 0);
    let dims = spec.shape.iter().skip(batch_axes);
    Tensor {
        name: &spec.name,
        data_type: match spec.element_type {
            ElementType::Bytes => "TYPE_STRING".to_owned(),
            other => format!("TYPE_{}", other.name()),
        },
        dims: dims.map(|size| size.to_wire()).collect(),
        optional: spec.optional,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{ModelName, Version};
    use wisp_tensor::{Dimension, Signature};

    #[test]
    fn shapes_lack_the_batch_axis_and_types_have_tritons_names() {
        let spec = |name: &str, element_type, shape: &[i64], optional| TensorSpec {
            name: name.to_owned(),
            element_type,
            shape: (shape.iter())
                .map(|&size| Dimension::from_wire(size).unwrap())
                .collect(),
            optional,
        };
        let model = ModelDescription {
            model: ModelName::new("m").unwrap(),
            version: Version::FIRST,
            platform: "tract_onnx".to_owned(),
            signature: Signature {
                inputs: vec![spec("x", ElementType::Fp32, &[-1, 2], false)],
                outputs: vec![spec("y", ElementType::Bytes, &[-1], true)],
            },
            max_batch_size: 8,
            class_labels: Default::default(),
        };
        assert_eq!(
            model_config(&model),
            concat!(
                r#"{"name":"m","platform":"tract_onnx","backend":"tract","max_batch_size":8,"#,
                r#""input":[{"name":"x","data_type":"TYPE_FP32","dims":[2]}],"#,
                r#""output":[{"name":"y","data_type":"TYPE_STRING","dims":[],"optional":true}]}"#,
            )
        );
    }
}
