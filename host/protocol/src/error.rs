//! The single table that maps an error kind to its status in each protocol.
//!
//! Kinds are independent of the transport and grouped by the party that has to act: the client, the
//! handler author, the operator (for capacity) or this server. The match has no wildcard, so a new kind
//! does not compile until its statuses are chosen.

use http::StatusCode;

/// The category of an error, as finely as clients need to distinguish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A shape, datatype, length or JSON error: the request can never succeed unchanged.
    InvalidRequest,
    /// An unknown model, version or route.
    NotFound,
    /// A request without a valid key, on a server that requires one.
    Unauthenticated,
    /// A valid request that this client may not make.
    Forbidden,
    /// An existing route called with a method it does not have.
    MethodNotAllowed,
    /// A valid request that contradicts the state of the server: a version that exists already.
    Conflict,
    /// More bytes than the limit allows.
    TooLarge,
    /// A content encoding that the server does not decode.
    UnsupportedEncoding,
    /// A part of the protocol that the server does not implement.
    NotImplemented,
    /// The client did not send its request in time.
    ClientTimeout,
    /// The client disconnected; the status appears only in the log.
    ClientGone,
    /// The handler trapped, exceeded a limit or returned an invalid result.
    Handler,
    /// The handler's own code exceeded its time limit.
    HandlerTimeout,
    /// The client has exhausted its quota, independently of the server's capacity.
    OverQuota,
    /// No capacity at the moment: a queue or all instances are full, the server is draining, or the model
    /// is not ready.
    Unavailable,
    /// No room for another file, model or version in the repository.
    StorageFull,
    /// The request's deadline has passed.
    DeadlineExceeded,
    /// A failure of a backend or of the server itself.
    Internal,
}

/// An error with a kind, which determines its status in each protocol. Its text is for the client.
pub trait HasErrorKind: std::error::Error {
    /// Returns the kind of the error.
    fn kind(&self) -> ErrorKind;
}

/// The party that has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    Client,
    Handler,
    Capacity,
    Host,
}

/// The gRPC codes that the server returns, with their numbers on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum GrpcCode {
    Cancelled = 1,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl GrpcCode {
    /// Returns the value of the `grpc-status` trailer.
    pub fn number(self) -> i32 {
        self as i32
    }
}

impl ErrorKind {
    /// All kinds, in the order of their definition.
    pub const ALL: [ErrorKind; 18] = [
        ErrorKind::InvalidRequest,
        ErrorKind::NotFound,
        ErrorKind::Unauthenticated,
        ErrorKind::Forbidden,
        ErrorKind::MethodNotAllowed,
        ErrorKind::Conflict,
        ErrorKind::TooLarge,
        ErrorKind::UnsupportedEncoding,
        ErrorKind::NotImplemented,
        ErrorKind::ClientTimeout,
        ErrorKind::ClientGone,
        ErrorKind::Handler,
        ErrorKind::HandlerTimeout,
        ErrorKind::OverQuota,
        ErrorKind::Unavailable,
        ErrorKind::StorageFull,
        ErrorKind::DeadlineExceeded,
        ErrorKind::Internal,
    ];

    /// Returns the party that has to act; it determines the level of the log line.
    pub fn party(self) -> Party {
        self.row().0
    }

    /// Returns the HTTP status in V2 and the other REST protocols of KServe and Triton.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// Returns the HTTP status in TF Serving's protocol.
    pub fn tfs_status(self) -> StatusCode {
        self.row().2
    }

    /// Returns the status in every gRPC protocol.
    pub fn grpc_code(self) -> GrpcCode {
        self.row().3
    }

    /// Returns whether the same request may succeed later. The response then carries `retry-after`.
    pub fn is_retryable(self) -> bool {
        matches!(
            self.status(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        )
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
            ErrorKind::Unauthenticated => {
                let status = S::UNAUTHORIZED;
                (P::Client, status, status, G::Unauthenticated)
            }
            ErrorKind::Forbidden => (P::Client, S::FORBIDDEN, S::FORBIDDEN, G::PermissionDenied),
            ErrorKind::MethodNotAllowed => {
                let status = S::METHOD_NOT_ALLOWED;
                (P::Client, status, status, G::Unimplemented)
            }
            ErrorKind::Conflict => (P::Client, S::CONFLICT, S::CONFLICT, G::AlreadyExists),
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
            ErrorKind::OverQuota => {
                let status = S::TOO_MANY_REQUESTS;
                (P::Capacity, status, status, G::ResourceExhausted)
            }
            ErrorKind::Unavailable => {
                let status = S::SERVICE_UNAVAILABLE;
                (P::Capacity, status, status, G::Unavailable)
            }
            ErrorKind::StorageFull => {
                let status = S::INSUFFICIENT_STORAGE;
                (P::Capacity, status, status, G::ResourceExhausted)
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

/// nginx's non-standard status 499 for a client that closed the connection.
fn client_gone() -> StatusCode {
    StatusCode::from_u16(499).expect("it lies between 100 and 999")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_are_in_the_order_of_their_definition() {
        for (position, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position);
        }
        assert_eq!(ErrorKind::ALL.len(), ErrorKind::Internal as usize + 1);
    }

    #[test]
    fn grpc_codes_have_their_numbers_on_the_wire() {
        for (kind, number) in [
            (ErrorKind::ClientGone, 1),
            (ErrorKind::InvalidRequest, 3),
            (ErrorKind::DeadlineExceeded, 4),
            (ErrorKind::NotFound, 5),
            (ErrorKind::Conflict, 6),
            (ErrorKind::StorageFull, 8),
            (ErrorKind::TooLarge, 8),
            (ErrorKind::OverQuota, 8),
            (ErrorKind::NotImplemented, 12),
            (ErrorKind::UnsupportedEncoding, 12),
            (ErrorKind::Handler, 13),
            (ErrorKind::Internal, 13),
            (ErrorKind::Unavailable, 14),
            (ErrorKind::Unauthenticated, 16),
        ] {
            assert_eq!(kind.grpc_code().number(), number, "{kind:?}");
        }
    }

    #[test]
    fn a_quota_and_the_capacity_are_told_apart_and_both_may_be_tried_again() {
        for (kind, status) in [(ErrorKind::OverQuota, 429), (ErrorKind::Unavailable, 503)] {
            assert_eq!(kind.status().as_u16(), status);
            assert_eq!(kind.tfs_status().as_u16(), status);
            assert_eq!(kind.party(), Party::Capacity);
            assert!(kind.is_retryable());
        }
        assert!(!ErrorKind::TooLarge.is_retryable());
    }

    #[test]
    fn tf_serving_reports_a_handler_failure_as_500() {
        assert_eq!(ErrorKind::Handler.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(
            ErrorKind::Handler.tfs_status(),
            StatusCode::INTERNAL_SERVER_ERROR
        );
        let kind = ErrorKind::HandlerTimeout;
        assert_eq!(kind.tfs_status(), kind.status());
    }
}
