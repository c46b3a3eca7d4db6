//! The errors of wasi:nn, with the codes and texts that Wisp's host has.

use wisp_backend::BackendError;

/// The code of an error, of those that this crate returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCode {
    /// The inputs are wrong.
    InvalidArgument,
    /// There is no graph of that name.
    NotFound,
    /// The backend failed.
    RuntimeError,
    /// An operation that exists in other hosts.
    UnsupportedOperation,
}

/// An error of wasi:nn. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub code: FailureCode,
    /// One sentence for the handler.
    pub text: String,
    /// The cause, for the log, if the text does not contain it.
    pub cause: Option<String>,
}

impl Failure {
    /// Returns the error for arguments that are wrong for this reason.
    pub fn invalid(reason: impl std::fmt::Display) -> Failure {
        Failure::new(FailureCode::InvalidArgument, reason.to_string())
    }

    /// Returns the error for a name that no graph has.
    pub fn unknown_graph() -> Failure {
        let text = "this version has no graph of that name";
        Failure::new(FailureCode::NotFound, text.to_owned())
    }

    /// Returns the error for a graph that a handler brings itself.
    pub fn load() -> Failure {
        let text = "graphs are loaded by name only";
        Failure::new(FailureCode::UnsupportedOperation, text.to_owned())
    }

    /// Returns the error for an output of a type that wasi:nn does not have.
    pub fn output_type(name: &str) -> Failure {
        let text = format!("output `{name}` has a type that wasi:nn does not support");
        Failure::new(FailureCode::UnsupportedOperation, text)
    }

    fn new(code: FailureCode, text: String) -> Failure {
        Failure {
            code,
            text,
            cause: None,
        }
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Failure {
        match error {
            BackendError::Inputs { explanation, .. } => Failure::invalid(format_args!(
                "the graph cannot compute these inputs: {explanation}"
            )),
            error => Failure {
                cause: Some(error.to_string()),
                ..Failure::new(FailureCode::RuntimeError, "the backend failed".to_owned())
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_learns_why_inputs_are_refused_and_no_internals() {
        let refused = Failure::from(BackendError::Inputs {
            backend: "rten",
            reason: "internals".to_owned(),
            explanation: "`x` is too large".to_owned(),
        });
        assert_eq!(refused.code, FailureCode::InvalidArgument);
        let expected = "the graph cannot compute these inputs: `x` is too large";
        assert_eq!(refused.text, expected);
        let failed = Failure::from(BackendError::Compute {
            backend: "rten",
            reason: "internals".to_owned(),
        });
        assert_eq!(failed.code, FailureCode::RuntimeError);
        assert_eq!(failed.text, "the backend failed");
        assert_eq!(failed.cause.as_deref(), Some("rten failed: internals"));
    }
}
