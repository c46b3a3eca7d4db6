//! The errors of calls to a model version.

use crate::admission::AdmissionError;
use crate::expected_wait::WouldMissDeadline;
use crate::quality::rules::RuleViolation;
use crate::registry::web_route::WebRoute;
use std::sync::Arc;
use wisp_protocol::call::ModelName;
use wisp_protocol::call_check::RequestError;
use wisp_sandbox::compute::ComputeError;
use wisp_sandbox::handler::HandlerError;
use wisp_sandbox::web::WebError;
use wisp_tensor::SpecError;

/// The reason that a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request does not match the signature of the version.
    #[error(transparent)]
    Request(RequestError),
    #[error(transparent)]
    Kind(KindError),
    #[error(transparent)]
    Admission(AdmissionError),
    #[error(transparent)]
    WouldMissDeadline(WouldMissDeadline),
    #[error(transparent)]
    Compute(ComputeError),
    #[error(transparent)]
    Handler(HandlerError),
    #[error(transparent)]
    Web(Arc<WebError>),
    /// The outputs of the handler do not match the signature of the version.
    #[error("the handler's outputs do not match the signature of the model")]
    HandlerOutputs(#[source] SpecError),
    /// The outputs of the graph do not match its own signature.
    #[error("the graph's outputs do not match its signature")]
    GraphOutputs(#[source] SpecError),
    /// The rules of the version reject an input.
    #[error("input {0}")]
    InputRule(Box<RuleViolation>),
    /// The rules of the version reject an output of its handler.
    #[error("an output of the handler is outside of its range")]
    HandlerOutputRule(#[source] Box<RuleViolation>),
    /// The rules of the version reject an output of its graph.
    #[error("an output of the graph is outside of its range")]
    GraphOutputRule(#[source] Box<RuleViolation>),
}

/// The mismatch between a request and the kind of model that it is for. The message is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    #[error(
        "`{model}` is a web component, which no inference protocol can call; send requests to its route `{route}`"
    )]
    WebComponent { model: ModelName, route: WebRoute },
    #[error("`{model}` is not a web component; it is called with the inference protocols")]
    NoWebComponent { model: ModelName },
}
