//! The encoded response and the error document, common to all REST protocols.

use crate::codec::HeldBytes;
use bytes::Bytes;
use serde::Serialize;

/// A response's body and the headers that depend on it. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedResponse {
    pub content_type: &'static str,
    /// The value of [`HEADER_LENGTH`](crate::v2::HEADER_LENGTH), if the response needs it.
    pub header_length: Option<usize>,
    /// The body in pieces: the JSON, then one piece per non-empty binary tensor.
    pub chunks: Vec<Bytes>,
}

impl EncodedResponse {
    /// Creates a body that is a single piece of JSON.
    pub(crate) fn json(text: Vec<u8>) -> EncodedResponse {
        EncodedResponse {
            content_type: "application/json",
            header_length: None,
            chunks: vec![Bytes::from(text)],
        }
    }

    /// Returns the length of the body, all chunks together.
    pub fn content_length(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

impl HeldBytes for EncodedResponse {
    fn held_bytes(&self) -> usize {
        self.content_length()
    }
}

/// The body of every response other than 200.
#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: &'a str,
}

/// Returns the body of every response other than 200.
pub fn encode_error(message: &str) -> Bytes {
    document(&ErrorDocument { error: message })
}

/// Encodes a small document as JSON.
pub(crate) fn document(value: &impl Serialize) -> Bytes {
    let text = serde_json::to_vec(value).expect("strings, integers and lists have a JSON form");
    Bytes::from(text)
}
