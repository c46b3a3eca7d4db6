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

impl ErrorKind {
    /// Who has to change something; decides the level of the log line.
    pub fn party(self) -> Party {
        self.row().0
    }

    /// The HTTP status in V2 and the other REST dialects of KServe and Triton.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// Whether the same request may succeed a little later (a `retry-after` goes with it).
    pub fn is_retryable(self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE
    }

    fn row(self) -> (Party, StatusCode) {
        match self {
            ErrorKind::InvalidRequest => (Party::Client, StatusCode::BAD_REQUEST),
            ErrorKind::NotFound => (Party::Client, StatusCode::NOT_FOUND),
            ErrorKind::MethodNotAllowed => (Party::Client, StatusCode::METHOD_NOT_ALLOWED),
            ErrorKind::TooLarge => (Party::Client, StatusCode::PAYLOAD_TOO_LARGE),
            ErrorKind::UnsupportedEncoding => (Party::Client, StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ErrorKind::NotImplemented => (Party::Client, StatusCode::NOT_IMPLEMENTED),
            ErrorKind::ClientTimeout => (Party::Client, StatusCode::REQUEST_TIMEOUT),
            ErrorKind::ClientGone => (Party::Client, client_gone()),
            ErrorKind::Handler => (Party::Handler, StatusCode::BAD_GATEWAY),
            ErrorKind::HandlerTimeout => (Party::Handler, StatusCode::GATEWAY_TIMEOUT),
            ErrorKind::Unavailable => (Party::Capacity, StatusCode::SERVICE_UNAVAILABLE),
            ErrorKind::DeadlineExceeded => (Party::Capacity, StatusCode::GATEWAY_TIMEOUT),
            ErrorKind::Internal => (Party::Host, StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// nginx's status for a client that did not wait, which no standard has.
fn client_gone() -> StatusCode {
    StatusCode::from_u16(499).expect("it lies between 100 and 999")
}
