//! Tensors in, tensors out: `Predict`.

use super::budget::Budget;
use super::error::DecodeError;
use super::model_spec::{check_signature, model_spec};
use super::tensor;
use crate::call::{InferRequest, InferResponse, ModelDescription, Scheduling};
use crate::codec::{CodecError, RequestDecoder, ResponseEncoder};
use crate::grpc::message::tensorflow::TensorProto;
use crate::grpc::message::tensorflow::serving::{PredictRequest, PredictResponse};
use crate::grpc::message_size;
use crate::quoted::Quoted;
use crate::v2::limits::MAX_NAME_BYTES;
use prost::Message;
use std::collections::BTreeMap;
use wisp_tensor::NamedTensor;

/// The decoder of `Predict`. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TfsPredictDecoder {
    /// The number of bytes that the message's repeated fields may be widened to.
    pub limit: usize,
}

/// The encoder for the response to `Predict`. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TfsPredictEncoder;

impl RequestDecoder for TfsPredictDecoder {
    type Source = PredictRequest;
    type Encoder = TfsPredictEncoder;

    fn text_bytes(&self, message: &PredictRequest) -> usize {
        let inputs = message.inputs.values();
        inputs.map(list_bytes).fold(0, usize::saturating_add)
    }

    /// Counts what the size of the message does not include: lists that are filled up to their tensor's
    /// shape, unless they exceed the limit, because decoding then rejects the request; and BOOLs that may
    /// be copied.
    fn decoded_bytes(&self, message: &PredictRequest) -> usize {
        let total = |bytes: fn(&TensorProto) -> usize| {
            let sizes = message.inputs.values().map(bytes);
            sizes.fold(0, usize::saturating_add)
        };
        match total(tensor::filled_bytes) {
            filled if filled > self.limit => 0,
            filled => filled.saturating_add(total(tensor::copied_bytes)),
        }
    }

    /// Decodes a message into a request, with its inputs sorted by name.
    fn decode(
        self,
        message: PredictRequest,
        model: &ModelDescription,
    ) -> Result<(InferRequest, TfsPredictEncoder), CodecError> {
        let PredictRequest {
            model_spec,
            inputs,
            output_filter,
        } = message;
        check_signature(model_spec.as_ref())?;
        let request = InferRequest {
            inputs: decode_inputs(inputs, model, self.limit)?,
            parameters: Vec::new(),
            outputs: decode_outputs(output_filter, model)?,
            scheduling: Scheduling::default(),
        };
        Ok((request, TfsPredictEncoder))
    }
}

impl ResponseEncoder for TfsPredictEncoder {
    type Encoded = PredictResponse;

    fn text_bytes(&self, _: &InferResponse) -> usize {
        0
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        message_size::tensor_message_bytes(response)
    }

    /// Encodes a response. This protocol has no parameters.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<PredictResponse, CodecError> {
        let outputs = response.outputs.into_iter();
        Ok(PredictResponse {
            model_spec: Some(model_spec(model)),
            outputs: outputs
                .map(|output| (output.name, tensor::encode(output.tensor)))
                .collect(),
        })
    }
}

/// Returns the approximate number of bytes in a tensor's repeated fields, not counting `tensor_content`.
fn list_bytes(tensor: &TensorProto) -> usize {
    let bytes = tensor.encoded_len();
    bytes.saturating_sub(tensor.tensor_content.len())
}

fn decode_inputs(
    inputs: BTreeMap<String, TensorProto>,
    model: &ModelDescription,
    limit: usize,
) -> Result<Vec<NamedTensor>, DecodeError> {
    let (expected, actual) = (model.signature.inputs.len(), inputs.len());
    if actual > expected {
        return Err(DecodeError::TooManyInputs { expected, actual });
    }
    let mut budget = Budget::new(limit);
    let mut tensors = Vec::with_capacity(actual);
    for (name, proto) in inputs {
        check_name(&name)?;
        match tensor::decode(proto, &mut budget) {
            Ok(tensor) => tensors.push(NamedTensor { name, tensor }),
            Err(error) => {
                let name = Quoted::new(&name);
                return Err(DecodeError::Input { name, error });
            }
        }
    }
    Ok(tensors)
}

fn decode_outputs(
    filter: Vec<String>,
    model: &ModelDescription,
) -> Result<Vec<String>, DecodeError> {
    let (expected, actual) = (model.signature.outputs.len(), filter.len());
    if actual > expected {
        return Err(DecodeError::TooManyOutputs { expected, actual });
    }
    for (position, name) in filter.iter().enumerate() {
        check_name(name)?;
        if filter[..position].contains(name) {
            return Err(DecodeError::RepeatedOutput(Quoted::new(name)));
        }
    }
    Ok(filter)
}

fn check_name(name: &str) -> Result<(), DecodeError> {
    match name.len() > MAX_NAME_BYTES {
        true => Err(DecodeError::LongName {
            limit: MAX_NAME_BYTES,
        }),
        false => Ok(()),
    }
}
