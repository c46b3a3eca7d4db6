//! The errors of an operation: which statuses, and what each of them means.
//!
//! Statuses come from the one table, [`crate::error`]; here stands what a reader needs to know of them.

use super::operation::Document;
use crate::error::ErrorKind;
use crate::rest::Dialect;
use http::StatusCode;
use serde_json::{Map, Value, json};

/// Every kind of which a client gets to see the status.
const KINDS: [ErrorKind; 13] = [
    ErrorKind::InvalidRequest,
    ErrorKind::NotFound,
    ErrorKind::Forbidden,
    ErrorKind::MethodNotAllowed,
    ErrorKind::TooLarge,
    ErrorKind::UnsupportedEncoding,
    ErrorKind::NotImplemented,
    ErrorKind::ClientTimeout,
    ErrorKind::Handler,
    ErrorKind::HandlerTimeout,
    ErrorKind::Unavailable,
    ErrorKind::DeadlineExceeded,
    ErrorKind::Internal,
];

/// What any request may meet.
const ALWAYS: [ErrorKind; 4] = [
    ErrorKind::InvalidRequest,
    ErrorKind::UnsupportedEncoding,
    ErrorKind::Unavailable,
    ErrorKind::Internal,
];

/// What a request may meet that names a model.
pub(super) const NAMED: &[ErrorKind] = &[ErrorKind::NotFound];

/// What a request may meet whose body is read.
pub(super) const READ: &[ErrorKind] = &[ErrorKind::TooLarge, ErrorKind::ClientTimeout];

/// What a request to load or unload may meet.
pub(super) const CONTROLLED: &[ErrorKind] = &[
    ErrorKind::NotFound,
    ErrorKind::Forbidden,
    ErrorKind::TooLarge,
    ErrorKind::ClientTimeout,
    ErrorKind::NotImplemented,
];

/// What an inference may meet.
pub(super) const INFERRED: &[ErrorKind] = &[
    ErrorKind::NotFound,
    ErrorKind::TooLarge,
    ErrorKind::ClientTimeout,
    ErrorKind::NotImplemented,
    ErrorKind::Handler,
    ErrorKind::HandlerTimeout,
    ErrorKind::DeadlineExceeded,
];

/// Adds the responses for these kinds, and for those that are always possible, to an operation's.
pub(super) fn add(
    document: &mut Document,
    responses: &mut Map<String, Value>,
    dialect: Dialect,
    kinds: &[ErrorKind],
) {
    let statuses = ALWAYS.iter().chain(kinds).map(|kind| dialect.status(*kind));
    // It is hyper's answer to a head that never becomes a request.
    let statuses = statuses.chain([StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE]);
    for status in statuses {
        let dialect_name = match dialect {
            Dialect::V2 => "",
            Dialect::Tfs => "Tfs",
        };
        let name = format!("{dialect_name}Error{}", status.as_u16());
        let reference = json!({"$ref": format!("#/components/responses/{name}")});
        responses.insert(status.as_str().to_owned(), reference);
        document
            .responses
            .entry(name)
            .or_insert_with(|| response(dialect, status));
    }
}

/// The schema of every error, of which the document has one.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string", "description": "What was wrong, for people."}},
    })
}

fn response(dialect: Dialect, status: StatusCode) -> Value {
    let kinds = KINDS.iter().filter(|&&kind| dialect.status(kind) == status);
    let meanings: Vec<&str> = kinds.map(|&kind| meaning(kind)).collect();
    let description = match meanings.as_slice() {
        [] => "The head of the request is larger than this server reads.".to_owned(),
        meanings => meanings.join(" Or: "),
    };
    let mut headers = Map::new();
    headers.insert(
        "X-Request-Id".to_owned(),
        json!({
            "description": "The id under which the server's log has it.",
            "schema": {"type": "string"},
        }),
    );
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(
            "Retry-After".to_owned(),
            json!({"description": "In seconds.", "schema": {"type": "integer", "minimum": 0}}),
        );
    }
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        headers.insert(
            "Accept-Encoding".to_owned(),
            json!({"description": "The encodings that are read.", "schema": {"type": "string"}}),
        );
    }
    json!({
        "description": description,
        "headers": headers,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    })
}

fn meaning(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest => "The request can never succeed as it is.",
        ErrorKind::NotFound => "There is no such model or version.",
        ErrorKind::Forbidden => "This is not for this client.",
        ErrorKind::MethodNotAllowed => "The route takes another method.",
        ErrorKind::TooLarge => "The body is larger than the server's limit.",
        ErrorKind::UnsupportedEncoding => "The body comes in an encoding that is not read.",
        ErrorKind::NotImplemented => {
            "The request asks for a part of the protocol that is left out."
        }
        ErrorKind::ClientTimeout => "The body did not arrive in time.",
        ErrorKind::ClientGone => "The client did not wait.",
        ErrorKind::Handler => "The model's handler failed.",
        ErrorKind::HandlerTimeout => "The model's handler ran longer than it may.",
        ErrorKind::Unavailable => "The server is full or draining, or the model is not ready.",
        ErrorKind::DeadlineExceeded => "The answer was not there in time.",
        ErrorKind::Internal => "The server failed.",
    }
}
