//! The error of backends and graphs.

#[cfg(feature = "onnx")]
use crate::refusal::Refusal;

/// The beginning of the reason for which a backend refuses operators that it does not have.
pub const MISSING_OPERATORS: &str = "operators not implemented";

/// The reason that a backend did not load or compute.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No backend has this name.
    #[error("there is no backend `{name}`, expected one of: {}", expected.join(", "))]
    Unknown {
        name: String,
        expected: Vec<&'static str>,
    },
    /// The backend or the requested device is missing on this machine; the reason contains how to install it.
    #[error("{backend} is not available: {reason}")]
    Unavailable {
        backend: &'static str,
        reason: String,
    },
    /// The file cannot be read.
    #[error("failed to read the model file")]
    Read(#[source] std::io::Error),
    /// This backend cannot serve the file; the reason names the operator or input at fault.
    #[error("{backend} cannot load the model: {reason}")]
    Load {
        backend: &'static str,
        reason: String,
    },
    /// These inputs cannot be computed although the signature allows them, for example because of sizes
    /// that an operator of the graph refuses. The reason is for the log and may contain internals; the
    /// explanation is for the client.
    #[error("{backend} refused the inputs: {reason}")]
    Inputs {
        backend: &'static str,
        reason: String,
        explanation: String,
    },
    /// There is not enough memory for this computation beside the running ones; a later attempt may succeed.
    #[error("{backend} has no memory for the computation now: {reason}")]
    Overloaded {
        backend: &'static str,
        reason: String,
    },
    /// The computation was cancelled before it was finished.
    #[error("the computation was cancelled")]
    Cancelled,
    /// The backend failed.
    #[error("{backend} failed: {reason}")]
    Compute {
        backend: &'static str,
        reason: String,
    },
}

impl BackendError {
    /// Returns the error of `backend` for inputs that it refuses.
    #[cfg(feature = "onnx")]
    pub(crate) fn refused(backend: &'static str, refusal: Refusal) -> BackendError {
        let Refusal {
            reason,
            explanation,
        } = refusal;
        BackendError::Inputs {
            backend,
            reason,
            explanation,
        }
    }

    /// Returns whether the error is about a backend or device that this machine or build does not have.
    pub fn is_unavailable(&self) -> bool {
        matches!(
            self,
            BackendError::Unavailable { .. } | BackendError::Unknown { .. }
        )
    }

    /// Returns the reason without the name of the backend.
    pub fn into_reason(self) -> String {
        match self {
            BackendError::Unavailable { reason, .. }
            | BackendError::Load { reason, .. }
            | BackendError::Inputs { reason, .. }
            | BackendError::Overloaded { reason, .. }
            | BackendError::Compute { reason, .. } => reason,
            BackendError::Unknown { .. } | BackendError::Read(_) | BackendError::Cancelled => {
                self.to_string()
            }
        }
    }
}
