//! Calls into tract that process untrusted data; a panic in them is returned as a value.
//!
//! tract reports most faults as errors, but it also indexes, unwraps and asserts. A model file or a
//! request must not end more than itself.

use crate::panic::catch;
use crate::refusal::Refusal;
use std::borrow::Cow;
use tract_onnx::prelude::{TractError, TractResult};
use wisp_tensor::sanitize::shorten;

/// The maximum length of a message: enough for an operator, a node and two shapes. tract's own
/// messages can contain whole nodes.
const MAX_REASON_CHARS: usize = 300;

/// The failure of a call into tract. The messages are for the log.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum GuardError {
    /// tract returned an error.
    Refused(String),
    /// An element of an input has a value that the graph must not take, reported as a [`RefusedValue`].
    Value(Refusal),
    /// An operator returned an error on inputs of the request, or panicked on numbers among them.
    Inputs(Refusal),
    /// Other computations leave too little memory, reported as a [`NoMemory`].
    NoMemory(String),
    /// The computation was cancelled, reported as a [`Cancelled`].
    Cancelled,
    /// tract panicked.
    Panicked(String),
}

/// The error for a refused value of an element. The graph itself computes with other values.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct RefusedValue(Cow<'static, str>);

/// The error for a computation that does not get enough memory beside the others.
#[derive(Debug, thiserror::Error)]
#[error("other computations hold the memory that `{0}` needs")]
pub(super) struct NoMemory(pub(super) String);

/// The error for a computation that was cancelled.
#[derive(Debug, thiserror::Error)]
#[error("the computation was cancelled")]
pub(super) struct Cancelled;

impl RefusedValue {
    pub(super) fn new(reason: impl Into<Cow<'static, str>>) -> RefusedValue {
        RefusedValue(reason.into())
    }
}

impl GuardError {
    /// Returns the message, with a panic marked as one.
    pub(super) fn into_reason(self) -> String {
        match self {
            GuardError::Refused(reason) | GuardError::NoMemory(reason) => reason,
            GuardError::Value(refusal) | GuardError::Inputs(refusal) => refusal.reason,
            GuardError::Cancelled => Cancelled.to_string(),
            GuardError::Panicked(message) => format!("panic: {message}"),
        }
    }
}

/// Calls `f` and turns its error or panic into a [`GuardError`].
///
/// Catching the unwinding is safe here: everything that `f` leaves half done is dropped with it, and
/// computing does not change the model that it reads.
pub(super) fn guarded<T>(f: impl FnOnce() -> TractResult<T>) -> Result<T, GuardError> {
    match catch(f) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(classify(&error)),
        Err(message) => Err(GuardError::Panicked(short(&message))),
    }
}

fn classify(error: &TractError) -> GuardError {
    for link in error.chain() {
        if link.is::<RefusedValue>() {
            let refusal = Refusal::of_message(reason(error), &without_operators(error));
            return GuardError::Value(refusal);
        }
        if link.is::<NoMemory>() {
            return GuardError::NoMemory(reason(error));
        }
        if link.is::<Cancelled>() {
            return GuardError::Cancelled;
        }
    }
    GuardError::Refused(reason(error))
}

fn reason(error: &TractError) -> String {
    let links: Vec<String> = error.chain().map(ToString::to_string).collect();
    short(&links.join(": "))
}

/// Returns the message without tract's description of the operator, which names its own types.
pub(super) fn without_operators(error: &TractError) -> String {
    let links = error.chain().map(ToString::to_string);
    let links: Vec<String> = links
        .filter(|link| !link.starts_with("Evaluating "))
        .collect();
    short(&links.join(": "))
}

/// Returns `text` on one line of at most [`MAX_REASON_CHARS`].
fn short(text: &str) -> String {
    shorten(text, MAX_REASON_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_keeps_its_message() {
        let error = guarded::<()>(|| panic!("axis {} of 3", 7)).unwrap_err();
        let reason = error.into_reason();
        assert!(reason.starts_with("panic: axis 7 of 3 ("), "{reason}");
    }

    #[test]
    fn an_error_is_its_whole_chain_on_one_short_line() {
        let error = guarded::<()>(|| Err(TractError::msg("inner\nline").context("outer")));
        assert_eq!(
            error,
            Err(GuardError::Refused("outer: inner line".to_owned()))
        );
        let error = guarded::<()>(|| Err(TractError::msg("é".repeat(400)))).unwrap_err();
        assert_eq!(error.into_reason().chars().count(), MAX_REASON_CHARS);
    }

    #[test]
    fn a_refused_value_is_recognized_in_any_context() {
        let error = TractError::new(RefusedValue::new("no text"));
        let error = error
            .context("outer")
            .context("Evaluating #3 \"a\" OptScan");
        let expected = Refusal {
            reason: "Evaluating #3 \"a\" OptScan: outer: no text".to_owned(),
            explanation: "outer: no text".to_owned(),
        };
        let guarded = guarded::<()>(|| Err(error));
        assert_eq!(guarded, Err(GuardError::Value(expected)));
    }
}
