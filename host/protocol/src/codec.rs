//! The traits that every protocol implements for inference: decode a request, encode a response.
//!
//! Generic code serves all protocols through these two traits. A [`Codec`] is a value that holds the
//! options of one request; decoding returns a [`Reply`] that holds the format of its response.

use crate::call::{InferRequest, InferResponse, ModelDescription};
use crate::error::ErrorKind;
use bytes::Bytes;
use std::fmt::Display;

/// A decoder for one inference request. Lifetime: one request.
pub trait Codec: Send + 'static {
    type Reply: Reply;

    /// Returns the approximate number of text bytes in `body`. Parsing text is what takes time.
    fn text_bytes(&self, body: &Bytes) -> usize;

    /// Returns the maximum number of bytes that decoding allocates, not counting `body` and the tensors
    /// that share its memory.
    fn decoded_bytes(&self, body: &Bytes) -> usize;

    /// Decodes the request in `body` and returns it with the encoder for its response.
    fn decode(
        self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, Self::Reply), CodecError>;
}

/// An encoder for the response to one inference request. Lifetime: one request.
pub trait Reply: Send + 'static {
    type Encoded: Send + 'static;

    /// Returns the approximate number of text bytes in the encoded response.
    fn text_bytes(&self, response: &InferResponse) -> usize;

    /// Returns the approximate maximum number of bytes that encoding allocates, not counting the tensors.
    fn encoded_bytes(&self, response: &InferResponse) -> usize;

    /// Returns the number of bytes that an encoded response occupies until it has been sent.
    fn held_bytes(encoded: &Self::Encoded) -> usize;

    /// Encodes the response in this protocol.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<Self::Encoded, CodecError>;
}

/// An error in decoding a request or encoding its response. The text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CodecError {
    kind: ErrorKind,
    text: String,
}

impl CodecError {
    pub(crate) fn new(kind: ErrorKind, text: &dyn Display) -> CodecError {
        CodecError {
            kind,
            text: text.to_string(),
        }
    }

    /// Returns the kind, the key into the protocol's error table.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// Implements `From` for [`CodecError`] for the protocols' own errors.
macro_rules! into_codec_error {
    ($($error:ty),+) => {
        $(impl From<$error> for $crate::codec::CodecError {
            fn from(error: $error) -> $crate::codec::CodecError {
                $crate::codec::CodecError::new(error.kind(), &error)
            }
        })+
    };
}
pub(crate) use into_codec_error;
