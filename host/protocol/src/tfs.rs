//! The REST dialect of TF Serving, which is also that of KServe V1.
//!
//! `route` reads the family of paths below `/v1/models`. A [`Codec`], made from the verb of a
//! path, turns a body into an `InferRequest` and a [`Reply`], which turns the `InferResponse` into
//! bytes. `request` is the members of a body, `classes` says which outputs `:classify` and
//! `:regress` answer with, `response` is the way back, `metadata` the small documents.
//!
//! `:predict` takes rows (`instances`, answered by `predictions`; also KServe V1's format) or
//! columns (`inputs`, answered by `outputs`). A row lacks the batch axis, so a model without one
//! (`max_batch_size` 0) takes columns only. With one input or output, its values stand bare; with
//! several they are objects by name. A row may always be an object.
//!
//! Departures from TF Serving, each towards taking what was clearly meant or giving what a parser
//! reads: rows may mix bare values and objects; `signature_name` may be empty or null; optional
//! inputs may be left out, by all rows alike; bytes that are not UTF-8 come back in base64 whatever
//! the output's name; examples may nest their lists as the shape says. A member given twice is
//! refused.
//!
//! What is left to the caller, as with `v2`: the content encoding, the limits on the body and on
//! the batch, and whether tensors meet the signature as a whole.

pub(crate) mod classes;
mod error;
mod metadata;
mod request;
mod response;
mod route;

pub use crate::lenient::EncodeError;
pub use crate::v2::encode_error;
pub use error::DecodeError;
pub use metadata::{alive, model_list, model_metadata, model_status};
pub use response::Reply;
pub(crate) use route::{Route, route};

use crate::call::{InferRequest, ModelDescription};
use crate::lenient::MAX_DEFAULT_BYTES;
use bytes::Bytes;

/// The only signature a model has.
pub const SIGNATURE_NAME: &str = "serving_default";

/// What a path asks of a model, after the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Predict,
    Classify,
    Regress,
}

impl Verb {
    /// TF Serving's name of what the verb does.
    fn method_name(self) -> &'static str {
        match self {
            Verb::Predict => "tensorflow/serving/predict",
            Verb::Classify => "tensorflow/serving/classify",
            Verb::Regress => "tensorflow/serving/regress",
        }
    }
}

/// Whether the model has the axes and outputs that this verb needs.
pub(crate) fn is_answered(verb: Verb, model: &ModelDescription) -> bool {
    match verb {
        Verb::Predict => true,
        Verb::Classify => model.max_batch_size > 0 && classes::Classes::new(model).is_ok(),
        Verb::Regress => model.max_batch_size > 0 && classes::Number::new(model).is_ok(),
    }
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

    /// The most bytes that the defaults of a text may grow to by being repeated for each row.
    pub(crate) fn repeated_bytes(&self, text: usize) -> usize {
        match self.verb {
            Verb::Predict => 0,
            // Half of the text a default, the other half rows of three bytes without a value.
            Verb::Classify | Verb::Regress => text.saturating_mul(text).min(MAX_DEFAULT_BYTES),
        }
    }

    /// The request in `body`, and what its reply has to look like.
    ///
    /// The checks come in this order: UTF-8, JSON valid throughout, members, then row by row the
    /// names, datatypes and shapes.
    pub fn decode(
        &self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, Reply), DecodeError> {
        Ok(request::decode(self.verb, &body, model)?)
    }
}

#[cfg(test)]
mod tests;
