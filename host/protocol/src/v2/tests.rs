//! Tests of whole bodies through decoder and encoder. The submodules have their own tests.

mod binary;
mod identity;
mod raw;
mod request;
mod response;
mod scheduling;

use super::{V2Decoder, V2Encoder};
use crate::call::{InferRequest, ModelDescription};
use crate::codec::{CodecError, RequestDecoder, ResponseEncoder};
use crate::error::ErrorKind;
use crate::fixture::{self, spec, tensor};
use bytes::Bytes;
use http::HeaderMap;
use wisp_tensor::{ElementType, NamedTensor, Tensor, TensorSpec};

fn model(inputs: Vec<TensorSpec>, max_batch_size: u32) -> ModelDescription {
    let outputs = vec![
        spec("y", ElementType::Fp32, &[-1, 3]),
        spec("label", ElementType::Bytes, &[-1]),
    ];
    let model = fixture::model(inputs, outputs);
    ModelDescription {
        max_batch_size,
        ..model
    }
}

/// Returns a model of two inputs. The decoder does not check names and types against it.
fn two_inputs() -> ModelDescription {
    model(fixture::wine().signature.inputs, 0)
}

fn decoder(header_length: Option<usize>, accept: &[&str]) -> V2Decoder {
    let mut headers = HeaderMap::new();
    if let Some(length) = header_length {
        headers.insert(super::HEADER_LENGTH, length.into());
    }
    for value in accept {
        headers.append(http::header::ACCEPT, value.parse().unwrap());
    }
    V2Decoder::from_headers(&headers).unwrap()
}

/// Decodes a body that consists of JSON only.
fn decode(json: &str) -> Result<(InferRequest, V2Encoder), CodecError> {
    decoder(None, &[]).decode(Bytes::copy_from_slice(json.as_bytes()), &two_inputs())
}

/// Decodes a body of JSON followed by these bytes.
fn decode_binary(json: &str, rest: &[u8]) -> Result<(InferRequest, V2Encoder), CodecError> {
    let body = Bytes::from([json.as_bytes(), rest].concat());
    decoder(Some(json.len()), &[]).decode(body, &two_inputs())
}

/// Returns the bytes of these numbers as FP32.
fn f32_bytes(numbers: &[f32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// Returns the error message; the error must be an invalid request.
fn error_text(result: Result<(InferRequest, V2Encoder), CodecError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    error.to_string()
}
