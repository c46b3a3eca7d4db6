//! The errors of calls into rten, of which panics are one kind.

use crate::error::BackendError;
use crate::onnx::OperatorInputs;
use crate::panic::catch;
use crate::refusal::Refusal;
use wisp_tensor::sanitize::shorten;

pub(super) const NAME: &str = "rten";

/// The maximum length of a reason. rten's own messages may contain lists of shapes.
const MAX_REASON_CHARS: usize = 300;

/// The failure of a call into rten. The messages are for the log.
pub(super) enum Failure {
    /// rten returned an error.
    Refused(String),
    /// rten panicked.
    Panicked(String),
}

/// Calls `f` and turns its error or panic into a [`Failure`].
///
/// Catching the unwinding is safe here: everything that `f` leaves half done is dropped with it, and
/// computing does not change the model that it reads.
pub(super) fn guarded<T>(f: impl FnOnce() -> Result<T, String>) -> Result<T, Failure> {
    match catch(f) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(Failure::Refused(shorten(&reason, MAX_REASON_CHARS))),
        Err(message) => Err(Failure::Panicked(shorten(&message, MAX_REASON_CHARS))),
    }
}

impl Failure {
    /// Returns the message, with a panic marked as one.
    pub(super) fn into_reason(self) -> String {
        match self {
            Failure::Refused(reason) => reason,
            Failure::Panicked(message) => format!("panic: {message}"),
        }
    }
}

pub(super) fn load_error(reason: String) -> BackendError {
    BackendError::Load {
        backend: NAME,
        reason,
    }
}

pub(super) fn inputs_error(reason: String) -> BackendError {
    BackendError::refused(NAME, Refusal::new(reason))
}

/// Returns the error for a run that an operator has refused with this message.
pub(super) fn refused_run(message: String, operators: &OperatorInputs) -> BackendError {
    let refusal = match failed_operator(&message) {
        Some((name, said)) => {
            Refusal::of_message(message.clone(), said).at(&operators.find(name, ""))
        }
        None => Refusal::new(message),
    };
    BackendError::refused(NAME, refusal)
}

/// Returns the name of the innermost operator that failed, and its own message.
fn failed_operator(message: &str) -> Option<(&str, &str)> {
    let (_, rest) = message.rsplit_once("operator \"")?;
    let (name, said) = rest.split_once("\" failed: ")?;
    // The shapes of the inputs follow.
    let said = said
        .split_once(". Inputs were")
        .map_or(said, |(said, _)| said);
    Some((name, said))
}
