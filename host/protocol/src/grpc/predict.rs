//! The simple dialect: rows of numbers in, a prediction for each out.
//!
//! The input is the model's only required one, of whole numbers or of FP32 and FP64; `features`
//! fill it, or a row of it when the model has a `max_batch_size`. What is the prediction and what the
//! probabilities is said by `predict::outcome`, as for REST's `/predict`; where JSON has numbers of any
//! width, messages have singles, and where it has `null`, no `prediction`.
//!
//! Invariant: a row of a batch that is invalid fails alone, and the others make one `InferRequest`.

mod answer;
mod error;
mod request;

pub use answer::{BatchReply, Reply};
pub use error::DecodeError;
pub(super) use request::MAX_ROWS;
pub use request::{decode, decode_batch};

use super::TargetError;
use super::message::prediction::{BatchPredictRequest, HealthCheckResponse};
use crate::call::ModelName;
use crate::target;

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
