//! Messages of TensorFlow Serving: tensors, examples, multiple tasks. The first byte selects the method.
//!
//! In addition to the message's own memory, at most the budget is taken, whatever a shape declares.
//! Decoded tensors can be encoded, serialized and decoded again.

use super::models::{answer, check_memory, check_refusal, echo, models};
use bytes::Bytes;
use prost::Message;
use wisp_protocol::call::ModelDescription;
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::error::HasErrorKind;
use wisp_protocol::grpc::message::tensorflow::serving::{
    ClassificationRequest, MultiInferenceRequest, PredictRequest, PredictResponse,
    RegressionRequest,
};
use wisp_protocol::grpc::tfs::{
    self, ClassifyDecoder, MultiInferenceDecoder, RegressDecoder, TfsPredictDecoder,
    TfsPredictEncoder,
};

/// The limit in bytes to which lists may be widened, repeated or copied.
const BUDGET: usize = 1 << 16;

/// Checks one input.
pub fn run(input: &[u8]) {
    let Some((method, bytes)) = input.split_first() else {
        return;
    };
    let body = Bytes::copy_from_slice(bytes);
    for model in models() {
        match method % 4 {
            0 => predict(&body, model),
            1 => {
                let Ok(message) = ClassificationRequest::decode(body.clone()) else {
                    return;
                };
                check(ClassifyDecoder { limit: BUDGET }, message, &body, model);
            }
            2 => {
                let Ok(message) = RegressionRequest::decode(body.clone()) else {
                    return;
                };
                check(RegressDecoder { limit: BUDGET }, message, &body, model);
            }
            _ => {
                let Ok(message) = MultiInferenceRequest::decode(body.clone()) else {
                    return;
                };
                if let Err(error) = tfs::multi_target(&message) {
                    check_refusal(error.kind(), &error.to_string());
                }
                check(
                    MultiInferenceDecoder { limit: BUDGET },
                    message,
                    &body,
                    model,
                );
            }
        }
    }
}

fn check<D: RequestDecoder>(
    decoder: D,
    message: D::Source,
    body: &Bytes,
    model: &ModelDescription,
) {
    match decoder.decode(message, model) {
        Ok((request, encoder)) => {
            check_memory(&request, BUDGET + body.len());
            if let Err(error) = encoder.encode(answer(&request, model), model) {
                check_refusal(error.kind(), &error.to_string());
            }
        }
        Err(error) => check_refusal(error.kind(), &error.to_string()),
    }
}

fn predict(body: &Bytes, model: &ModelDescription) {
    let Ok(message) = PredictRequest::decode(body.clone()) else {
        return;
    };
    if let Err(error) = tfs::target(message.model_spec.as_ref()) {
        check_refusal(error.kind(), &error.to_string());
    }
    match (TfsPredictDecoder { limit: BUDGET }).decode(message, model) {
        Ok((request, _)) => {
            check_memory(&request, BUDGET + body.len());
            let answer = TfsPredictEncoder.encode(echo(&request), model);
            let answer = answer.expect("every tensor has a form").encode_to_vec();
            let answer = PredictResponse::decode(Bytes::from(answer)).expect("it was just written");
            let again = PredictRequest {
                inputs: answer.outputs,
                ..PredictRequest::default()
            };
            let decoder = TfsPredictDecoder { limit: usize::MAX };
            let (again, _) = decoder.decode(again, model).expect("it was read before");
            assert_eq!(again.inputs, request.inputs);
        }
        Err(error) => check_refusal(error.kind(), &error.to_string()),
    }
}
