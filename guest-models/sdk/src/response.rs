//! What a handler answers: named outputs and parameters of its own.

use crate::{ParameterValue, Tensor};

/// An answer under construction; the host checks it against the signature and drops what the client
/// did not ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    pub(crate) outputs: Vec<Tensor>,
    pub(crate) parameters: Vec<(String, ParameterValue)>,
}

impl Response {
    /// An answer with nothing in it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an output.
    #[must_use]
    pub fn with_output(mut self, tensor: Tensor) -> Self {
        self.outputs.push(tensor);
        self
    }

    /// Adds a parameter, which the protocols carry beside the outputs.
    #[must_use]
    pub fn with_parameter(
        mut self,
        name: impl Into<String>,
        value: impl Into<ParameterValue>,
    ) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// All outputs, in the order they were added.
    pub fn outputs(&self) -> &[Tensor] {
        &self.outputs
    }

    /// The output of this name, as tests want it.
    pub fn output(&self, name: &str) -> Option<&Tensor> {
        self.outputs.iter().find(|tensor| tensor.name == name)
    }

    /// All parameters, in the order they were added.
    pub fn parameters(&self) -> &[(String, ParameterValue)] {
        &self.parameters
    }
}

impl From<Vec<Tensor>> for Response {
    fn from(outputs: Vec<Tensor>) -> Self {
        Self {
            outputs,
            parameters: Vec::new(),
        }
    }
}
