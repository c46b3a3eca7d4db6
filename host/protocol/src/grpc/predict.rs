//! The predict API: rows of numbers in, one prediction per row out.
//!
//! The input is the model's only required one, with integer, FP32 or FP64 elements. `features` fill the
//! whole input, or one row of it if the model has a `max_batch_size`. `predict::mapping` selects the
//! prediction and the probabilities, as for `/predict` over REST. Numbers in messages are f32, and where
//! JSON has `null`, the message has no `prediction`.
//!
//! Invariant: an invalid row of a batch fails alone, and the other rows form one `InferRequest`.

mod error;
mod request;
mod response;

pub(super) use request::MAX_ROWS;
pub use request::{PredictBatchDecoder, PredictRowDecoder};
pub use response::{PredictBatchEncoder, PredictRowEncoder};

use super::message::prediction::{BatchPredictRequest, HealthCheckResponse};
use super::target::TargetError;
use crate::call::ModelName;
use crate::target;

/// Parses the model's name; `None` stands for the only model served.
pub fn model(name: &str) -> Result<Option<ModelName>, TargetError> {
    match name {
        "" => Ok(None),
        name => Ok(Some(target::model(name)?)),
    }
}

/// Returns the model of a batch: its own `model_name`, or else that of the first row that has one.
pub fn batch_model(message: &BatchPredictRequest) -> Result<Option<ModelName>, TargetError> {
    let rows = message.requests.iter().map(|row| &row.model_name);
    let mut names = std::iter::once(&message.model_name).chain(rows);
    model(
        names
            .find(|name| !name.is_empty())
            .map_or("", String::as_str),
    )
}

/// Returns the health response for a server that is or is not ready for inference requests.
pub fn health(ready: bool) -> HealthCheckResponse {
    let status = match ready {
        true => "healthy",
        false => "unhealthy",
    };
    HealthCheckResponse {
        status: status.to_owned(),
    }
}
