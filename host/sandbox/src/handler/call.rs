//! The request that is passed to a handler, and its response.

use crate::instance::Usage;
use std::time::Instant;
use wisp_tensor::{NamedTensor, Parameter};

/// The parts of a request that are passed to a handler. Lifetime: one request.
#[derive(Debug, Clone, Copy)]
pub struct HandlerCall<'a> {
    pub inputs: &'a [NamedTensor],
    pub parameters: &'a [Parameter],
    /// The requested outputs; empty means all.
    pub outputs: &'a [String],
    pub deadline: Instant,
}

/// A handler's response and the resources it used. Lifetime: one request.
///
/// The caller must reserve the bytes of its outputs, as it does for those of a graph's outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct HandlerResponse {
    pub outputs: Vec<NamedTensor>,
    pub parameters: Vec<Parameter>,
    pub usage: Usage,
}
