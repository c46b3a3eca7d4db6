//! The simple dialect: rows of numbers in, a prediction for each out.
//!
//! The input is the model's only required one, of whole numbers or of FP32 and FP64; `features`
//! fill it, or a row of it when its first axis counts rows. It does when the model has a
//! `max_batch_size`, or when that axis is variable and not the only one.
//!
//! The answer is read from the outputs in the model's order, by what each holds per row:
//! - `prediction` is the first single BYTES, BOOL or integer element, else the first single FP32 or
//!   FP64 element, else the position of the highest probability;
//! - `probabilities` are the first FP32 or FP64 output with several elements, as the model left
//!   them: no softmax is applied.
//!
//! REST's `/predict` is to have the same rules; where JSON has numbers of any width, messages have
//! singles.
//!
//! Invariant: a row of a batch that is invalid fails alone, and the others make one `InferRequest`.

mod answer;
mod error;
mod request;

pub use answer::{BatchReply, Reply};
pub use error::DecodeError;
pub use request::{decode, decode_batch};

use super::message::prediction::{BatchPredictRequest, HealthCheckResponse};
use super::target::{self, TargetError};
use crate::call::ModelName;

/// The model that `model_name` names; `None` stands for the only model served.
pub fn model(name: &str) -> Result<Option<ModelName>, TargetError> {
    match name {
        "" => Ok(None),
        name => Ok(Some(target::model(name)?)),
    }
}

/// The model of a batch: its own `model_name`, else that of the first row which has one.
pub fn batch_model(message: &BatchPredictRequest) -> Result<Option<ModelName>, TargetError> {
    let rows = message.requests.iter().map(|row| &row.model_name);
    let mut names = std::iter::once(&message.model_name).chain(rows);
    model(
        names
            .find(|name| !name.is_empty())
            .map_or("", String::as_str),
    )
}

/// Whether the server takes inference requests.
pub fn health(ready: bool) -> HealthCheckResponse {
    let status = match ready {
        true => "healthy",
        false => "unhealthy",
    };
    HealthCheckResponse {
        status: status.to_owned(),
    }
}
