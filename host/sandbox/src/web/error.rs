//! The error of a request to a web component.

use crate::backtrace::GuestBacktrace;
use crate::compute::ComputeError;
use crate::handler::HandlerError;
use crate::handler::store::handler_error;
use crate::instance::InstanceState;
use crate::limits::LimitError;
use std::time::Duration;
use wasmtime::component::ResourceTableError;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

/// The error of a request to a web component. The messages are for the log, unless they say otherwise.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The request cannot be passed to a component. The message is for the client.
    #[error("the request names no host")]
    NoHost,
    /// The component reached a limit other than that on its time. The message is for the client, too.
    #[error("the web component reached a limit: {limit}")]
    Limit {
        limit: String,
        #[source]
        functions: Option<GuestBacktrace>,
    },
    /// The component trapped.
    #[error("the web component failed: {reason}")]
    Failed {
        reason: String,
        #[source]
        functions: Option<GuestBacktrace>,
    },
    #[error(
        "the web component ran longer than {budget:?} (`limits.guest_time_milliseconds` in model.toml, up to the \
         server's `--max-handler-time-milliseconds`)"
    )]
    GuestTime {
        budget: Duration,
        #[source]
        functions: Option<GuestBacktrace>,
    },
    /// The component ended without a response.
    #[error("the web component returned without a response")]
    NoResponse,
    /// The component responded with an error instead of a response.
    #[error("the web component responded with the error {0}")]
    Declared(String),
    #[error("the deadline passed before the web component had ended")]
    Deadline,
    /// The component failed because a graph did not compute, which was not the fault of the component.
    #[error(transparent)]
    Compute(ComputeError),
    #[error("no free instance")]
    NoInstance,
    /// All instances together have used up the memory that requests may hold.
    #[error("the server's memory budget is used up")]
    NoMemory,
    #[error("the call was lost with its task")]
    Lost,
    #[error("the sandbox failed")]
    Host(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl WebError {
    /// Classifies an error that ended a call, with the state of its instance.
    pub(super) fn of_call(error: wasmtime::Error, state: &InstanceState) -> WebError {
        let functions = || GuestBacktrace::of(&error);
        if let Some(limit) = limit(&error, state.handle_limit) {
            return WebError::Limit {
                limit: limit.to_string(),
                functions: functions(),
            };
        }
        if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
            return WebError::Failed {
                reason: format!("it exited with status {status}"),
                functions: functions(),
            };
        }
        match handler_error(error, state.log.panic()) {
            HandlerError::GuestTime { budget, functions } => {
                WebError::GuestTime { budget, functions }
            }
            HandlerError::Deadline => WebError::Deadline,
            HandlerError::NoInstance => WebError::NoInstance,
            HandlerError::NoMemory => WebError::NoMemory,
            HandlerError::Failed { reason, functions } => match state.compute_error.clone() {
                Some(error) => WebError::Compute(error),
                None => WebError::Failed { reason, functions },
            },
            HandlerError::Host(error) => WebError::Host(error),
            other @ (HandlerError::Client(_)
            | HandlerError::Declared(_)
            | HandlerError::Compute(_)
            | HandlerError::Unprepared) => WebError::Host(Box::new(other)),
        }
    }

    /// Returns the error for a component that has responded with an error.
    pub(super) fn declared(code: &ErrorCode) -> WebError {
        WebError::Declared(crate::text::bounded(&format!("{code:?}")))
    }
}

/// Returns the limit that ended a call, apart from those on its time and on the memory of all instances.
fn limit(error: &wasmtime::Error, handles: usize) -> Option<LimitError> {
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Some(LimitError::Handles { limit: handles });
    }
    match error.downcast_ref::<LimitError>()? {
        LimitError::GuestTime { .. } | LimitError::Deadline | LimitError::Capacity => None,
        limit @ (LimitError::Memory { .. }
        | LimitError::Table { .. }
        | LimitError::InvalidTensors { .. }
        | LimitError::Handles { .. }) => Some(limit.clone()),
    }
}
