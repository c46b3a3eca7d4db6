//! Tests of whole bodies through decoder and encoder. The submodules have their own tests.

mod example;
mod identity;
mod predict;

use super::*;
use crate::codec::ResponseEncoder;
use crate::error::ErrorKind;
use crate::fixture::{floats, json, model, pairs, response, spec, strings, tensor, wine};
use wisp_tensor::{ElementType, NamedTensor, TensorSpec};

/// Returns a model of one input and one output, which clients need not name.
fn one_input() -> ModelDescription {
    pairs(vec![spec("y", ElementType::Fp32, &[-1, 3])])
}

fn two_inputs() -> ModelDescription {
    model(wine().signature.inputs, one_input().signature.outputs)
}

fn decode(
    verb: Verb,
    body: &str,
    model: &ModelDescription,
) -> Result<(InferRequest, TfsEncoder), CodecError> {
    TfsDecoder::new(verb).decode(Bytes::copy_from_slice(body.as_bytes()), model)
}

fn encode(
    encoder: &TfsEncoder,
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
