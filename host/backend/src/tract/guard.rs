//! Calls into tract that handle what others wrote: a panic in there becomes a value.
//!
//! tract reports most faults as errors, but indexes, unwraps and asserts on the way; a model file
//! or a request must not end more than itself.

use crate::one_line::one_line;
use crate::panic::panic_message;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tract_onnx::prelude::{TractError, TractResult};

/// Enough for an operator, a node and two shapes; tract's own texts can print whole nodes.
const MAX_REASON_CHARS: usize = 300;

/// How a call into tract failed. The texts are for the log.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// tract said no.
    Refused(String),
    /// An element of an input has a value that the graph must not take: a [`RefusedValue`] said so.
    Value(String),
    /// An operator that takes numbers of the request's refused, or panicked.
    Numbers(String),
    /// Others compute, and leave no memory: a [`NoMemory`] said so.
    NoMemory(String),
    /// A [`Cancelled`] came back.
    Cancelled,
    /// tract panicked.
    Panicked(String),
}

/// That an element's value is refused, which says nothing about the graph: with other values it computes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct RefusedValue(Cow<'static, str>);

/// That all computations together leave no memory for this one.
#[derive(Debug, thiserror::Error)]
#[error("other computations hold the memory that `{0}` needs")]
pub(super) struct NoMemory(pub(super) String);

/// That nobody waits for the computation any more.
#[derive(Debug, thiserror::Error)]
#[error("the computation was cancelled")]
pub(super) struct Cancelled;

impl RefusedValue {
    pub(super) fn new(reason: impl Into<Cow<'static, str>>) -> RefusedValue {
        RefusedValue(reason.into())
    }
}

impl Fault {
    /// The text, with a panic marked as one.
    pub(super) fn into_reason(self) -> String {
        match self {
            Fault::Refused(reason)
            | Fault::Value(reason)
            | Fault::Numbers(reason)
            | Fault::NoMemory(reason) => reason,
            Fault::Cancelled => Cancelled.to_string(),
            Fault::Panicked(message) => format!("panic: {message}"),
        }
    }
}

/// Call `f`, turning its error or panic into a [`Fault`].
///
/// Unwinding is safe to survive here: what `f` leaves half-done is dropped with it, and the model
/// it reads is not changed by computing.
pub(super) fn guarded<T>(f: impl FnOnce() -> TractResult<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault(&error)),
        Err(payload) => Err(Fault::Panicked(short(panic_message(&*payload)))),
    }
}

fn fault(error: &TractError) -> Fault {
    for link in error.chain() {
        if link.is::<RefusedValue>() {
            return Fault::Value(reason(error));
        }
        if link.is::<NoMemory>() {
            return Fault::NoMemory(reason(error));
        }
        if link.is::<Cancelled>() {
            return Fault::Cancelled;
        }
    }
    Fault::Refused(reason(error))
}

fn reason(error: &TractError) -> String {
    let links: Vec<String> = error.chain().map(ToString::to_string).collect();
    short(&links.join(": "))
}

/// One line of at most [`MAX_REASON_CHARS`].
fn short(text: &str) -> String {
    one_line(text, MAX_REASON_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_keeps_its_message() {
        let fault = guarded::<()>(|| panic!("axis {} of 3", 7)).unwrap_err();
        assert_eq!(fault, Fault::Panicked("axis 7 of 3".to_owned()));
        assert_eq!(fault.into_reason(), "panic: axis 7 of 3");
    }

    #[test]
    fn an_error_is_its_whole_chain_on_one_short_line() {
        let fault = guarded::<()>(|| Err(TractError::msg("inner\nline").context("outer")));
        assert_eq!(fault, Err(Fault::Refused("outer: inner line".to_owned())));
        let fault = guarded::<()>(|| Err(TractError::msg("é".repeat(400)))).unwrap_err();
        assert_eq!(fault.into_reason().chars().count(), MAX_REASON_CHARS + 1);
    }

    #[test]
    fn a_refused_value_is_known_in_whatever_context() {
        let error = TractError::new(RefusedValue::new("no text")).context("outer");
        let fault = guarded::<()>(|| Err(error));
        assert_eq!(fault, Err(Fault::Value("outer: no text".to_owned())));
    }
}
