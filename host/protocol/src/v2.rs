//! The Open Inference Protocol (V2) over HTTP: JSON, and tensors as raw bytes behind it.
//!
//! [`Codec`] is made from a request's headers and turns its body into an `InferRequest` and a
//! [`Reply`]; the [`Reply`] remembers what the client wants to see and turns the `InferResponse`
//! into an [`EncodedReply`]. `request` is the JSON as it stands in the body, `binary` the bytes
//! behind it, `json` the elements of a tensor as JSON, `raw` a body without any JSON, `response`
//! the way back; `metadata`, `config`, `index`, `control` and `statistics` are the small documents.
//!
//! What is left to the caller: whether names, datatypes and shapes are those of the model
//! (`wisp_tensor::signature`), and the limit on the body's size.
//!
//! Invariant: input tensors share the body's memory; nothing is allocated from a declared size
//! before as many bytes of body are there.

mod binary;
pub(crate) mod config;
pub(crate) mod control;
mod error;
pub(crate) mod index;
mod json;
mod metadata;
mod raw;
pub(crate) mod request;
mod response;
mod statistics;

pub use crate::reply::EncodedReply;
pub use config::model_config;
pub use control::{check_control, loaded, unloaded};
pub use error::{DecodeError, EncodeError, HeaderLengthError};
pub use index::{IndexFilter, decode_index, index};
pub(crate) use metadata::EXTENSIONS;
pub use metadata::{
    encode_error, live, model_list, model_metadata, model_ready, ready, server_metadata,
};
pub use response::Reply;
pub use statistics::statistics;

use crate::call::{InferRequest, ModelDescription};
use bytes::Bytes;
use error::Reason;
use http::{HeaderMap, header};
use response::Form;

/// The header that says how many bytes of a body are JSON, in requests and in replies.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// How to read the body of one inference request. Lifetime: one request.
///
/// The default is that of a request without headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Codec {
    /// Bytes of JSON at the start of the body; `None` when all of it is, 0 for a raw request.
    header_length: Option<usize>,
    /// The form of outputs that a raw request gets, which cannot ask in its body.
    raw_reply: Form,
}

impl Codec {
    /// The codec for a body with these headers, whose content encoding has been dealt with.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Codec, HeaderLengthError> {
        // Triton answers a raw request with binary tensors always. A client that asks for JSON by
        // name gets it: `curl -H 'accept: application/json' --data-binary @x` is then readable.
        let raw_reply = match accepts_json(headers) {
            true => Form::Json,
            false => Form::Binary,
        };
        Ok(Codec {
            header_length: header_length(headers)?,
            raw_reply,
        })
    }

    /// How many bytes of `body` are JSON, which is what decoding takes its time for.
    pub fn text_bytes(&self, body: &Bytes) -> usize {
        self.header_length
            .map_or(body.len(), |length| length.min(body.len()))
    }

    /// The request in `body`, and what its reply has to look like.
    ///
    /// The checks come in this order: JSON within the body, JSON valid, binary sizes add up to the
    /// rest of the body, then input by input the shape and its bytes.
    pub fn decode(
        &self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, Reply), DecodeError> {
        match self.header_length {
            Some(0) => Ok(self.decode_raw(body, model)?),
            // As Triton: somebody who posts nothing means an empty raw input.
            None if body.is_empty() => Ok(self.decode_raw(body, model)?),
            None => Ok(request::decode(&body, Bytes::new(), model)?),
            Some(length) => {
                if length > body.len() {
                    return Err(DecodeError::from(Reason::HeaderBeyondBody {
                        header: length,
                        body: body.len(),
                    }));
                }
                let rest = body.slice(length..);
                Ok(request::decode(&body[..length], rest, model)?)
            }
        }
    }

    fn decode_raw(
        &self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, Reply), Reason> {
        let request = InferRequest {
            inputs: vec![raw::decode(body, model)?],
            parameters: Vec::new(),
            outputs: Vec::new(),
        };
        Ok((request, Reply::to_raw_request(self.raw_reply)))
    }
}

/// The number in [`HEADER_LENGTH`], which must be digits and stand there once: two readers of a
/// request with two lengths would cut it in different places.
fn header_length(headers: &HeaderMap) -> Result<Option<usize>, HeaderLengthError> {
    let mut values = headers.get_all(HEADER_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(HeaderLengthError::Repeated);
    }
    let digits = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => Err(HeaderLengthError::NotANumber),
    }
}

/// Whether `Accept` names JSON itself; `*/*`, which most clients send unasked, does not count.
fn accepts_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests;
