//! Decoding of an inference request's message.
//!
//! Parameters that the protocol reserves never reach a handler, as over HTTP. Unknown parameters of
//! tensors are ignored: the kserve client sends `binary_data_size`.

use super::contents;
use super::error::{DecodeError, InputError};
use super::response::ModelInferEncoder;
use crate::call::{InferRequest, ModelDescription, Scheduling};
use crate::classification::TopClasses;
use crate::codec::{CodecError, RequestDecoder};
use crate::grpc::message::inference::infer_parameter::ParameterChoice;
use crate::grpc::message::inference::model_infer_request::{
    InferInputTensor, InferRequestedOutputTensor,
};
use crate::grpc::message::inference::{InferParameter, ModelInferRequest};
use crate::quoted::Quoted;
use crate::v2::limits::{
    MAX_ID_BYTES, MAX_NAME_BYTES, MAX_PARAMETERS, ReservedParameter, schedule,
};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use wisp_tensor::shape::MAX_RANK;
use wisp_tensor::{
    ElementType, NamedTensor, Parameter, ParameterValue, Shape, ShapeError, Tensor, TensorError,
};

/// The decoder of `ModelInfer`. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelInferDecoder;

impl RequestDecoder for ModelInferDecoder {
    type Source = ModelInferRequest;
    type Encoder = ModelInferEncoder;

    fn text_bytes(&self, message: &ModelInferRequest) -> usize {
        match message.raw_input_contents.is_empty() {
            true => message.encoded_len(),
            false => 0,
        }
    }

    /// Counts raw BOOLs, which are copied unless they are 0 and 1. The limits on the message already include
    /// all other tensors.
    fn decoded_bytes(&self, message: &ModelInferRequest) -> usize {
        let inputs = message.inputs.iter().zip(&message.raw_input_contents);
        let bools = inputs.filter(|(input, _)| input.datatype == ElementType::Bool.name());
        let sizes = bools.map(|(_, raw)| raw.len());
        sizes.fold(0, usize::saturating_add)
    }

    fn decode(
        self,
        message: ModelInferRequest,
        model: &ModelDescription,
    ) -> Result<(InferRequest, ModelInferEncoder), CodecError> {
        Ok(decode(message, model)?)
    }
}

/// Decodes a message. The model's name and version are ignored here; `target` parses them.
fn decode(
    message: ModelInferRequest,
    model: &ModelDescription,
) -> Result<(InferRequest, ModelInferEncoder), DecodeError> {
    let ModelInferRequest {
        model_name: _,
        model_version: _,
        id,
        parameters,
        inputs,
        outputs,
        raw_input_contents,
    } = message;
    if id.len() > MAX_ID_BYTES {
        let limit = MAX_ID_BYTES;
        return Err(DecodeError::LongId { limit });
    }
    let (parameters, scheduling) = decode_parameters(parameters)?;
    let inputs = decode_inputs(inputs, raw_input_contents, model)?;
    let (names, classes) = decode_outputs(outputs, model)?;
    let request = InferRequest {
        parameters,
        inputs,
        outputs: names,
        scheduling,
    };
    Ok((request, ModelInferEncoder { id, classes }))
}

/// Returns the id that even an error response repeats; empty if the id is too long.
pub fn echoed_id(message: &ModelInferRequest) -> &str {
    match message.id.len() > MAX_ID_BYTES {
        true => "",
        false => &message.id,
    }
}

/// Returns the client's own parameters, and the effects of the reserved ones.
fn decode_parameters(
    parameters: BTreeMap<String, InferParameter>,
) -> Result<(Vec<Parameter>, Scheduling), DecodeError> {
    let mut own = Vec::new();
    let mut scheduling = Scheduling::default();
    for (name, InferParameter { parameter_choice }) in parameters {
        let reserved = ReservedParameter::from_name(&name);
        // `binary_data_output` applies to JSON; over gRPC, every output is binary.
        if reserved == Some(ReservedParameter::Any) || name == "binary_data_output" {
            continue;
        }
        if name.len() > MAX_NAME_BYTES {
            let limit = MAX_NAME_BYTES;
            return Err(DecodeError::LongParameterName { limit });
        }
        let value = parameter_choice
            .map(parameter_value)
            .ok_or_else(|| DecodeError::NoValue(Quoted::new(&name)))?;
        if let Some(reserved) = reserved {
            if !reserved.takes(&value) {
                let (name, expected) = (Quoted::new(&name), reserved.expected());
                return Err(DecodeError::ReservedParameter { name, expected });
            }
            schedule(&mut scheduling, &name, &value);
            continue;
        }
        if own.len() == MAX_PARAMETERS {
            let limit = MAX_PARAMETERS;
            return Err(DecodeError::TooManyParameters { limit });
        }
        own.push(Parameter { name, value });
    }
    Ok((own, scheduling))
}

