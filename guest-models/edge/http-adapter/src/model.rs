//! The interface `wisp:handler/model`, free of the types that are generated for it.

use wisp_protocol::call::InferRequest;
use wisp_tensor::{NamedTensor, Parameter};

/// A model that answers requests: a handler, or a graph that the provider computes.
pub trait Model {
    /// Answers one request.
    fn infer(&mut self, request: &InferRequest) -> Result<ModelOutputs, ModelError>;
}

/// The response of a model, not yet compared with its signature.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelOutputs {
    pub outputs: Vec<NamedTensor>,
    pub parameters: Vec<Parameter>,
}

/// The reason that there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelError {
    /// The request is at fault, with a text for the client.
    Client(String),
    /// The model is at fault, with the text that it gives.
    Model(String),
    /// The response violates the contract of handlers. The text is not for clients.
    Invalid(String),
}
