//! The errors of this backend.

use crate::error::BackendError;
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
    BackendError::Inputs {
        backend: NAME,
        reason,
    }
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
