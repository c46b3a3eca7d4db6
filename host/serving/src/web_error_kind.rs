//! The kind of a failure of a web component, for the counters of its version.
//!
//! It agrees with the conversion to [`crate::InferError`], which web components cannot use: it depends on the registry,
//! and the registry on them.

use wisp_protocol::error::ErrorKind;
use wisp_sandbox::compute::ComputeError;
use wisp_sandbox::web::WebError;

/// Returns the kind of the error.
pub(crate) fn web_error_kind(error: &WebError) -> ErrorKind {
    match error {
        WebError::NoHost => ErrorKind::InvalidRequest,
        WebError::Limit { .. }
        | WebError::Failed { .. }
        | WebError::NoResponse
        | WebError::Declared(_) => ErrorKind::Handler,
        WebError::GuestTime { .. } => ErrorKind::HandlerTimeout,
        WebError::Deadline => ErrorKind::DeadlineExceeded,
        WebError::Compute(error) => match error {
            ComputeError::Inputs { .. } => ErrorKind::InvalidRequest,
            ComputeError::Unprepared | ComputeError::Backend(_) => ErrorKind::Internal,
            ComputeError::Deadline => ErrorKind::DeadlineExceeded,
            // The others are a lack of capacity.
            _ => ErrorKind::Unavailable,
        },
        WebError::NoInstance | WebError::NoMemory => ErrorKind::Unavailable,
        WebError::Lost | WebError::Host(_) => ErrorKind::Internal,
    }
}
