//! What every dialect does with an inference: read the request, write the answer.
//!
//! The two traits let one line of code serve all dialects. What differs between them is a value:
//! a [`Codec`] knows how a request was asked, the [`Reply`] it leaves how the answer has to look.

use crate::call::{InferRequest, InferResponse, ModelDescription};
use crate::error::ErrorKind;
use bytes::Bytes;
use std::fmt::Display;

/// How to read one inference request. Lifetime: one request.
pub trait Codec: Send + 'static {
    type Reply: Reply;

    /// About how many bytes of text there are to read in `body`, which is what takes time.
    fn text_bytes(&self, body: &Bytes) -> usize;

    /// The most bytes that decoding allocates besides `body` and the tensors that share its memory.
    fn decoded_bytes(&self, body: &Bytes) -> usize;

    /// The request in `body`, and how to answer it.
    fn decode(
        self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, Self::Reply), CodecError>;
}

/// How to write the answer to one inference request. Lifetime: one request.
pub trait Reply: Send + 'static {
    type Encoded: Send + 'static;

    /// About how many bytes of text there will be.
    fn text_bytes(&self, response: &InferResponse) -> usize;

    /// About the most bytes that encoding allocates besides the tensors.
    fn encoded_bytes(&self, response: &InferResponse) -> usize;

    /// The bytes that an answer holds until it has been sent.
    fn held_bytes(encoded: &Self::Encoded) -> usize;

    /// The answer as this dialect says it.
    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<Self::Encoded, CodecError>;
}

/// Why a request cannot be read, or its answer not be written. The text is for the client.
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

    /// What the dialect's error table is asked with.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The dialects' own errors as what is common to all dialects.
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
