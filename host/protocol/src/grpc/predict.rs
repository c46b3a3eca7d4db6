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
mod selection;

pub(super) use request::MAX_ROWS;
pub use request::{PredictBatchDecoder, PredictRowDecoder};
pub use response::{PredictBatchEncoder, PredictRowEncoder};
pub use selection::{batch_selection, selection};

use super::message::prediction::HealthCheckResponse;

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
