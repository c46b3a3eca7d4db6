//! Encoding of an inference's response.
//!
//! Outputs are sent in `raw_output_contents` whatever the format of the request, as in Triton: the bytes
//! that the model or handler produced, uncopied, for every datatype.

use crate::call::{InferResponse, ModelDescription};
use crate::classification::{self, TopClasses};
use crate::codec::{CodecError, ResponseEncoder};
use crate::grpc::message::inference::infer_parameter::ParameterChoice;
use crate::grpc::message::inference::model_infer_response::InferOutputTensor;
use crate::grpc::message::inference::{
    InferParameter, ModelInferResponse, ModelStreamInferResponse,
};
use std::collections::BTreeMap;
use wisp_tensor::{NamedTensor, Parameter, ParameterValue};

/// The encoder for the response to `ModelInfer`. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInferEncoder {
    /// The request's id; empty if the client sent none.
    pub(super) id: String,
    /// The outputs to be returned as classes.
    pub(super) classes: Vec<TopClasses>,
}

impl ResponseEncoder for ModelInferEncoder {
    type Encoded = ModelInferResponse;

    /// Returns the approximate number of bytes of the classes; tensors are not copied.
    fn text_bytes(&self, response: &InferResponse) -> usize {
        classification::text_bytes(&self.classes, response)
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        response.content_bytes()
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<ModelInferResponse, CodecError> {
        let response = classification::classify(&self.classes, response, model)?;
        let mut outputs = Vec::with_capacity(response.outputs.len());
        let mut raw_output_contents = Vec::with_capacity(response.outputs.len());
        for NamedTensor { name, tensor } in response.outputs {
            let sizes = tensor.shape().dimensions().iter();
            outputs.push(InferOutputTensor {
                name,
                datatype: tensor.element_type().name().to_owned(),
                shape: sizes.map(|&size| i64::from(size)).collect(),
                parameters: BTreeMap::new(),
                contents: None,
            });
            raw_output_contents.push(tensor.into_content());
        }
        Ok(ModelInferResponse {
            model_name: model.model.to_string(),
            model_version: model.version.to_string(),
            id: self.id,
            parameters: encode_parameters(response.parameters),
            outputs,
            raw_output_contents,
        })
    }
}

/// Wraps a response as an element of a stream. As in Triton, it is marked as the final response to its
/// request: clients that support several responses per request wait for the mark.
pub fn stream_response(mut response: ModelInferResponse) -> ModelStreamInferResponse {
    let is_last = InferParameter {
        parameter_choice: Some(ParameterChoice::BoolParam(true)),
    };
    let name = "triton_final_response".to_owned();
    response.parameters.insert(name, is_last);
    ModelStreamInferResponse {
        error_message: String::new(),
        infer_response: Some(response),
    }
}

/// Wraps an error as an element of a stream, which stays open. As in Triton, the id identifies the
/// request that failed.
pub fn stream_error(id: &str, message: &str) -> ModelStreamInferResponse {
    ModelStreamInferResponse {
        error_message: message.to_owned(),
        infer_response: Some(ModelInferResponse {
            id: id.to_owned(),
            ..ModelInferResponse::default()
        }),
    }
}

fn encode_parameters(parameters: Vec<Parameter>) -> BTreeMap<String, InferParameter> {
    let encode = |Parameter { name, value }| {
        let choice = match value {
            ParameterValue::Bool(value) => ParameterChoice::BoolParam(value),
            ParameterValue::Int64(value) => ParameterChoice::Int64Param(value),
            ParameterValue::Uint64(value) => ParameterChoice::Uint64Param(value),
            ParameterValue::Double(value) => ParameterChoice::DoubleParam(value),
            ParameterValue::String(value) => ParameterChoice::StringParam(value),
        };
        let parameter_choice = Some(choice);
        (name, InferParameter { parameter_choice })
    };
    parameters.into_iter().map(encode).collect()
}
