//! The REST protocols combined: the codec that a path selects, and the response sent over HTTP.

use crate::call::{InferRequest, InferResponse, ModelDescription};
use crate::codec::{self, CodecError};
use crate::encoded_response::EncodedResponse;
use crate::error::ErrorKind;
use crate::relaxed_json::EncodeError;
use crate::{predict, tfs, v2};
use bytes::Bytes;
use http::StatusCode;
use wisp_tensor::{ElementType, NamedTensor};

/// The size of the largest element that a number decodes to, whatever its digits.
const MAX_ELEMENT_BYTES: usize = 8;

/// The protocol family that determines the format of errors. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestProtocol {
    /// V2 and the predict API.
    V2,
    /// TF Serving and KServe V1.
    Tfs,
}

impl RestProtocol {
    /// Returns the protocol family of a path; unknown paths belong to V2.
    pub fn from_path(path: &str) -> RestProtocol {
        match path.starts_with("/v1/") {
            true => RestProtocol::Tfs,
            false => RestProtocol::V2,
        }
    }

    /// Returns the status of an error.
    pub fn status(self, kind: ErrorKind) -> StatusCode {
        match self {
            RestProtocol::V2 => kind.status(),
            RestProtocol::Tfs => kind.tfs_status(),
        }
    }
}

/// A decoder for the body of one inference request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codec {
    V2(v2::Codec),
    Tfs(tfs::Codec),
    Predict(predict::Codec),
}

/// An encoder for the response to one inference request. Lifetime: one request.
#[derive(Debug, Clone)]
pub enum Reply {
    V2(v2::Reply),
    Tfs(tfs::Reply),
    Predict(predict::Reply),
}

impl codec::Codec for Codec {
    type Reply = Reply;

    fn text_bytes(&self, body: &Bytes) -> usize {
        match self {
            Codec::V2(codec) => codec.text_bytes(body),
            Codec::Tfs(_) | Codec::Predict(_) => body.len(),
        }
    }

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        let text = &body[..codec::Codec::text_bytes(self, body)];
        // Any two elements are separated by a comma, and strings are copied unchanged.
        let elements = text.iter().filter(|&&byte| byte == b',').count() + 1;
        let content = elements.saturating_mul(MAX_ELEMENT_BYTES) + text.len();
        match self {
            Codec::Tfs(codec) => content.saturating_add(codec.repeated_bytes(text.len())),
            Codec::V2(_) | Codec::Predict(_) => content,
        }
    }

    fn decode(
        self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, Reply), CodecError> {
        Ok(match self {
            Codec::V2(codec) => {
                let (request, reply) = codec.decode(body, model)?;
                (request, Reply::V2(reply))
            }
            Codec::Tfs(codec) => {
                let (request, reply) = codec.decode(body, model)?;
                (request, Reply::Tfs(reply))
            }
            Codec::Predict(codec) => {
                let (request, reply) = codec.decode(body, model)?;
                (request, Reply::Predict(reply))
            }
        })
    }
}

impl codec::Reply for Reply {
    type Encoded = EncodedResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        match self {
            Reply::V2(reply) => reply.text_bytes(response),
            Reply::Tfs(_) | Reply::Predict(_) => text_bytes(response.outputs.iter()),
        }
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        let is_text = |output: &&NamedTensor| match self {
            Reply::V2(reply) => reply.is_text(&output.name),
            Reply::Tfs(_) | Reply::Predict(_) => true,
        };
        let texts = response.outputs.iter().filter(is_text);
        let sizes = texts.map(|NamedTensor { tensor, .. }| {
            let content = tensor.content().len();
            content.saturating_mul(text_per_content(tensor.element_type()))
        });
        sizes.fold(0, usize::saturating_add)
    }

    fn held_bytes(encoded: &EncodedResponse) -> usize {
        encoded.content_length()
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<EncodedResponse, CodecError> {
        Ok(match self {
            Reply::V2(reply) => reply.encode(response, model)?,
            Reply::Tfs(reply) => reply.encode(response, model)?,
            Reply::Predict(reply) => reply.encode(response, model)?,
        })
    }
}

codec::into_codec_error!(
    v2::DecodeError,
    v2::EncodeError,
    tfs::DecodeError,
    predict::DecodeError,
    EncodeError
);

/// Returns the maximum number of JSON bytes per byte of a tensor of this type, comma included.
fn text_per_content(element_type: ElementType) -> usize {
    match element_type {
        // A control character is `\u0001` (6 bytes), and a bool is at most `false` plus a comma.
        ElementType::Bytes | ElementType::Bool => 6,
        // A one-byte element is at most `-128` plus a comma.
        _ => 5,
    }
}

/// Returns the approximate number of JSON bytes for these tensors.
pub(crate) fn text_bytes<'a>(tensors: impl Iterator<Item = &'a NamedTensor>) -> usize {
    // A number has about three times as many digits and signs as it has bytes.
    tensors
        .map(|tensor| tensor.tensor.content().len().saturating_mul(3))
        .fold(0, usize::saturating_add)
}
