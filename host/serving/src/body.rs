//! The reasons that the body of a request could not be read.

use wisp_protocol::content_coding::Coding;

/// The reason that a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {limit} bytes, the limit that --max-body-bytes sets")]
    TooLarge { limit: usize },
    #[error("the server's memory for requests is exhausted; try again")]
    NoRoom,
    #[error("too many request bodies are arriving, and this one has waited the longest; try again")]
    Evicted,
    #[error("the server has no thread free to inflate the body; try again")]
    NoThread,
    #[error("the body did not arrive in time")]
    Timeout,
    #[error(
        "the server is shutting down and the body has not arrived; send the request to another one"
    )]
    Draining,
    #[error("the client has disconnected")]
    Disconnected,
    #[error("the HTTP framing of the body is invalid")]
    Malformed,
    #[error("the body is not exactly one complete {0} stream, as its content encoding requires")]
    NotInCoding(Coding),
}
