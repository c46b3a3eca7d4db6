//! Messages of V2 over gRPC, and the round trip.
//!
//! A decoded request can be encoded, serialized and decoded again. The size of tensors is proportional
//! to the message, and raw contents share its memory.

use super::models::{check_memory, check_refusal, echo, models};
use bytes::Bytes;
use prost::Message;
use wisp_protocol::call::{InferRequest, ModelDescription};
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::error::HasErrorKind;
use wisp_protocol::grpc::message::inference::model_infer_request::InferInputTensor;
use wisp_protocol::grpc::message::inference::{
    ModelInferRequest, ModelInferResponse, RepositoryIndexRequest, RepositoryModelLoadRequest,
    RepositoryModelUnloadRequest,
};
use wisp_protocol::grpc::v2::{self, ModelInferDecoder};

/// Checks one input.
pub fn run(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    if let Ok(message) = ModelInferRequest::decode(body.clone()) {
        if let Err(error) = v2::target(&message.model_name, &message.model_version) {
            check_refusal(error.kind(), &error.to_string());
        }
        for model in models() {
            match ModelInferDecoder.decode(message.clone(), model) {
                Ok((request, encoder)) => {
                    // The shortest integer of a list takes one byte in the message and eight in a
                    // tensor.
                    check_memory(&request, 8 * body.len());
                    check_place(&message, &body, &request);
                    let _ = encoder.encode(echo(&request), model);
                    check_identity(&request, model);
                }
                Err(error) => check_refusal(error.kind(), &error.to_string()),
            }
        }
    }
    if let Ok(message) = RepositoryModelLoadRequest::decode(body.clone())
        && let Err(error) = v2::load_model(&message)
    {
        check_refusal(error.kind(), &error.to_string());
    }
    if let Ok(message) = RepositoryModelUnloadRequest::decode(body.clone())
        && let Err(error) = v2::unload_model(&message)
    {
        check_refusal(error.kind(), &error.to_string());
    }
    if let Ok(message) = RepositoryIndexRequest::decode(body)
        && let Err(error) = v2::decode_index(&message)
    {
        check_refusal(error.kind(), &error.to_string());
    }
}

fn check_place(message: &ModelInferRequest, body: &Bytes, request: &InferRequest) {
    if message.raw_input_contents.is_empty() {
        return;
    }
    let range = body.as_ptr_range();
    for input in &request.inputs {
        let content = input.tensor.content();
        assert!(
            content.is_empty() || range.contains(&content.as_ptr()),
            "{} was copied",
            input.name
        );
    }
}

/// Checks that a response decodes to the original tensors. It is encoded as for a request without
/// parameters, since classes are different from their output.
fn check_identity(request: &InferRequest, model: &ModelDescription) {
    let plain = ModelInferRequest::default();
    let (_, encoder) = ModelInferDecoder
        .decode(plain, model)
        .expect("nothing in it is wrong");
    let answer = encoder.encode(echo(request), model);
    let answer = answer.expect("it has no classes").encode_to_vec();
    let answer = ModelInferResponse::decode(Bytes::from(answer)).expect("it was just written");
    // The outputs of a response have the fields of a request's inputs.
    let inputs = answer.outputs.into_iter().map(|output| InferInputTensor {
        name: output.name,
        datatype: output.datatype,
        shape: output.shape,
        ..InferInputTensor::default()
    });
    let again = ModelInferRequest {
        id: answer.id,
        inputs: inputs.collect(),
        raw_input_contents: answer.raw_output_contents,
        ..ModelInferRequest::default()
    };
    let (again, _) = ModelInferDecoder
        .decode(again, model)
        .expect("it was read before");
    assert_eq!(again.inputs, request.inputs);
}
