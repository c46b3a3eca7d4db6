//! The traits that every protocol implements for inference: decode a request, encode a response.
//!
//! Generic code serves all protocols through these traits. A [`RequestDecoder`] is a value that holds
//! the options of one request; decoding returns a [`ResponseEncoder`] that holds the format of its
//! response.

use crate::call::{InferRequest, InferResponse, ModelDescription};
use crate::error::{ErrorKind, HasErrorKind};

/// A decoder for one inference request that has been read completely. Lifetime: one request.
pub trait RequestDecoder: Send + 'static {
    /// The complete request: the bytes of a body, or a message that was parsed from the wire.
    type Source: Send + 'static;
    type Encoder: ResponseEncoder;

    /// Returns the approximate number of text bytes in `source`. Parsing text takes most of the time.
    fn text_bytes(&self, source: &Self::Source) -> usize;

    /// Returns the maximum number of bytes that decoding allocates, not counting `source` and the tensors
    /// that share its memory.
    fn decoded_bytes(&self, source: &Self::Source) -> usize;

    /// Decodes the request and returns it with the encoder for its response.
    fn decode(
        self,
        source: Self::Source,
        model: &ModelDescription,
    ) -> Result<(InferRequest, Self::Encoder), CodecError>;
}

/// An encoder for the response to one inference request. Lifetime: one request.
pub trait ResponseEncoder: Send + 'static {
    type Encoded: HeldBytes;

    /// Returns the approximate number of text bytes in the encoded response.
    fn text_bytes(&self, response: &InferResponse) -> usize;

    /// Returns the approximate maximum number of bytes that encoding allocates, not counting the tensors.
    fn encoded_bytes(&self, response: &InferResponse) -> usize;

    /// Encodes the response in this protocol, with its outputs in their order.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<Self::Encoded, CodecError>;
}

/// A response in the encoding of its protocol.
pub trait HeldBytes: Send + 'static {
    /// Returns the number of bytes that the response occupies until it has been sent.
    fn held_bytes(&self) -> usize;
}

/// An error in decoding a request or encoding its response. The text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CodecError {
    kind: ErrorKind,
    text: String,
}

impl CodecError {
    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl<E: HasErrorKind> From<E> for CodecError {
    fn from(error: E) -> CodecError {
        CodecError {
            kind: error.kind(),
            text: error.to_string(),
        }
    }
}
