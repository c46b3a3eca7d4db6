//! The reasons that the size of a value cannot be determined.

use super::body::Step;
use rten_shape_inference::InferShapesError;

/// The reason that the sizes of an operator's outputs are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// They follow from values of the request.
    Values,
    /// The operator would fail, or is not followed in this form.
    Invalid(String),
    /// The operator fails on operands of these sizes, before it allocates its outputs.
    Fails(String),
}

impl Refusal {
    pub(super) fn invalid(reason: impl Into<String>) -> Refusal {
        Refusal::Invalid(reason.into())
    }

    pub(super) fn too_large() -> Refusal {
        Refusal::invalid("its result would have a size beyond 32 bits")
    }

    /// Returns the text of the error, which names the node.
    pub(super) fn describe(&self, step: &Step) -> String {
        let Step { name, operator, .. } = step;
        match self {
            Refusal::Values => {
                format!("the size of `{name}` ({operator}) follows from values of the request")
            }
            Refusal::Invalid(reason) | Refusal::Fails(reason) => {
                format!("`{name}` ({operator}): {reason}")
            }
        }
    }
}

impl From<InferShapesError> for Refusal {
    fn from(error: InferShapesError) -> Refusal {
        match error {
            InferShapesError::IncompatibleShapes | InferShapesError::IncorrectRank => {
                Refusal::Fails(error.to_string())
            }
            error => Refusal::Invalid(error.to_string()),
        }
    }
}
