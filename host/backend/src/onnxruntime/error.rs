//! The errors of this backend.

use crate::error::BackendError;
use crate::onnx::OperatorInputs;
use crate::refusal::Refusal;
use wisp_tensor::sanitize::shorten;

/// The name of the backend.
pub(super) const NAME: &str = "onnxruntime";

pub(super) fn load_error(reason: String) -> BackendError {
    BackendError::Load {
        backend: NAME,
        reason,
    }
}

pub(super) fn failed_load(error: ort::Error) -> BackendError {
    load_error(short(error.message()))
}

pub(super) fn inputs_error(reason: String) -> BackendError {
    BackendError::refused(NAME, Refusal::new(reason))
}

/// Returns the error for a run that an operator has refused with this message.
pub(super) fn refused_run(message: &str, operators: &OperatorInputs) -> BackendError {
    let refusal = match failed_operator(message) {
        Some((kind, name, said)) => {
            Refusal::of_message(short(message), said).at(&operators.find(name, kind))
        }
        None => Refusal::new(short(message)),
    };
    BackendError::refused(NAME, refusal)
}

/// Returns the kind and the name of the innermost operator that failed, and its own message.
fn failed_operator(message: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = message.rsplit_once("while running ")?;
    let (kind, rest) = rest.split_once(" node. Name:'")?;
    let (name, said) = rest.split_once("' Status Message: ")?;
    Some((kind, name, said))
}

pub(super) fn compute_error(reason: String) -> BackendError {
    BackendError::Compute {
        backend: NAME,
        reason,
    }
}

/// Shortens a message of the library. Messages span lines and may contain whole shapes and paths of its sources.
pub(super) fn short(text: &str) -> String {
    const MAX_CHARS: usize = 400;
    shorten(text, MAX_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_innermost_operator() {
        let message = "Non-zero status code returned while running Loop node. Name:'outer' Status Message: \
            Non-zero status code returned while running Gather node. Name:'look_up' Status Message: indices \
            element out of data bounds, idx=3 must be within the inclusive range [-3,2]";
        match refused_run(message, &OperatorInputs::default()) {
            BackendError::Inputs {
                reason,
                explanation,
                ..
            } => {
                let expected = "`look_up` (Gather): an index is out of range (indices element out of data \
                    bounds, idx=3 must be within the inclusive range [-3,2])";
                assert_eq!(explanation, expected);
                assert!(reason.contains("Name:'outer'"), "{reason}");
            }
            other => panic!("{other}"),
        }
    }
}
