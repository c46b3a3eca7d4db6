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
    /// The handler trapped, exceeded a limit or answered nonsense.
    Handler,
    /// No capacity now: queue or instances full, draining, or the model is not ready.
    Unavailable,
    /// The request's deadline, or the guest's CPU budget, has passed.
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
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
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

    /// The status in every gRPC dialect.
    pub fn grpc_code(self) -> GrpcCode {
        self.row().2
    }

    /// Whether the same request may succeed a little later (a `retry-after` goes with it).
    pub fn is_retryable(self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE
    }

    fn row(self) -> (Party, StatusCode, GrpcCode) {
        match self {
            ErrorKind::InvalidRequest => (
                Party::Client,
                StatusCode::BAD_REQUEST,
                GrpcCode::InvalidArgument,
            ),
            ErrorKind::NotFound => (Party::Client, StatusCode::NOT_FOUND, GrpcCode::NotFound),
            ErrorKind::MethodNotAllowed => (
                Party::Client,
                StatusCode::METHOD_NOT_ALLOWED,
                GrpcCode::Unimplemented,
            ),
            ErrorKind::TooLarge => (
                Party::Client,
                StatusCode::PAYLOAD_TOO_LARGE,
                GrpcCode::ResourceExhausted,
            ),
            ErrorKind::UnsupportedEncoding => (
                Party::Client,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                GrpcCode::Unimplemented,
            ),
            ErrorKind::NotImplemented => (
                Party::Client,
                StatusCode::NOT_IMPLEMENTED,
                GrpcCode::Unimplemented,
            ),
            ErrorKind::ClientTimeout => (
                Party::Client,
                StatusCode::REQUEST_TIMEOUT,
                GrpcCode::DeadlineExceeded,
            ),
            ErrorKind::Handler => (Party::Handler, StatusCode::BAD_GATEWAY, GrpcCode::Internal),
            ErrorKind::Unavailable => (
                Party::Capacity,
                StatusCode::SERVICE_UNAVAILABLE,
                GrpcCode::Unavailable,
            ),
            ErrorKind::DeadlineExceeded => (
                Party::Capacity,
                StatusCode::GATEWAY_TIMEOUT,
                GrpcCode::DeadlineExceeded,
            ),
            ErrorKind::Internal => (
                Party::Host,
                StatusCode::INTERNAL_SERVER_ERROR,
                GrpcCode::Internal,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_grpc_codes_are_those_of_the_wire() {
        for (kind, number) in [
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
}
