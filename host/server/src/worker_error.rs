//! The reasons that the worker process of a tenant does not answer a request.

use std::time::Duration;

/// The reason that a worker process does not answer. None is the fault of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error(
        "the requests of this tenant are answered by a worker process, and this server starts none; the operator must \
         use `wisp serve`"
    )]
    NoWorkers,
    #[error(
        "the host could not start the worker process of this tenant; the operator finds the reason in the log of the \
         server"
    )]
    NotStarted,
    #[error(
        "the worker process of this tenant has ended several times; the host starts it again in {} s",
        wait.as_secs().saturating_add(1)
    )]
    Pausing { wait: Duration },
    #[error(
        "the worker process of this tenant ended before it answered; the host starts it again with the next request"
    )]
    Ended,
}

impl WorkerError {
    /// Returns the time after which the request may succeed, if it is known.
    pub(crate) fn retry_after(self) -> Option<Duration> {
        match self {
            WorkerError::Pausing { wait } => Some(wait),
            WorkerError::NoWorkers | WorkerError::NotStarted | WorkerError::Ended => None,
        }
    }
}
