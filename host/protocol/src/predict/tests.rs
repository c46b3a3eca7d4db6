//! Tests of whole bodies through decoder and encoder.

mod batch;
mod names;
mod one;

use super::*;
use crate::codec::ResponseEncoder;
use crate::encoded_response::encode_error;
use crate::error::ErrorKind;
use crate::fixture::{floats, integers, json, model, response, spec, strings, tensor};
use wisp_tensor::{ElementType, NamedTensor, TensorSpec};

fn four_numbers() -> Vec<TensorSpec> {
    vec![spec("x", ElementType::Fp32, &[-1, 4])]
}

/// Returns a classifier as exported from scikit-learn.
fn iris() -> ModelDescription {
    let outputs = vec![
        spec("label", ElementType::Int64, &[-1]),
        spec("probabilities", ElementType::Fp32, &[-1, 3]),
    ];
    model(four_numbers(), outputs)
}

fn decode(
    verb: Verb,
    body: &str,
    model: &ModelDescription,
) -> Result<(InferRequest, PredictEncoder), CodecError> {
    PredictDecoder::new(verb).decode(Bytes::copy_from_slice(body.as_bytes()), model)
}

fn encode(
    encoder: &PredictEncoder,
    outputs: Vec<NamedTensor>,
    model: &ModelDescription,
) -> Result<String, CodecError> {
    Ok(json(encoder.clone().encode(response(outputs), model)?))
}

/// Returns the error message; the error must be an invalid request.
fn error_text(verb: Verb, body: &str, model: &ModelDescription) -> String {
    let error = decode(verb, body, model).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{body}");
    error.to_string()
}

#[test]
fn a_ready_server_is_healthy() {
    assert_eq!(health(true), r#"{"status":"healthy"}"#);
    assert_eq!(encode_error("no"), r#"{"error":"no"}"#);
}
