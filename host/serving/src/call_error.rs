//! The errors of calls to a model version.

use crate::admission::AdmissionError;
use crate::expected_wait::WouldMissDeadline;
use wisp_protocol::call_check::RequestError;
use wisp_sandbox::compute::ComputeError;
use wisp_sandbox::handler::HandlerError;
use wisp_tensor::SpecError;

/// The reason that a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request does not match the signature of the version.
    #[error(transparent)]
    Request(RequestError),
    #[error(transparent)]
    Admission(AdmissionError),
    #[error(transparent)]
    WouldMissDeadline(WouldMissDeadline),
    #[error(transparent)]
    Compute(ComputeError),
    #[error(transparent)]
    Handler(HandlerError),
    /// The outputs of the handler do not match the signature of the version.
    #[error("the handler's outputs do not match the signature of the model")]
    HandlerOutputs(#[source] SpecError),
    /// The outputs of the graph do not match its own signature.
    #[error("the graph's outputs do not match its signature")]
    GraphOutputs(#[source] SpecError),
}
