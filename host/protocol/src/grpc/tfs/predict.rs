//! Tensors in, tensors out: `Predict`.

use super::budget::Budget;
use super::error::{DecodeError, Reason};
use super::{check_signature, model_spec, tensor};
use crate::call::{InferRequest, InferResponse, ModelDescription};
use crate::grpc::message::tensorflow::TensorProto;
use crate::grpc::message::tensorflow::serving::{PredictRequest, PredictResponse};
use crate::quoted::Quoted;
use crate::v2::request::MAX_NAME_BYTES;
use std::collections::BTreeMap;
use wisp_tensor::NamedTensor;

/// Decodes a message into a request, with its inputs sorted by name.
pub fn decode_predict(
    message: PredictRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<InferRequest, DecodeError> {
    let PredictRequest {
        model_spec,
        inputs,
        output_filter,
    } = message;
    check_signature(model_spec.as_ref())?;
    Ok(InferRequest {
        inputs: decode_inputs(inputs, model, limit)?,
        parameters: Vec::new(),
        outputs: decode_outputs(output_filter, model)?,
    })
}

/// Returns the number of bytes of the tensors that are decoded from repeated fields; 0 if it exceeds
/// `limit`, because decoding then refuses the request.
pub(in crate::grpc) fn filled_bytes(message: &PredictRequest, limit: usize) -> usize {
    let sizes = message.inputs.values().map(tensor::filled_bytes);
    let bytes = sizes.fold(0, usize::saturating_add);
    if bytes > limit { 0 } else { bytes }
}

/// Encodes a response. This protocol has no parameters.
pub fn encode_predict(response: InferResponse, model: &ModelDescription) -> PredictResponse {
    let outputs = response.outputs.into_iter();
    PredictResponse {
        model_spec: Some(model_spec(model)),
        outputs: outputs
            .map(|output| (output.name, tensor::encode(output.tensor)))
            .collect(),
    }
}

fn decode_inputs(
    inputs: BTreeMap<String, TensorProto>,
    model: &ModelDescription,
    limit: usize,
) -> Result<Vec<NamedTensor>, Reason> {
    let (expected, actual) = (model.signature.inputs.len(), inputs.len());
    if actual > expected {
        return Err(Reason::TooManyInputs { expected, actual });
    }
    let mut budget = Budget::new(limit);
    let mut tensors = Vec::with_capacity(actual);
    for (name, proto) in inputs {
        check_name(&name)?;
        match tensor::decode(proto, &mut budget) {
            Ok(tensor) => tensors.push(NamedTensor { name, tensor }),
            Err(error) => {
                let name = Quoted::new(&name);
                return Err(Reason::Input { name, error });
            }
        }
    }
    Ok(tensors)
}

fn decode_outputs(filter: Vec<String>, model: &ModelDescription) -> Result<Vec<String>, Reason> {
    let (expected, actual) = (model.signature.outputs.len(), filter.len());
    if actual > expected {
        return Err(Reason::TooManyOutputs { expected, actual });
    }
    for (position, name) in filter.iter().enumerate() {
        check_name(name)?;
        if filter[..position].contains(name) {
            return Err(Reason::RepeatedOutput(Quoted::new(name)));
        }
    }
    Ok(filter)
}

fn check_name(name: &str) -> Result<(), Reason> {
    match name.len() > MAX_NAME_BYTES {
        true => Err(Reason::LongName {
            limit: MAX_NAME_BYTES,
        }),
        false => Ok(()),
    }
}
