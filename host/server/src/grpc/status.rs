//! Conversion of failures to gRPC statuses, and back for the log.
//!
//! This is the only module that makes statuses; `protocol::error` defines their codes. Statuses that tonic
//! makes itself (for a message that is too large or missing, or for an unknown method) are converted to the
//! same form.

use crate::failure::Failure;
use http::{HeaderMap, Response};
use std::error::Error;
use std::sync::Arc;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use wisp_protocol::error::ErrorKind;
use wisp_protocol::v2::V2Operation;

/// The longest message of a status, in bytes. It is sent in a header, of which clients read 8 KiB, and each
/// byte that is not ASCII takes three.
const MAX_MESSAGE_BYTES: usize = 2048;

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        status(&Arc::new(failure))
    }
}

/// Returns the complete response to a request that failed.
pub(crate) fn refuse(failure: &Arc<Failure>) -> Response<Body> {
    status(failure).into_http()
}

/// Returns the trailers that end a response with the status of a failure.
pub(crate) fn trailers(failure: Failure) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(error) = Status::from(failure).add_header(&mut trailers) {
        tracing::error!(%error, "failed to encode a status");
    }
    trailers
}

/// Returns the failure that a response reports, if any.
pub(crate) fn failure<B>(response: &Response<B>) -> Option<&Failure> {
    of(response.extensions().get::<Status>()?)
}

/// Replaces the status of a response if tonic made it.
pub(crate) fn normalize_status(response: Response<Body>, path: &str) -> Response<Body> {
    match response.extensions().get::<Status>() {
        Some(made) if of(made).is_some() => response,
        Some(made) => normalized(made.clone()).into_http(),
        // The generated code responds to an unknown method without a message.
        None if response.headers().contains_key(Status::GRPC_STATUS) => {
            refuse(&Arc::new(Failure::unknown_method(path)))
        }
        None => response,
    }
}

/// Replaces a status that tonic made for a message. Other statuses are returned unchanged.
pub(super) fn normalized(made: Status) -> Status {
    if of(&made).is_some() {
        return made;
    }
    let text = made.message();
    let kind = match made.code() {
        Code::OutOfRange | Code::ResourceExhausted => ErrorKind::TooLarge,
        Code::Unimplemented => ErrorKind::UnsupportedEncoding,
        Code::Cancelled => ErrorKind::ClientGone,
        // Invalid frames and messages, for which gRPC libraries report an internal error.
        _ => ErrorKind::InvalidRequest,
    };
    let text = match kind {
        ErrorKind::TooLarge => format!("{text}, which --max-body-bytes sets"),
        _ => text.to_owned(),
    };
    let mut status = Status::from(Failure::Message { kind, text });
    // For example, the encodings that the server accepts.
    *status.metadata_mut() = made.metadata().clone();
    status
}

/// Returns the status for a client of the Open Inference Protocol, in Triton's words for a model that does not
/// exist.
pub(super) fn in_v2(failure: Failure, operation: V2Operation) -> Status {
    let message = failure.v2_message(operation);
    with_message(&Arc::new(failure), message)
}

fn status(failure: &Arc<Failure>) -> Status {
    with_message(failure, failure.client_message())
}

fn with_message(failure: &Arc<Failure>, mut message: String) -> Status {
    let code = Code::from_i32(failure.kind().grpc_code().number());
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    let mut status = Status::new(code, message);
    if let Some(seconds) = failure.retry_after_seconds() {
        status
            .metadata_mut()
            .insert("retry-after", MetadataValue::from(seconds));
    }
    let source: Arc<dyn Error + Send + Sync> = Arc::clone(failure) as _;
    status.set_source(source);
    status
}

fn of(status: &Status) -> Option<&Failure> {
    status.source()?.downcast_ref::<Failure>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_tonic_get_the_codes_of_the_table() {
        for (made, expected) in [
            (Status::out_of_range("large"), Code::ResourceExhausted),
            (Status::internal("no message"), Code::InvalidArgument),
            (Status::unimplemented("zstd"), Code::Unimplemented),
        ] {
            let text = made.message().to_owned();
            let status = normalized(made);
            assert_eq!(status.code(), expected);
            assert!(status.message().starts_with(&text), "{status}");
            let names_the_flag = status.message().contains("--max-body-bytes");
            assert_eq!(
                names_the_flag,
                expected == Code::ResourceExhausted,
                "{status}"
            );
            assert!(of(&status).is_some());
        }
    }

    #[test]
    fn unknown_models_are_reported_in_the_words_of_the_protocol() {
        let unknown = || Failure::from(wisp_protocol::grpc::v2::target("a/b", "").unwrap_err());
        let status = in_v2(unknown(), V2Operation::Call);
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(
            status.message(),
            "Request for unknown model: 'a/b' is not found"
        );
        assert!(of(&status).is_some());
        assert_eq!(Status::from(unknown()).message(), "unknown model: `a/b`");
    }

    #[test]
    fn a_failure_comes_back_out_of_its_response() {
        let response = refuse(&Arc::new(Failure::unknown_method("/x/Y")));
        let kind = failure(&response).map(Failure::kind);
        assert_eq!(kind, Some(ErrorKind::NotImplemented));
        assert_eq!(response.headers()["grpc-status"], "12");
    }
}
