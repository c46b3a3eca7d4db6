//! The error of a handler call.

use crate::backtrace::GuestBacktrace;
use crate::compute::ComputeError;
use std::time::Duration;

/// The error of a handler call.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The handler reports a fault of the request. The handler wrote the text for the client; it is cut
    /// to one line.
    #[error("{0}")]
    Client(String),
    /// The handler reports a fault of its own. The handler wrote the text for the client; it is cut to
    /// one line.
    #[error("{0}")]
    Declared(String),
    /// The handler trapped, reached a limit, or returned an invalid response. For the log.
    #[error("the handler failed: {reason}")]
    Failed {
        reason: String,
        #[source]
        functions: Option<GuestBacktrace>,
    },
    #[error(
        "the handler ran longer than {budget:?} (`limits.guest_time_milliseconds` in model.toml, up to the \
         server's `--max-handler-time-milliseconds`)"
    )]
    GuestTime {
        budget: Duration,
        #[source]
        functions: Option<GuestBacktrace>,
    },
    #[error("the deadline passed during the call")]
    Deadline,
    /// The handler failed because a graph did not compute, which was not the handler's fault.
    #[error(transparent)]
    Compute(ComputeError),
    #[error("no free instance")]
    NoInstance,
    /// All instances together have used up the memory that requests may hold.
    #[error("the server's memory budget is used up")]
    NoMemory,
    /// The call cannot be made inline now: a graph has not been prepared for inputs of these sizes.
    #[error("a graph is not prepared for inputs of these sizes")]
    Unprepared,
    #[error("the sandbox failed")]
    Host(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl HandlerError {
    /// Creates the error for a handler that has returned something invalid.
    pub(super) fn invalid(reason: impl std::fmt::Display) -> HandlerError {
        HandlerError::Failed {
            reason: reason.to_string(),
            functions: None,
        }
    }
}
