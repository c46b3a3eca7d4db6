//! The one table from the kind of an error to its status in each dialect.
//!
//! Kinds are transport-neutral and sorted by who has to act: the client, the author of the handler,
//! the operator for capacity, or us. The match has no wildcard: a new kind does not compile until
//! somebody decides what clients see.

use http::StatusCode;

/// What went wrong, as far as a client needs to tell cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Shape, datatype, JSON, lengths: the request can never succeed as it is.
    InvalidRequest,
    /// No such model, version or route.
    NotFound,
    /// Understood, and not for this client.
    Forbidden,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// More bytes than the limit allows.
    TooLarge,
    /// A content encoding we do not read.
    UnsupportedEncoding,
    /// A part of the protocol we do not speak.
    NotImplemented,
    /// The client did not send its request in time.
    ClientTimeout,
    /// The client went away; only the log gets to see the status.
    ClientGone,
    /// The handler trapped, exceeded a limit or answered nonsense.
    Handler,
    /// The handler's own code ran longer than it may.
    HandlerTimeout,
    /// No capacity now: queue or instances full, draining, or the model is not ready.
    Unavailable,
    /// The request's deadline has passed.
    DeadlineExceeded,
    /// A backend failed, or we did.
    Internal,
}

/// Who has to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    Client,
    Handler,
    Capacity,
    Host,
}

/// The codes of gRPC that our errors have, with their numbers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum GrpcCode {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

impl GrpcCode {
    /// The value of the trailer `grpc-status`.
    pub fn number(self) -> i32 {
        self as i32
    }
}

impl ErrorKind {
    /// Who has to change something; decides the level of the log line.
    pub fn party(self) -> Party {
        self.row().0
    }

    /// The HTTP status in V2 and the other REST dialects of KServe and Triton.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// The HTTP status in TF Serving's dialect.
    pub fn tfs_status(self) -> StatusCode {
        self.row().2
    }

    /// The status in every gRPC dialect.
    pub fn grpc_code(self) -> GrpcCode {
        self.row().3
    }

    /// Whether the same request may succeed a little later (a `retry-after` goes with it).
    pub fn is_retryable(self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE
    }

    fn row(self) -> (Party, StatusCode, StatusCode, GrpcCode) {
        use GrpcCode as G;
        use Party as P;
        use StatusCode as S;
        match self {
            ErrorKind::InvalidRequest => (
                P::Client,
                S::BAD_REQUEST,
                S::BAD_REQUEST,
                G::InvalidArgument,
            ),
            ErrorKind::NotFound => (P::Client, S::NOT_FOUND, S::NOT_FOUND, G::NotFound),
            ErrorKind::Forbidden => (P::Client, S::FORBIDDEN, S::FORBIDDEN, G::PermissionDenied),
            ErrorKind::MethodNotAllowed => {
                let status = S::METHOD_NOT_ALLOWED;
                (P::Client, status, status, G::Unimplemented)
            }
            ErrorKind::TooLarge => {
                let status = S::PAYLOAD_TOO_LARGE;
                (P::Client, status, status, G::ResourceExhausted)
            }
            ErrorKind::UnsupportedEncoding => {
                let status = S::UNSUPPORTED_MEDIA_TYPE;
                (P::Client, status, status, G::Unimplemented)
            }
            ErrorKind::NotImplemented => {
                let status = S::NOT_IMPLEMENTED;
                (P::Client, status, status, G::Unimplemented)
            }
            ErrorKind::ClientTimeout => {
                let status = S::REQUEST_TIMEOUT;
                (P::Client, status, status, G::DeadlineExceeded)
            }
            ErrorKind::ClientGone => (P::Client, client_gone(), client_gone(), G::Cancelled),
            ErrorKind::Handler => (
                P::Handler,
                S::BAD_GATEWAY,
                S::INTERNAL_SERVER_ERROR,
                G::Internal,
            ),
            ErrorKind::HandlerTimeout => {
                let status = S::GATEWAY_TIMEOUT;
                (P::Handler, status, status, G::DeadlineExceeded)
            }
            ErrorKind::Unavailable => {
                let status = S::SERVICE_UNAVAILABLE;
                (P::Capacity, status, status, G::Unavailable)
            }
            ErrorKind::DeadlineExceeded => {
                let status = S::GATEWAY_TIMEOUT;
                (P::Capacity, status, status, G::DeadlineExceeded)
            }
            ErrorKind::Internal => {
                let status = S::INTERNAL_SERVER_ERROR;
                (P::Host, status, status, G::Internal)
            }
        }
    }
}

/// nginx's status for a client that did not wait, which no standard has.
fn client_gone() -> StatusCode {
    StatusCode::from_u16(499).expect("it lies between 100 and 999")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_grpc_codes_are_those_of_the_wire() {
        for (kind, number) in [
            (ErrorKind::ClientGone, 1),
            (ErrorKind::InvalidRequest, 3),
            (ErrorKind::DeadlineExceeded, 4),
            (ErrorKind::NotFound, 5),
            (ErrorKind::TooLarge, 8),
            (ErrorKind::NotImplemented, 12),
            (ErrorKind::UnsupportedEncoding, 12),
            (ErrorKind::Handler, 13),
            (ErrorKind::Internal, 13),
            (ErrorKind::Unavailable, 14),
        ] {
            assert_eq!(kind.grpc_code().number(), number, "{kind:?}");
        }
    }

    #[test]
    fn a_handlers_failure_is_the_one_status_that_tf_serving_has_otherwise() {
        assert_eq!(ErrorKind::Handler.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(
            ErrorKind::Handler.tfs_status(),
            StatusCode::INTERNAL_SERVER_ERROR
        );
        let kind = ErrorKind::HandlerTimeout;
        assert_eq!(kind.tfs_status(), kind.status());
    }
}
