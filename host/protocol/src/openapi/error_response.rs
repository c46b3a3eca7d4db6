//! The error responses of an operation, with the meaning of each status.
//!
//! Statuses come from the table in [`crate::error`]; this module describes them for readers.

use crate::error::ErrorKind;
use crate::rest::RestProtocol;
use http::StatusCode;
use serde_json::{Map, Value, json};

/// The errors that any request can receive.
const ALWAYS: [ErrorKind; 4] = [
    ErrorKind::InvalidRequest,
    ErrorKind::UnsupportedEncoding,
    ErrorKind::Unavailable,
    ErrorKind::Internal,
];

/// The errors of a request that names a model.
pub(super) const NAMED: &[ErrorKind] = &[ErrorKind::NotFound];

/// The errors of a request whose body is read.
pub(super) const READ: &[ErrorKind] = &[ErrorKind::TooLarge, ErrorKind::ClientTimeout];

/// The errors of a load or unload request.
pub(super) const CONTROLLED: &[ErrorKind] = &[
    ErrorKind::NotFound,
    ErrorKind::Forbidden,
    ErrorKind::TooLarge,
    ErrorKind::ClientTimeout,
    ErrorKind::NotImplemented,
    ErrorKind::OverQuota,
];

/// The errors of an inference.
pub(super) const INFERRED: &[ErrorKind] = &[
    ErrorKind::NotFound,
    ErrorKind::TooLarge,
    ErrorKind::ClientTimeout,
    ErrorKind::NotImplemented,
    ErrorKind::Handler,
    ErrorKind::HandlerTimeout,
    ErrorKind::OverQuota,
    ErrorKind::DeadlineExceeded,
];

/// An error response, a component that operations refer to by name.
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) name: String,
    pub(super) response: Value,
}

/// Returns the responses for `kinds` and for the errors that are always possible.
pub(super) fn responses(
    protocol: RestProtocol,
    kinds: &[ErrorKind],
) -> impl Iterator<Item = ErrorResponse> {
    let kinds = ALWAYS.iter().chain(kinds);
    let statuses = kinds.map(move |kind| protocol.status(*kind));
    // hyper's response to a head that it refuses before it becomes a request.
    let statuses = statuses.chain([StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE]);
    statuses.map(move |status| {
        let prefix = match protocol {
            RestProtocol::V2 => "",
            RestProtocol::Tfs => "Tfs",
        };
        ErrorResponse {
            status,
            name: format!("{prefix}Error{}", status.as_u16()),
            response: response(protocol, status),
        }
    })
}

/// Returns the schema that all errors share.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string", "description": "A human-readable message."}},
    })
}

fn response(protocol: RestProtocol, status: StatusCode) -> Value {
    let meanings: Vec<&str> = kinds_of(protocol, status).map(meaning).collect();
    let description = match meanings.as_slice() {
        [] => "The head of the request is larger than the server's limit.".to_owned(),
        meanings => meanings.join(" Or: "),
    };
    let mut headers = Map::new();
    headers.insert(
        "X-Request-Id".to_owned(),
        json!({
            "description": "The id of the request in the server's log.",
            "schema": {"type": "string"},
        }),
    );
    if kinds_of(protocol, status).any(|kind| kind.is_retryable()) {
        headers.insert(
            "Retry-After".to_owned(),
            json!({"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}),
        );
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(
            "WWW-Authenticate".to_owned(),
            json!({"description": "The scheme of the keys.", "schema": {"const": "Bearer"}}),
        );
    }
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        headers.insert(
            "Accept-Encoding".to_owned(),
            json!({"description": "The supported encodings.", "schema": {"type": "string"}}),
        );
    }
    json!({
        "description": description,
        "headers": headers,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    })
}

/// Iterates over the kinds that have this status and that a client can receive.
fn kinds_of(protocol: RestProtocol, status: StatusCode) -> impl Iterator<Item = ErrorKind> {
    let kinds = ErrorKind::ALL.into_iter();
    let received = kinds.filter(|kind| *kind != ErrorKind::ClientGone);
    received.filter(move |kind| protocol.status(*kind) == status)
}

fn meaning(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest => "The request is invalid.",
        ErrorKind::NotFound => "The model or version does not exist.",
        ErrorKind::Unauthenticated => "A valid API key is required.",
        ErrorKind::Forbidden => "The operation, host or origin is not allowed.",
        ErrorKind::MethodNotAllowed => "The route does not support this method.",
        ErrorKind::Conflict => "The version exists already, or is in use.",
        ErrorKind::TooLarge => "The body is larger than the server's limit.",
        ErrorKind::UnsupportedEncoding => "The encoding of the body is not supported.",
        ErrorKind::NotImplemented => {
            "The request uses a part of the protocol that is not supported."
        }
        ErrorKind::ClientTimeout => "The body did not arrive in time.",
        ErrorKind::ClientGone => "The client closed the connection.",
        ErrorKind::Handler => "The model's handler failed.",
        ErrorKind::HandlerTimeout => "The model's handler exceeded its time limit.",
        ErrorKind::OverQuota => "The client has used up one of its limits.",
        ErrorKind::Unavailable => {
            "The server is overloaded or stopping, or the model is not ready."
        }
        ErrorKind::StorageFull => "The repository has no room for another file or version.",
        ErrorKind::DeadlineExceeded => "The response was not ready in time.",
        ErrorKind::Internal => "An internal error of the server.",
    }
}