fn parameter_value(choice: ParameterChoice) -> ParameterValue {
    match choice {
        ParameterChoice::BoolParam(value) => ParameterValue::Bool(value),
        ParameterChoice::Int64Param(value) => ParameterValue::Int64(value),
        // As over HTTP, equal numbers have the same type in every encoding.
        ParameterChoice::Uint64Param(value) => match i64::try_from(value) {
            Ok(value) => ParameterValue::Int64(value),
            Err(_) => ParameterValue::Uint64(value),
        },
        ParameterChoice::DoubleParam(value) => ParameterValue::Double(value),
        ParameterChoice::StringParam(value) => ParameterValue::String(value),
    }
}

fn decode_inputs(
    inputs: Vec<InferInputTensor>,
    raw: Vec<Bytes>,
    model: &ModelDescription,
) -> Result<Vec<NamedTensor>, DecodeError> {
    let (expected, actual) = (model.signature.inputs.len(), inputs.len());
    if actual > expected {
        return Err(DecodeError::TooManyInputs { expected, actual });
    }
    if !raw.is_empty() && raw.len() != actual {
        return Err(DecodeError::RawCount {
            inputs: actual,
            raw: raw.len(),
        });
    }
    let mut raw = raw.into_iter();
    let mut tensors: Vec<NamedTensor> = Vec::with_capacity(actual);
    for input in inputs {
        if tensors.iter().any(|tensor| tensor.name == input.name) {
            return Err(DecodeError::RepeatedInput(Quoted::new(&input.name)));
        }
        match decode_input(&input, raw.next()) {
            Ok(tensor) => tensors.push(NamedTensor {
                name: input.name,
                tensor,
            }),
            Err(error) => {
                let name = Quoted::new(&input.name);
                return Err(DecodeError::Input { name, error });
            }
        }
    }
    Ok(tensors)
}

fn decode_input(input: &InferInputTensor, raw: Option<Bytes>) -> Result<Tensor, InputError> {
    if input.name.len() > MAX_NAME_BYTES {
        return Err(InputError::LongName {
            limit: MAX_NAME_BYTES,
        });
    }
    if input.parameters.contains_key("shared_memory_region") {
        return Err(InputError::SharedMemory);
    }
    let element_type = ElementType::from_name(&input.datatype)
        .ok_or_else(|| InputError::Datatype(Quoted::new(&input.datatype)))?;
    let shape = decode_shape(&input.shape)?;
    let content = match (raw, &input.contents) {
        (Some(raw), None) => raw,
        // Some clients send an empty message instead of omitting it.
        (Some(raw), Some(typed)) if contents::is_empty(typed) => raw,
        (Some(_), Some(_)) => return Err(InputError::TwoContents),
        (None, Some(typed)) => contents::decode(typed, element_type, &shape)?,
        (None, None) => contents::decode(&Default::default(), element_type, &shape)?,
    };
    Ok(Tensor::new(element_type, shape, content)?)
}

fn decode_shape(sizes: &[i64]) -> Result<Shape, InputError> {
    // Checked before memory is reserved for a list of any length.
    if sizes.len() > MAX_RANK {
        let rank = sizes.len();
        return Err(TensorError::from(ShapeError::Rank { rank }).into());
    }
    let sizes = sizes
        .iter()
        .map(|&size| u32::try_from(size).map_err(|_| InputError::Dimension(size)));
    let shape = Shape::new(sizes.collect::<Result<_, _>>()?);
    Ok(shape.map_err(TensorError::from)?)
}

/// Returns the requested outputs, and the ones to be returned as classes.
fn decode_outputs(
    outputs: Vec<InferRequestedOutputTensor>,
    model: &ModelDescription,
) -> Result<(Vec<String>, Vec<TopClasses>), DecodeError> {
    let (expected, actual) = (model.signature.outputs.len(), outputs.len());
    let mut names: Vec<String> = Vec::with_capacity(actual.min(expected));
    let mut classes = Vec::new();
    for InferRequestedOutputTensor { name, parameters } in outputs {
        // As over HTTP, the first of equal requests counts.
        if names.contains(&name) {
            continue;
        }
        if names.len() == expected {
            return Err(DecodeError::TooManyOutputs { expected, actual });
        }
        if name.len() > MAX_NAME_BYTES {
            let limit = MAX_NAME_BYTES;
            return Err(DecodeError::LongOutputName { limit });
        }
        let count = parameters.get("classification").map(natural);
        // No classes means the output itself, as in Triton.
        if let Some(count) = count.filter(|count| *count != Some(0)) {
            let asked = TopClasses::new(&name, count, model);
            classes.push(asked.map_err(|error| {
                let name = Quoted::new(&name);
                DecodeError::Classification { name, error }
            })?);
        }
        if parameters.contains_key("shared_memory_region") {
            return Err(DecodeError::SharedMemory(Quoted::new(&name)));
        }
        names.push(name);
    }
    Ok((names, classes))
}

/// Returns the value of a parameter that is a non-negative integer.
fn natural(parameter: &InferParameter) -> Option<u64> {
    match parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(value)) => u64::try_from(value).ok(),
        Some(ParameterChoice::Uint64Param(value)) => Some(value),
        _ => None,
    }
}
