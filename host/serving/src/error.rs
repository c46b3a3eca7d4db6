//! The error type of [`crate::infer()`]: a kind, a message for the client and a cause for the log.
//!
//! Every failing operation has its own error type; this module assigns each of them a kind. The message for
//! the client contains only names that the client sent; causes are reported by `source()`, for the log.

use crate::admission::AdmissionError;
use crate::body::BodyError;
use crate::call_error::CallError;
use crate::expected_wait::WouldMissDeadline;
use crate::memory_pressure::ShortOfMemory;
use crate::model_control::ControlError;
use crate::quota::OverQuota;
use crate::registry::ResolveError;
use crate::uploads::upload_error::UploadError;
use std::sync::Arc;
use std::time::Duration;
use wisp_protocol::codec::CodecError;
use wisp_protocol::error::{ErrorKind, HasErrorKind};
use wisp_protocol::target::UnknownTarget;
use wisp_sandbox::compute::ComputeError;
use wisp_sandbox::handler::HandlerError;
use wisp_sandbox::web::WebError;

/// A refused or failed inference.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct InferError {
    kind: ErrorKind,
    message: String,
    /// The model or version that does not exist, for protocols with texts of their own.
    unknown_target: Option<UnknownTarget>,
    /// The time after which the same request may succeed, if it is known.
    retry_after: Option<Duration>,
    /// Shared by the requests that wait for one computation.
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl InferError {
    pub(crate) fn plain(kind: ErrorKind, message: impl std::fmt::Display) -> InferError {
        InferError {
            kind,
            message: message.to_string(),
            unknown_target: None,
            retry_after: None,
            source: None,
        }
    }

    fn caused(
        kind: ErrorKind,
        message: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> InferError {
        let source: Box<dyn std::error::Error + Send + Sync> = source.into();
        InferError {
            kind,
            message: message.to_owned(),
            unknown_target: None,
            retry_after: None,
            source: Some(Arc::from(source)),
        }
    }

    /// Returns the error for a failure of the server itself. The cause is for the log only.
    pub(crate) fn host(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> InferError {
        InferError::caused(ErrorKind::Internal, "the server failed", source)
    }

    /// Returns the kind of the error, which is as fine as clients distinguish errors.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the message for the client.
    pub fn client_message(&self) -> &str {
        &self.message
    }

    /// Returns the time after which the same request may succeed, if it is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the model or version that the client named and that does not exist, if that is the failure.
    pub fn unknown_target(&self) -> Option<&UnknownTarget> {
        self.unknown_target.as_ref()
    }
}

impl From<AdmissionError> for InferError {
    fn from(error: AdmissionError) -> InferError {
        InferError::plain(ErrorKind::Unavailable, error)
    }
}

impl From<ShortOfMemory> for InferError {
    fn from(error: ShortOfMemory) -> InferError {
        InferError::plain(ErrorKind::Unavailable, error)
    }
}

impl From<OverQuota> for InferError {
    fn from(error: OverQuota) -> InferError {
        InferError {
            retry_after: error.retry_after,
            ..InferError::plain(error.kind(), error)
        }
    }
}

impl From<ResolveError> for InferError {
    fn from(error: ResolveError) -> InferError {
        let kind = match error {
            ResolveError::UnknownModel { .. }
            | ResolveError::UnknownVersion { .. }
            | ResolveError::UnknownLabel { .. }
            | ResolveError::Unloaded { .. }
            | ResolveError::AmbiguousModel { .. } => ErrorKind::NotFound,
            ResolveError::Dormant { .. } | ResolveError::Unavailable { .. } => {
                ErrorKind::Unavailable
            }
        };
        InferError {
            unknown_target: error.unknown_target(),
            ..InferError::plain(kind, error)
        }
    }
}

impl From<BodyError> for InferError {
    fn from(error: BodyError) -> InferError {
        let kind = match error {
            BodyError::TooLarge { .. } => ErrorKind::TooLarge,
            BodyError::NoRoom | BodyError::Evicted | BodyError::NoThread | BodyError::Draining => {
                ErrorKind::Unavailable
            }
            BodyError::Timeout => ErrorKind::ClientTimeout,
            BodyError::Disconnected => ErrorKind::ClientGone,
            BodyError::Malformed | BodyError::NotInCoding(_) => ErrorKind::InvalidRequest,
        };
        InferError::plain(kind, error)
    }
}

impl From<ControlError> for InferError {
    fn from(error: ControlError) -> InferError {
        let kind = match error {
            ControlError::Disabled
            | ControlError::Failed { .. }
            | ControlError::Releasing { .. }
            | ControlError::Release { .. } => ErrorKind::InvalidRequest,
            ControlError::NoRoom {
                is_of_tenant: true, ..
            } => ErrorKind::OverQuota,
            ControlError::Polling
            | ControlError::NoRoom { .. }
            | ControlError::StillLoading { .. }
            | ControlError::ShortOfMemory(_) => ErrorKind::Unavailable,
            ControlError::TooManyModels { .. } => ErrorKind::OverQuota,
            ControlError::Forbidden => ErrorKind::Forbidden,
            ControlError::UnknownModel { .. } | ControlError::NoRelease { .. } => {
                ErrorKind::NotFound
            }
            ControlError::Upload(error) => return error.into(),
            ControlError::Storage(_) | ControlError::ReleaseState(_) | ControlError::Lost => {
                ErrorKind::Internal
            }
        };
        let unknown_target = match &error {
            ControlError::UnknownModel { model } => Some(UnknownTarget::model(model)),
            _ => None,
        };
        let plain = InferError::plain(kind, &error);
        InferError {
            unknown_target,
            source: match error {
                // The cause contains a path, which is for the log.
                ControlError::Storage(cause) | ControlError::ReleaseState(cause) => {
                    Some(Arc::new(cause))
                }
                _ => None,
            },
            ..plain
        }
    }
}

impl From<UploadError> for InferError {
    fn from(error: UploadError) -> InferError {
        let plain = InferError::plain(error.kind(), &error);
        InferError {
            source: match error {
                // The cause may contain a path, which is for the log.
                UploadError::Io(cause) | UploadError::DiskFull(cause) => Some(Arc::new(cause)),
                _ => None,
            },
            ..plain
        }
    }
}

impl From<CodecError> for InferError {
    fn from(error: CodecError) -> InferError {
        InferError::plain(error.kind(), error)
    }
}

impl From<CallError> for InferError {
    fn from(error: CallError) -> InferError {
        match error {
            CallError::Request(reason) => InferError::plain(ErrorKind::InvalidRequest, reason),
            CallError::Kind(reason) => InferError::plain(ErrorKind::InvalidRequest, reason),
            CallError::Admission(error) => error.into(),
            CallError::WouldMissDeadline(error) => InferError::plain(ErrorKind::Unavailable, error),
            CallError::Compute(error) => error.into(),
            CallError::Handler(error) => error.into(),
            CallError::Web(error) => error.into(),
            CallError::HandlerOutputs(reason) => InferError::caused(
                ErrorKind::Handler,
                "the model's handler returned outputs that do not match its signature",
                reason,
            ),
            CallError::GraphOutputs(reason) => InferError::caused(
                ErrorKind::Internal,
                "the model computed outputs that do not match its signature",
                reason,
            ),
            CallError::InputRule(_) => InferError::plain(ErrorKind::InvalidRequest, error),
            CallError::HandlerOutputRule(reason) => InferError::caused(
                ErrorKind::Handler,
                "the model's handler returned an output outside of the range that the model declares",
                reason,
            ),
            CallError::GraphOutputRule(reason) => InferError::caused(
                ErrorKind::Internal,
                "the model computed an output outside of the range that it declares",
                reason,
            ),
        }
    }
}

impl From<ComputeError> for InferError {
    fn from(error: ComputeError) -> InferError {
        match error {
            ComputeError::Inputs {
                ref explanation, ..
            } => {
                let message = format!("the model cannot compute these inputs: {explanation}");
                InferError::caused(ErrorKind::InvalidRequest, &message, error)
            }
            ComputeError::QueueFull => InferError::plain(
                ErrorKind::Unavailable,
                "the model's queue is full; try again later",
            ),
            ComputeError::QueueTimeout => InferError::plain(
                ErrorKind::Unavailable,
                "the request waited in the model's queue for longer than its timeout; try again later",
            ),
            ComputeError::WouldMissDeadline => {
                InferError::plain(ErrorKind::Unavailable, WouldMissDeadline)
            }
            ComputeError::NoMemory => InferError::plain(
                ErrorKind::Unavailable,
                "the running computations leave too little memory for this one; try again later",
            ),
            ComputeError::Deadline => InferError::plain(
                ErrorKind::DeadlineExceeded,
                "the deadline passed before the model's computation ended",
            ),
            ComputeError::Unprepared | ComputeError::Backend(_) => {
                InferError::caused(ErrorKind::Internal, "the model failed to compute", error)
            }
        }
    }
}

impl From<HandlerError> for InferError {
    fn from(error: HandlerError) -> InferError {
        match error {
            HandlerError::Client(text) => InferError::plain(ErrorKind::InvalidRequest, text),
            HandlerError::Declared(text) => InferError::plain(ErrorKind::Handler, text),
            HandlerError::Failed { .. } => {
                InferError::caused(ErrorKind::Handler, "the model's handler failed", error)
            }
            HandlerError::GuestTime { .. } => InferError::caused(
                ErrorKind::HandlerTimeout,
                "the model's handler exceeded its time limit",
                error,
            ),
            HandlerError::Deadline => InferError::plain(
                ErrorKind::DeadlineExceeded,
                "the deadline passed before the model responded",
            ),
            HandlerError::Compute(error) => error.into(),
            HandlerError::NoInstance => {
                InferError::plain(ErrorKind::Unavailable, "the server has no free instance")
            }
            HandlerError::NoMemory => InferError::plain(
                ErrorKind::Unavailable,
                "the server has no memory left for this request; try again later",
            ),
            HandlerError::Unprepared | HandlerError::Host(_) => InferError::host(error),
        }
    }
}

impl From<Arc<WebError>> for InferError {
    fn from(error: Arc<WebError>) -> InferError {
        match &*error {
            WebError::NoHost => InferError::plain(ErrorKind::InvalidRequest, error),
            WebError::Limit { limit, .. } => {
                let message = format!("the model's web component reached a limit: {limit}");
                InferError::caused(ErrorKind::Handler, &message, error)
            }
            WebError::Failed { .. } => InferError::caused(
                ErrorKind::Handler,
                "the model's web component failed",
                error,
            ),
            WebError::NoResponse => InferError::plain(
                ErrorKind::Handler,
                "the model's web component returned without a response",
            ),
            WebError::Declared(code) => InferError::plain(
                ErrorKind::Handler,
                format_args!("the model's web component responded with the error {code}"),
            ),
            WebError::GuestTime { .. } => InferError::caused(
                ErrorKind::HandlerTimeout,
                "the model's web component exceeded its time limit (`limits.guest_time_milliseconds`)",
                error,
            ),
            WebError::Deadline => HandlerError::Deadline.into(),
            WebError::Compute(cause) => cause.clone().into(),
            WebError::NoInstance => HandlerError::NoInstance.into(),
            WebError::NoMemory => HandlerError::NoMemory.into(),
            WebError::Lost | WebError::Host(_) => InferError::host(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web_error_kind::web_error_kind;
    use wisp_protocol::call::{ModelName, Version};
    use wisp_protocol::error::Party;

    #[test]
    fn a_model_that_does_not_exist_is_named_for_other_protocols() -> anyhow::Result<()> {
        let model = ModelName::new("m")?;
        let version = Version::FIRST;
        for (error, expected) in [
            (
                InferError::from(ResolveError::UnknownModel {
                    model: model.clone(),
                }),
                UnknownTarget::model(&model),
            ),
            (
                InferError::from(ResolveError::UnknownVersion {
                    model: model.clone(),
                    version,
                }),
                UnknownTarget::version(&model, version),
            ),
            (
                InferError::from(ResolveError::Unloaded {
                    model: model.clone(),
                }),
                UnknownTarget::Unloaded(model.clone()),
            ),
            (
                InferError::from(ControlError::UnknownModel {
                    model: model.clone(),
                }),
                UnknownTarget::model(&model),
            ),
        ] {
            assert_eq!(error.unknown_target(), Some(&expected), "{error}");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
        assert_eq!(InferError::from(BodyError::Timeout).unknown_target(), None);
        Ok(())
    }

    #[test]
    fn the_temporary_directory_is_named_in_the_log_only() {
        let cause = std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "no such directory: /private/tmp",
        );
        let error = InferError::from(ControlError::Storage(cause));
        let message = error.client_message();
        assert!(
            message.ends_with("TMPDIR sets: entity not found"),
            "{message}"
        );
        let source = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(source.as_deref(), Some("no such directory: /private/tmp"));
    }

    #[test]
    fn a_failure_of_a_web_component_is_counted_as_it_is_reported() {
        for error in [
            WebError::NoHost,
            WebError::NoResponse,
            WebError::Declared("code".to_owned()),
            WebError::Deadline,
            WebError::NoInstance,
            WebError::NoMemory,
            WebError::Lost,
            WebError::Compute(ComputeError::QueueFull),
            WebError::Compute(ComputeError::WouldMissDeadline),
            WebError::Compute(ComputeError::NoMemory),
            WebError::Compute(ComputeError::Deadline),
            WebError::Compute(ComputeError::Unprepared),
            WebError::GuestTime {
                budget: Duration::ZERO,
                functions: None,
            },
        ] {
            let counted = web_error_kind(&error);
            let reported = InferError::from(Arc::new(error));
            assert_eq!(counted, reported.kind(), "{reported}");
        }
    }

    #[test]
    fn a_lack_of_capacity_is_named_as_what_it_is() {
        for (error, expected) in [
            (ComputeError::QueueFull, "queue is full"),
            (ComputeError::QueueTimeout, "longer than its timeout"),
            (ComputeError::WouldMissDeadline, "more requests than"),
            (ComputeError::NoMemory, "memory"),
        ] {
            let error = InferError::from(error);
            assert_eq!(error.kind().party(), Party::Capacity);
            let message = error.client_message();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("handler"), "{message}");
        }
    }

    #[test]
    fn refused_inputs_are_explained_to_the_client_and_internals_kept_for_the_log() {
        let error = InferError::from(ComputeError::Inputs {
            reason: "internals".to_owned(),
            explanation: "`n` (Div): an integer is divided by zero".to_owned(),
        });
        assert_eq!(error.kind().status(), 400);
        assert_eq!(
            error.client_message(),
            "the model cannot compute these inputs: `n` (Div): an integer is divided by zero"
        );
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert!(cause.is_some_and(|cause| cause.contains("internals")));
    }

    #[test]
    fn a_timeout_is_attributed_to_the_party_that_caused_it() {
        let budget = Duration::from_secs(2);
        for (error, party, status) in [
            (
                InferError::from(HandlerError::GuestTime {
                    budget,
                    functions: None,
                }),
                Party::Handler,
                504,
            ),
            (HandlerError::Deadline.into(), Party::Capacity, 504),
            (BodyError::Timeout.into(), Party::Client, 408),
            (BodyError::Disconnected.into(), Party::Client, 499),
        ] {
            assert_eq!(error.kind().party(), party, "{error}");
            assert_eq!(error.kind().status(), status, "{error}");
        }
    }
}
