//! The measurement of messages before they are decoded. The first byte selects the message.
//!
//! A message that is measured as whole takes at most the limit, and decoding it does not panic.

use super::models::check_refusal;
use bytes::Bytes;
use prost::{Message, Name};
use wisp_protocol::error::HasErrorKind;
use wisp_protocol::grpc::limits::{Measured, measure};
use wisp_protocol::grpc::message::inference::{ModelInferRequest, RepositoryModelLoadRequest};
use wisp_protocol::grpc::message::prediction::BatchPredictRequest;
use wisp_protocol::grpc::message::tensorflow::serving::{ClassificationRequest, PredictRequest};

/// The most bytes that a decoded message may take.
const LIMIT: usize = 1 << 20;

/// The most work of one measurement.
const EFFORT: usize = 1 << 24;

/// Checks one input.
pub fn run(input: &[u8]) {
    let Some((kind, message)) = input.split_first() else {
        return;
    };
    match kind % 5 {
        0 => check::<ModelInferRequest>(message),
        1 => check::<RepositoryModelLoadRequest>(message),
        2 => check::<PredictRequest>(message),
        3 => check::<ClassificationRequest>(message),
        _ => check::<BatchPredictRequest>(message),
    }
}

fn check<M: Message + Name + Default>(message: &[u8]) {
    match measure::<M>(message, LIMIT, EFFORT) {
        Ok(Measured::Whole(bytes)) => {
            assert!(bytes <= LIMIT, "{bytes} bytes");
            // The decoder is stricter: it checks what the measurement skips.
            let _ = M::decode(Bytes::copy_from_slice(message));
        }
        Ok(Measured::TooLong) => {}
        Err(error) => check_refusal(error.kind(), &error.to_string()),
    }
}
