//! Whole bodies through the codec.

mod batch;
mod one;

use super::*;
use crate::call::{InferResponse, ModelName, Version};
use crate::error::ErrorKind;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorSpec};

fn spec(name: &str, element_type: ElementType, shape: &[i64]) -> TensorSpec {
    let sizes = shape.iter().map(|&size| Dimension::from_wire(size));
    TensorSpec {
        name: name.to_owned(),
        element_type,
        shape: sizes.collect::<Option<_>>().unwrap(),
        optional: false,
    }
}

fn model(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> ModelDescription {
    ModelDescription {
        model: ModelName::new("iris").unwrap(),
        version: Version::from_decimal("7").unwrap(),
        platform: "tract_onnx".to_owned(),
        signature: Signature { inputs, outputs },
        max_batch_size: 32,
        class_labels: Default::default(),
    }
}

fn four_numbers() -> Vec<TensorSpec> {
    vec![spec("x", ElementType::Fp32, &[-1, 4])]
}

/// A classifier as scikit-learn exports it.
fn iris() -> ModelDescription {
    let outputs = vec![
        spec("label", ElementType::Int64, &[-1]),
        spec("probabilities", ElementType::Fp32, &[-1, 3]),
    ];
    model(four_numbers(), outputs)
}

fn decode(
    verb: Verb,
    json: &str,
    model: &ModelDescription,
) -> Result<(InferRequest, Reply), DecodeError> {
    Codec::new(verb).decode(Bytes::copy_from_slice(json.as_bytes()), model)
}

fn tensor(
    name: &str,
    element_type: ElementType,
    dimensions: &[u32],
    content: &[u8],
) -> NamedTensor {
    let shape = Shape::new(dimensions.to_vec()).unwrap();
    let content = Bytes::copy_from_slice(content);
    NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::new(element_type, shape, content).unwrap(),
    }
}

fn floats(name: &str, dimensions: &[u32], numbers: &[f32]) -> NamedTensor {
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    tensor(name, ElementType::Fp32, dimensions, &content)
}

fn integers(name: &str, dimensions: &[u32], numbers: &[i64]) -> NamedTensor {
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    tensor(name, ElementType::Int64, dimensions, &content)
}

fn texts(name: &str, dimensions: &[u32], elements: &[&str]) -> NamedTensor {
    let elements = elements.iter().map(|text| text.as_bytes());
    let content = Tensor::from_elements(elements).unwrap().into_content();
    tensor(name, ElementType::Bytes, dimensions, &content)
}

fn encode(
    reply: &Reply,
    outputs: Vec<NamedTensor>,
    model: &ModelDescription,
) -> Result<String, EncodeError> {
    let response = InferResponse {
        outputs,
        parameters: Vec::new(),
    };
    let encoded = reply.encode(response, model)?;
    assert_eq!(encoded.content_type, "application/json");
    Ok(String::from_utf8(encoded.chunks.concat()).unwrap())
}

/// The text of the refusal, which must be an invalid request.
fn refusal(verb: Verb, json: &str, model: &ModelDescription) -> String {
    let error = decode(verb, json, model).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{json}");
    error.to_string()
}

#[test]
fn a_process_that_answers_is_healthy() {
    assert_eq!(health(true), r#"{"status":"healthy"}"#);
    assert_eq!(encode_error("no"), r#"{"error":"no"}"#);
}
