//! Rows of the predict API over gRPC. The first byte selects one row or a batch.
//!
//! A batch gets a result for each of its rows, whether or not they were computed.

use super::models::{answer, check_memory, check_refusal, models};
use bytes::Bytes;
use prost::Message;
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::error::HasErrorKind;
use wisp_protocol::grpc::message::prediction::{BatchPredictRequest, PredictRequest};
use wisp_protocol::grpc::predict::{self, PredictBatchDecoder, PredictRowDecoder};

/// Checks one input.
pub fn run(input: &[u8]) {
    let Some((method, bytes)) = input.split_first() else {
        return;
    };
    let body = Bytes::copy_from_slice(bytes);
    for model in models() {
        if method % 2 == 0 {
            let Ok(message) = PredictRequest::decode(body.clone()) else {
                return;
            };
            if let Err(error) = predict::selection(&message) {
                check_refusal(error.kind(), &error.to_string());
            }
            match PredictRowDecoder.decode(message, model) {
                Ok((request, encoder)) => {
                    check_memory(&request, 2 * body.len());
                    if let Err(error) = encoder.encode(answer(&request, model), model) {
                        check_refusal(error.kind(), &error.to_string());
                    }
                }
                Err(error) => check_refusal(error.kind(), &error.to_string()),
            }
        } else {
            let Ok(message) = BatchPredictRequest::decode(body.clone()) else {
                return;
            };
            if let Err(error) = predict::batch_selection(&message) {
                check_refusal(error.kind(), &error.to_string());
            }
            let rows = message.requests.len();
            match PredictBatchDecoder.decode(message, model) {
                Ok((request, encoder)) => {
                    check_memory(&request, 2 * body.len());
                    match encoder.encode(answer(&request, model), model) {
                        Ok(answers) => assert_eq!(answers.responses.len(), rows),
                        Err(error) => check_refusal(error.kind(), &error.to_string()),
                    }
                }
                Err(error) => check_refusal(error.kind(), &error.to_string()),
            }
        }
    }
}
