//! The simple dialect, for people with curl: `features` in, a prediction out.
//!
//! `POST /predict/{model}` takes `{"features": ...}` and answers `{"prediction": ...,
//! "probabilities": [...], "model_version": "7"}`, the probabilities only where the model gives
//! them. `POST /batch_predict/{model}` takes `{"features": [row, ...]}`, `[{"features": row}, ...]`
//! or `{"instances": [{"features": row}, ...]}` and answers `{"predictions": [...],
//! "model_version": "7"}` with an object for each row, in their order. `GET /health` answers
//! `{"status": "healthy"}`.
//!
//! `features` is a value for the only input of the model, or for the only one of numbers, or an
//! object with a value for each input by name. Values lack the batch axis; they nest as the shape
//! says, or stand in one flat list where the shape is clear, or bare where there is but one.
//!
//! A batch is one inference. A row that is wrong (its length, not numbers) fails alone: its object
//! is `{"error": "..."}` and the others are computed. If no row is right, or the text is not JSON,
//! the request fails. Batches take a model with a batch axis.
//!
//! `outcome` says what is the prediction and what the probabilities, over gRPC as here; numbers are as in TF Serving,
//! a bare `NaN` included: a `null` would hide which value it was.

mod error;
pub(crate) mod outcome;
mod request;
mod response;
mod route;

pub use crate::lenient::EncodeError;
pub use crate::v2::encode_error;
pub use error::DecodeError;
pub(crate) use outcome::Outcome;
pub use response::Reply;
pub(crate) use route::{Route, route};

use crate::call::{InferRequest, ModelDescription};
use bytes::Bytes;

/// What a path asks of a model, by its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Predict,
    BatchPredict,
}

/// How to read the body of one inference request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    verb: Verb,
}

impl Codec {
    /// The codec for the bodies of this verb.
    pub fn new(verb: Verb) -> Codec {
        Codec { verb }
    }

    /// The verb it was made from.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The request in `body`, which has at least one row, and what its reply has to look like.
    pub fn decode(
        &self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, Reply), DecodeError> {
        Ok(request::decode(self.verb, &body, model)?)
    }
}

/// Whether the server takes inference requests. With `false` it belongs to a 503.
pub fn health(ready: bool) -> Bytes {
    Bytes::from_static(match ready {
        true => br#"{"status":"healthy"}"#,
        false => br#"{"status":"unhealthy","error":"the server is not ready"}"#,
    })
}

#[cfg(test)]
mod tests;
