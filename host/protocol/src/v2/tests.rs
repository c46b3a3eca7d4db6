//! Whole bodies through the codec. The parts have tests of their own beside them.

mod binary;
mod identity;
mod raw;
mod reply;
mod request;

use super::{Codec, DecodeError, Reply};
use crate::call::{InferRequest, ModelDescription, ModelName, Version};
use crate::error::ErrorKind;
use bytes::Bytes;
use http::HeaderMap;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorSpec};

fn spec(name: &str, element_type: ElementType, shape: &[i64]) -> TensorSpec {
    let shape = shape
        .iter()
        .map(|&size| Dimension::from_wire(size).unwrap());
    TensorSpec {
        name: name.to_owned(),
        element_type,
        shape: shape.collect(),
        optional: false,
    }
}

fn model(inputs: Vec<TensorSpec>, max_batch_size: u32) -> ModelDescription {
    ModelDescription {
        model: ModelName::new("wine").unwrap(),
        version: Version::from_decimal("7").unwrap(),
        platform: "tract_onnx".to_owned(),
        signature: Signature {
            inputs,
            outputs: vec![
                spec("y", ElementType::Fp32, &[-1, 3]),
                spec("label", ElementType::Bytes, &[-1]),
            ],
        },
        max_batch_size,
        class_labels: Default::default(),
    }
}

/// A model of two inputs; which names and types requests give them is checked elsewhere.
fn two_inputs() -> ModelDescription {
    let inputs = vec![
        spec("x", ElementType::Fp32, &[-1, 2]),
        spec("t", ElementType::Bytes, &[-1]),
    ];
    model(inputs, 0)
}

fn codec(header_length: Option<usize>, accept: &[&str]) -> Codec {
    let mut headers = HeaderMap::new();
    if let Some(length) = header_length {
        headers.insert(super::HEADER_LENGTH, length.into());
    }
    for value in accept {
        headers.append(http::header::ACCEPT, value.parse().unwrap());
    }
    Codec::from_headers(&headers).unwrap()
}

/// Decodes a body that is JSON throughout.
fn decode(json: &str) -> Result<(InferRequest, Reply), DecodeError> {
    codec(None, &[]).decode(Bytes::copy_from_slice(json.as_bytes()), &two_inputs())
}

/// Decodes JSON with these bytes behind it.
fn decode_binary(json: &str, rest: &[u8]) -> Result<(InferRequest, Reply), DecodeError> {
    let body = Bytes::from([json.as_bytes(), rest].concat());
    codec(Some(json.len()), &[]).decode(body, &two_inputs())
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

/// The bytes of these numbers as FP32.
fn singles(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// The text of the refusal, which must be an invalid request.
fn refusal(result: Result<(InferRequest, Reply), DecodeError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    error.to_string()
}
