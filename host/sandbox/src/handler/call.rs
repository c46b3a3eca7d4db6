//! The request that is passed to a handler, and its response.

use super::error::HandlerError;
use crate::compute::ComputeOptions;
use crate::guest_run::GuestRun;
use crate::instance::Usage;
use crate::logging::GuestLog;
use wisp_tensor::{NamedTensor, Parameter};

/// The parts of a request that are passed to a handler. Lifetime: one request.
#[derive(Debug, Clone)]
pub struct HandlerCall<'a> {
    pub inputs: &'a [NamedTensor],
    pub parameters: &'a [Parameter],
    /// The requested outputs; empty means all.
    pub outputs: &'a [String],
    /// The deadline of the call, and the options of its computations.
    pub options: ComputeOptions,
}

/// A handler's response and the resources it used. Lifetime: one request.
///
/// The caller must reserve the bytes of its outputs, as it does for a graph's outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerResponse {
    pub outputs: Vec<NamedTensor>,
    pub parameters: Vec<Parameter>,
    pub usage: Usage,
}

/// The result of a call, and the lines that the handler has logged and the resources that it has used whatever the
/// result is. Lifetime: one request.
#[derive(Debug)]
pub struct HandlerOutcome {
    pub result: Result<HandlerResponse, HandlerError>,
    pub log: GuestLog,
    pub run: GuestRun,
}
