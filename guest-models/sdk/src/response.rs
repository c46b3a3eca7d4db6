//! Responses: named outputs and parameters.

use crate::{ParameterValue, Tensor};

/// A response under construction. The host checks it against the signature, and drops outputs that the
/// client did not request.
///
/// ```
/// # use wisp_handler::{Response, Result, Tensor};
/// # fn main() -> Result<()> {
/// let response = Response::new()
///     .with_output(Tensor::bytes("label", &[2], ["cat", "dog"])?)
///     .with_output(Tensor::new("score", &[2], &[0.9_f32, 0.7])?)
///     .with_parameter("truncated", false);
/// assert_eq!(response.outputs().len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    pub(crate) outputs: Vec<Tensor>,
    pub(crate) parameters: Vec<(String, ParameterValue)>,
}

impl Response {
    /// Creates an empty response.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an output.
    #[must_use]
    pub fn with_output(mut self, tensor: Tensor) -> Self {
        self.outputs.push(tensor);
        self
    }

    /// Adds a parameter, which the protocols transmit next to the outputs.
    #[must_use]
    pub fn with_parameter(
        mut self,
        name: impl Into<String>,
        value: impl Into<ParameterValue>,
    ) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Returns all outputs, in the order in which they were added.
    pub fn outputs(&self) -> &[Tensor] {
        &self.outputs
    }

    /// Returns the output of this name. Useful in tests.
    pub fn output(&self, name: &str) -> Option<&Tensor> {
        self.outputs.iter().find(|tensor| tensor.name == name)
    }

    /// Returns all parameters, in the order in which they were added.
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
