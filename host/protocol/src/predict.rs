//! The predict API, for use with curl: predictions from plain JSON `features`.
//!
//! `POST /predict/{model}` takes `{"features": ...}` and returns `{"prediction": ...,
//! "probabilities": [...], "model_version": "7"}`, with probabilities only if the model has them.
//! `POST /batch_predict/{model}` takes `{"features": [row, ...]}`, `[{"features": row}, ...]` or
//! `{"instances": [{"features": row}, ...]}` and returns `{"predictions": [...], "model_version": "7"}`
//! with an object for each row, in order. `GET /health` returns `{"status": "healthy"}`.
//!
//! `features` is an object with a value for each input by name, or a value for the only input, for the
//! only numeric input, or for the only required numeric input. Values lack the batch axis. They are nested
//! as the shape, in one flat array if that determines the shape, or bare if there is a single element.
//!
//! With `"class_names": true`, the prediction is the name of a class, and the probabilities are an object by
//! name (`mapping::named`).
//!
//! A batch is one inference of a model with a batch axis. An invalid row (wrong length, not numbers)
//! fails by itself: its object is `{"error": "..."}`, and the other rows are computed. The request fails
//! if no row is valid or the text is not JSON. `mapping` selects the prediction and the probabilities,
//! also for gRPC. Numbers are as in TF Serving, with a bare `NaN`: `null` would hide which value it was.

mod error;
pub(crate) mod mapping;
mod request;
mod response;

pub use request::Verb;
pub use response::PredictEncoder;

use crate::call::{InferRequest, ModelDescription};
use crate::codec::{CodecError, RequestDecoder};
use crate::json_size;
use bytes::Bytes;

/// The decoder for the body of one inference request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictDecoder {
    verb: Verb,
}

impl PredictDecoder {
    /// Returns the decoder for the bodies of this verb.
    pub fn new(verb: Verb) -> PredictDecoder {
        PredictDecoder { verb }
    }

    /// Returns the verb of the decoder.
    pub fn verb(&self) -> Verb {
        self.verb
    }
}

impl RequestDecoder for PredictDecoder {
    type Source = Bytes;
    type Encoder = PredictEncoder;

    fn text_bytes(&self, body: &Bytes) -> usize {
        body.len()
    }

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        json_size::decoded_bytes(body)
    }

    /// Decodes the request in `body`, which has at least one valid row.
    fn decode(
        self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, PredictEncoder), CodecError> {
        Ok(request::decode(self.verb, &body, model)?)
    }
}

/// Returns the health of the server. With `false`, the document belongs to a 503.
pub fn health(ready: bool) -> Bytes {
    Bytes::from_static(match ready {
        true => br#"{"status":"healthy"}"#,
        false => br#"{"status":"unhealthy","error":"the server is not ready"}"#,
    })
}

#[cfg(test)]
mod tests;
