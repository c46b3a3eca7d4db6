//! Why a request gets no answer of its own, as this crate sees it.
//!
//! Joins what the crates below report with what is refused right here. Each has one text for the
//! client and one, with its causes, for the log.

use wisp_protocol::content_coding::ContentCodingError;
use wisp_protocol::error::ErrorKind;
use wisp_protocol::route::RouteError;

/// A refused or failed request. Lifetime: one request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("an HTTP/1.1 request names its host exactly once")]
    Host,
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    ContentCoding(#[from] ContentCodingError),
    #[error(transparent)]
    Serving(#[from] wisp_serving::InferError),
    /// With what the panic said.
    #[error("a panic: {0}")]
    Panic(String),
}

impl Failure {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Failure::Host => ErrorKind::InvalidRequest,
            Failure::Route(error) => error.kind(),
            Failure::ContentCoding(error) => error.kind(),
            Failure::Serving(error) => error.kind(),
            Failure::Panic(_) => ErrorKind::Internal,
        }
    }

    /// What the client is told.
    pub(crate) fn client_message(&self) -> String {
        match self {
            Failure::Host | Failure::Route(_) | Failure::ContentCoding(_) => self.to_string(),
            Failure::Serving(error) => error.client_message().to_string(),
            Failure::Panic(_) => "the server failed".to_owned(),
        }
    }

    /// The methods that the route takes, when that is what was wrong.
    pub(crate) fn allow(&self) -> Option<&'static str> {
        match self {
            Failure::Route(error) => error.allow(),
            Failure::Host | Failure::ContentCoding(_) | Failure::Serving(_) | Failure::Panic(_) => {
                None
            }
        }
    }
}
