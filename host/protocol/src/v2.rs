//! The Open Inference Protocol (V2) over HTTP: JSON, optionally followed by tensors as raw bytes.
//!
//! A [`V2Decoder`] is built from the headers of a request and decodes the body into an `InferRequest`
//! and a [`V2Encoder`]. The [`V2Encoder`] holds the response format that the client requested and encodes the
//! `InferResponse` into an `EncodedResponse`. `request` decodes the JSON of a body, with `masked_text` for
//! JSON that contains `NaN`, `binary` the bytes after it, `json` the elements of a tensor, `raw` a body
//! without JSON; `response` encodes. `generate` is the codec of the generate extension. `metadata`, `config`,
//! `index`, `control`, `statistics`, `settings` and `shared_memory` write the other documents, `sample` a
//! request, `payload` the tensors of a log, and `unknown` the errors for models that do not exist. `control` decodes loads, whose parameters
//! are in `load_parameters` and `load_config`.
//!
//! The caller checks names, datatypes and shapes against the model (`wisp_tensor::signature`), and
//! limits the size of the body.
//!
//! Invariant: binary input tensors share the body's memory, except for a raw BYTES input and for BOOLs with
//! other bytes than 0 and 1. Nothing is allocated from a declared size before that many bytes of the body are
//! present.

mod binary;
pub(crate) mod config;
pub(crate) mod control;
mod error;
mod generate;
pub(crate) mod index;
mod json;
pub(crate) mod limits;
pub(crate) mod load_config;
pub(crate) mod load_parameters;
mod masked_text;
pub(crate) mod metadata;
mod payload;
mod raw;
mod request;
mod response;
pub(crate) mod sample;
pub(crate) mod settings;
mod shared_memory;
mod statistics;
mod unknown;

pub use crate::encoded_response::encode_error;
pub use config::model_config;
pub use control::{check_unload, decode_load, loaded, unloaded};
pub use error::HeaderLengthError;
pub use generate::{GenerateDecoder, GenerateEncoder, GenerateForm};
pub use index::{IndexFilter, decode_index, index};
pub use metadata::{live, model_list, model_metadata, model_ready, ready, server_metadata};
pub use payload::{payload_parameters, payload_tensors};
pub use response::V2Encoder;
pub use sample::sample_request;
pub use settings::{
    LogSettings, check_log_settings, check_trace_settings, log_settings, trace_settings,
};
pub use shared_memory::{
    SharedMemory, UnknownRegion, shared_memory_status, shared_memory_unregistered,
};
pub use statistics::statistics;
pub use unknown::{V2Operation, unknown_target};

use crate::call::{InferRequest, ModelDescription, Scheduling};
use crate::codec::{CodecError, RequestDecoder};
use crate::json_size;
use bytes::Bytes;
use error::DecodeError;
use http::{HeaderMap, HeaderName, header};
use masked_text::MaskedText;
use response::OutputForm;
use serde::Deserialize;
use wisp_tensor::ElementType;

/// The header with the number of bytes of JSON at the start of a body, in requests and in responses.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// [`HEADER_LENGTH`], parsed when this is compiled and not for every request.
pub(crate) const HEADER_LENGTH_NAME: HeaderName = HeaderName::from_static(HEADER_LENGTH);

/// The decoder for the body of one inference request. Lifetime: one request.
///
/// The default is the decoder of a request without headers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct V2Decoder {
    /// Bytes of JSON at the start of the body; `None` if the whole body is JSON, 0 for a raw request.
    header_length: Option<usize>,
    /// The form of the outputs for a raw request, which has no JSON to request one in.
    raw_output_form: OutputForm,
}

impl V2Decoder {
    /// Returns the decoder for a body with these headers. The content encoding is already removed.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<V2Decoder, HeaderLengthError> {
        // Triton always responds to a raw request with binary tensors. Here, a client that names
        // JSON gets JSON, so that `curl -H 'accept: application/json' --data-binary @x` is readable.
        let raw_output_form = match accepts_json(headers) {
            true => OutputForm::Json,
            false => OutputForm::Binary,
        };
        Ok(V2Decoder {
            header_length: header_length(headers)?,
            raw_output_form,
        })
    }

    fn decode_body(
        &self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, V2Encoder), DecodeError> {
        match self.header_length {
            Some(0) => self.decode_raw(body, model),
            // As in Triton, an empty body is a raw request with an empty input.
            None if body.is_empty() => self.decode_raw(body, model),
            None => request::decode(&body, Bytes::new(), model),
            Some(length) => {
                if length > body.len() {
                    return Err(DecodeError::HeaderBeyondBody {
                        header: length,
                        body: body.len(),
                    });
                }
                let rest = body.slice(length..);
                request::decode(&body[..length], rest, model)
            }
        }
    }

    fn decode_raw(
        &self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, V2Encoder), DecodeError> {
        let request = InferRequest {
            inputs: vec![raw::decode(body, model)?],
            parameters: Vec::new(),
            outputs: Vec::new(),
            scheduling: Scheduling::default(),
        };
        Ok((request, V2Encoder::for_raw_request(self.raw_output_form)))
    }
}

impl RequestDecoder for V2Decoder {
    type Source = Bytes;
    type Encoder = V2Encoder;

    /// Returns the number of bytes of `body` that are JSON, which dominate the time to decode it.
    fn text_bytes(&self, body: &Bytes) -> usize {
        self.header_length
            .map_or(body.len(), |length| length.min(body.len()))
    }

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        let (text, binary) = body.split_at(self.text_bytes(body));
        let masked = match MaskedText::may_be_needed(text) {
            true => text.len(),
            false => 0,
        };
        // A raw body becomes an element of BYTES, and BOOLs are copied unless they are 0 and 1.
        let is_copied = text.is_empty() || (!binary.is_empty() && names_bool(text));
        let copied = if is_copied { binary.len() } else { 0 };
        let sizes = [json_size::decoded_bytes(text), masked, copied];
        sizes.into_iter().fold(0, usize::saturating_add)
    }

    /// Checks, in this order: the JSON lies within the body, the JSON is valid, the binary sizes add
    /// up to the rest of the body; then, input by input, the shape and its bytes.
    fn decode(
        self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, V2Encoder), CodecError> {
        Ok(self.decode_body(body, model)?)
    }
}

/// Decodes the body of a control request, which is one JSON object.
pub(crate) fn decode_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, CodecError> {
    Ok(request::object(body)?)
}

/// Returns whether the JSON of a request can declare a BOOL input. An escape may stand for any letter of the name.
fn names_bool(text: &[u8]) -> bool {
    let name = ElementType::Bool.name().as_bytes();
    text.contains(&b'\\') || text.windows(name.len()).any(|window| window == name)
}

/// Returns the number in [`HEADER_LENGTH`]. It must be decimal and given once: with two lengths, two
/// parsers of the same request could split it at different positions.
fn header_length(headers: &HeaderMap) -> Result<Option<usize>, HeaderLengthError> {
    let mut values = headers.get_all(HEADER_LENGTH_NAME).iter();
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

/// Returns whether `Accept` names JSON itself. `*/*`, the default of most clients, does not count.
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
