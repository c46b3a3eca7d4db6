//! The REST protocol of TF Serving, which KServe V1 shares.
//!
//! A [`TfsDecoder`] is built from the verb of a path. It decodes a body (`request`) into an
//! `InferRequest` and a [`TfsEncoder`], which encodes the `InferResponse` (`response`). `classes` selects the
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
pub(crate) mod names;
mod request;
mod response;
mod verb;

pub use metadata::{alive, model_list, model_metadata, model_status};
pub use response::TfsEncoder;
pub use verb::{SIGNATURE_NAME, Verb};

use crate::call::{InferRequest, ModelDescription};
use crate::codec::{CodecError, RequestDecoder};
use crate::json_size;
use crate::relaxed_json::MAX_DEFAULT_BYTES;
use bytes::Bytes;

/// The decoder for the body of one inference request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TfsDecoder {
    verb: Verb,
}

impl TfsDecoder {
    /// Returns the decoder for the bodies of this verb.
    pub fn new(verb: Verb) -> TfsDecoder {
        TfsDecoder { verb }
    }

    /// Returns the verb of the decoder.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Returns the maximum number of bytes that the defaults in `text` bytes of JSON may take once they
    /// are repeated for each row.
    fn repeated_bytes(&self, text: usize) -> usize {
        match self.verb {
            Verb::Predict => 0,
            // The worst case: one half of the text is a default, the other half is rows of three bytes
            // that have no values of their own.
            Verb::Classify | Verb::Regress => text.saturating_mul(text).min(MAX_DEFAULT_BYTES),
        }
    }
}

impl RequestDecoder for TfsDecoder {
    type Source = Bytes;
    type Encoder = TfsEncoder;

    fn text_bytes(&self, body: &Bytes) -> usize {
        body.len()
    }

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        let repeated = self.repeated_bytes(body.len());
        json_size::decoded_bytes(body).saturating_add(repeated)
    }

    /// Checks, in this order: the body is UTF-8, all of it is valid JSON, the members; then, row by
    /// row, the names, datatypes and shapes.
    fn decode(
        self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, TfsEncoder), CodecError> {
        Ok(request::decode(self.verb, &body, model)?)
    }
}

#[cfg(test)]
mod tests;
