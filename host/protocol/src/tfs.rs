//! The REST protocol of TF Serving, which is also that of KServe V1.
//!
//! A [`Codec`] is built from the verb of a path (`route`). It decodes a body (`request`) into an
//! `InferRequest` and a [`Reply`], which encodes the `InferResponse` (`response`). `classes` selects the
//! outputs for `:classify` and `:regress`; `metadata` writes the other documents.
//!
//! `:predict` takes rows (`instances`, with `predictions` in the response; also KServe V1's format) or
//! columns (`inputs`, with `outputs`). A row lacks the batch axis, so a model without one
//! (`max_batch_size` 0) takes columns only. Values of a single input or output are bare, several are
//! objects by name. A row may always be an object.
//!
//! Differences from TF Serving: rows may mix bare values and objects; `signature_name` may be empty or
//! null; optional inputs may be left out, by all rows alike; bytes that are not UTF-8 are base64
//! whatever the name of the output; examples may nest arrays by shape; a member given twice is an error.
//!
//! As with `v2`, the caller handles the content encoding, the limits on the body and on the batch, and
//! the check of the tensors against the signature as a whole.

pub(crate) mod classes;
mod error;
mod metadata;
mod request;
mod response;
mod route;

pub use crate::relaxed_json::EncodeError;
pub use crate::v2::encode_error;
pub use error::DecodeError;
pub use metadata::{alive, model_list, model_metadata, model_status};
pub use response::Reply;
pub(crate) use route::{Route, route};

use crate::call::{InferRequest, ModelDescription};
use crate::relaxed_json::MAX_DEFAULT_BYTES;
use bytes::Bytes;

/// The name of a model's only signature.
pub const SIGNATURE_NAME: &str = "serving_default";

/// The method of a path, after the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Predict,
    Classify,
    Regress,
}

impl Verb {
    /// Returns TF Serving's method name for the verb.
    fn method_name(self) -> &'static str {
        match self {
            Verb::Predict => "tensorflow/serving/predict",
            Verb::Classify => "tensorflow/serving/classify",
            Verb::Regress => "tensorflow/serving/regress",
        }
    }
}

/// Returns whether the model has the axes and outputs that this verb needs.
pub(crate) fn is_supported(verb: Verb, model: &ModelDescription) -> bool {
    match verb {
        Verb::Predict => true,
        Verb::Classify => model.max_batch_size > 0 && classes::Classes::new(model).is_ok(),
        Verb::Regress => model.max_batch_size > 0 && classes::Number::new(model).is_ok(),
    }
}

/// The decoder for the body of one inference request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Codec {
    verb: Verb,
}

impl Codec {
    /// Returns the codec for the bodies of this verb.
    pub fn new(verb: Verb) -> Codec {
        Codec { verb }
    }

    /// Returns the verb of the codec.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Returns the maximum number of bytes that the defaults in `text` bytes of JSON may take once they
    /// are repeated for each row.
    pub(crate) fn repeated_bytes(&self, text: usize) -> usize {
        match self.verb {
            Verb::Predict => 0,
            // The worst case: one half of the text is a default, the other half is rows of three bytes
            // that have no values of their own.
            Verb::Classify | Verb::Regress => text.saturating_mul(text).min(MAX_DEFAULT_BYTES),
        }
    }

    /// Decodes the request in `body` and the response format that it requests.
    ///
    /// Checks, in this order: the body is UTF-8, all of it is valid JSON, the members; then, row by
    /// row, the names, datatypes and shapes.
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
