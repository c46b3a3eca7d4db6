//! Whole bodies through the codec. The parts have tests of their own beside them.

mod example;
mod identity;
mod predict;

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
        model: ModelName::new("m").unwrap(),
        version: Version::from_decimal("7").unwrap(),
        platform: "tract_onnx".to_owned(),
        signature: Signature { inputs, outputs },
        max_batch_size: 32,
        class_labels: Default::default(),
    }
}

/// A model of one input and one output, neither of them named by clients.
fn simple() -> ModelDescription {
    model(
        vec![spec("x", ElementType::Fp32, &[-1, 2])],
        vec![spec("y", ElementType::Fp32, &[-1, 3])],
    )
}

fn two_inputs() -> ModelDescription {
    let inputs = vec![
        spec("x", ElementType::Fp32, &[-1, 2]),
        spec("t", ElementType::Bytes, &[-1]),
    ];
    model(inputs, vec![spec("y", ElementType::Fp32, &[-1, 3])])
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
    assert_eq!(encoded.header_length, None);
    Ok(String::from_utf8(encoded.chunks.concat()).unwrap())
}

/// The text of the refusal, which must be an invalid request.
fn refusal(verb: Verb, json: &str, model: &ModelDescription) -> String {
    let error = decode(verb, json, model).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{json}");
    error.to_string()
}
