//! The error type for requests that are refused or fail, and its conversion to a response.
//!
//! The statuses are those of `wisp_protocol::error`, and the messages are those of the server where it has them.

use crate::response::Response;
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, ALLOW};
use wisp_protocol::call_check::RequestError;
use wisp_protocol::codec::CodecError;
use wisp_protocol::error::{ErrorKind, HasErrorKind};
use wisp_protocol::rest::RestProtocol;
use wisp_protocol::route::RouteError;
use wisp_protocol::target::UnknownTarget;
use wisp_protocol::v2::{self, V2Operation};

/// A refused or failed request. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: String,
    /// The model or version that the client named and that the bundle does not have.
    unknown_target: Option<UnknownTarget>,
    /// The methods that the route allows, if the method of the request was not one of them.
    allow: Option<&'static str>,
    /// The reason for the log.
    cause: Option<String>,
}

impl Failure {
    /// Returns a failure with a message for the client.
    pub(crate) fn new(kind: ErrorKind, message: impl ToString) -> Failure {
        Failure {
            kind,
            message: message.to_string(),
            unknown_target: None,
            allow: None,
            cause: None,
        }
    }

    /// Returns the same failure with a cause that the client does not receive.
    pub(crate) fn caused_by(self, cause: impl ToString) -> Failure {
        Failure {
            cause: Some(cause.to_string()),
            ..self
        }
    }

    /// Returns the response to the request for `path`, whose protocol determines its form.
    pub(crate) fn into_response(self, path: &str) -> Response {
        let protocol = RestProtocol::from_path(path);
        let message = match (V2Operation::from_path(path), &self.unknown_target) {
            (Some(operation), Some(target)) => v2::unknown_target(target, operation),
            _ => self.message,
        };
        let status = match self.kind {
            // 499 is in no standard.
            ErrorKind::ClientGone => ErrorKind::InvalidRequest.status(),
            kind => protocol.status(kind),
        };
        let mut response = Response::with_status(status, v2::encode_error(&message));
        if let Some(methods) = self.allow {
            let methods = HeaderValue::from_static(methods);
            response.headers.push((ALLOW, methods));
        }
        if self.kind == ErrorKind::UnsupportedEncoding {
            let plain = HeaderValue::from_static("identity");
            response.headers.push((ACCEPT_ENCODING, plain));
        }
        response.cause = self.cause;
        response
    }
}

impl From<RouteError> for Failure {
    fn from(error: RouteError) -> Failure {
        let failure = Failure {
            allow: error.allow(),
            ..Failure::new(error.kind(), &error)
        };
        match error {
            RouteError::UnknownTarget(target) => Failure {
                unknown_target: Some(target),
                ..failure
            },
            _ => failure,
        }
    }
}

impl From<UnknownTarget> for Failure {
    fn from(target: UnknownTarget) -> Failure {
        Failure {
            unknown_target: Some(target.clone()),
            ..Failure::new(ErrorKind::NotFound, target)
        }
    }
}

impl From<CodecError> for Failure {
    fn from(error: CodecError) -> Failure {
        Failure::new(error.kind(), error)
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Failure {
        Failure::new(error.kind(), error)
    }
}
