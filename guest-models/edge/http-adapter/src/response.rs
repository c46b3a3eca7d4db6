//! A response as a value: its status, headers and the pieces of its body.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use wisp_protocol::encoded_response::EncodedResponse;
use wisp_protocol::error::ErrorKind;
use wisp_protocol::v2;

/// A response. Lifetime: one request.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    /// The headers, `content-length` included.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: ResponseBody,
    /// The reason of a failure that the client does not receive.
    pub cause: Option<String>,
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseBody {
    /// The pieces of the body, in order.
    Chunks(Vec<Bytes>),
    /// None, as in the response to HEAD, whose headers are those of the response to GET.
    None,
}

impl Response {
    /// Returns a JSON document with status 200.
    pub(crate) fn document(document: Bytes) -> Response {
        Response::with_status(StatusCode::OK, document)
    }

    /// Returns a JSON document that reports that a model is not ready, with Triton's status for it.
    pub(crate) fn model_not_ready(document: Bytes) -> Response {
        Response::with_status(ErrorKind::InvalidRequest.status(), document)
    }

    /// Returns a JSON document with this status.
    pub(crate) fn with_status(status: StatusCode, document: Bytes) -> Response {
        let encoded = EncodedResponse {
            content_type: "application/json",
            header_length: None,
            chunks: vec![document],
        };
        Response {
            status,
            ..Response::from(encoded)
        }
    }

    /// Returns the same response without its body.
    pub(crate) fn without_body(self) -> Response {
        Response {
            body: ResponseBody::None,
            ..self
        }
    }
}

impl From<EncodedResponse> for Response {
    fn from(encoded: EncodedResponse) -> Response {
        let content_length = encoded.content_length();
        let EncodedResponse {
            content_type,
            header_length,
            chunks,
        } = encoded;
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (CONTENT_LENGTH, HeaderValue::from(content_length)),
        ];
        if let Some(length) = header_length {
            let name = HeaderName::from_static(v2::HEADER_LENGTH);
            headers.push((name, HeaderValue::from(length)));
        }
        Response {
            status: StatusCode::OK,
            headers,
            body: ResponseBody::Chunks(chunks),
            cause: None,
        }
    }
}
