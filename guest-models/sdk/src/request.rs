//! What the client asked: named inputs, its own parameters, and the outputs it wants.

use crate::Tensor;
use crate::error::{Error, Result};
use crate::tensor::Origin;

/// One request. Its tensors have the names, types and shapes of the signature, which the host has
/// checked; whether they are complete and make sense is for the handler to judge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) parameters: Vec<(String, ParameterValue)>,
    pub(crate) outputs: Vec<String>,
}

/// The value of a request or response parameter.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each variant is the type it holds")]
pub enum ParameterValue {
    Bool(bool),
    S64(i64),
    U64(u64),
    F64(f64),
    String(String),
}

/// A type that a parameter can be read as. Integers convert where the number fits, and to `f64`.
pub trait FromParameter<'a>: Sized {
    /// What an error calls the type, with its article.
    const EXPECTED: &'static str;

    /// The value, `None` where it is of another type.
    fn from_parameter(value: &'a ParameterValue) -> Option<Self>;
}

// === impl Request ===

impl Request {
    /// A request without inputs, to be filled by the `with_` functions in tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an input.
    #[must_use]
    pub fn with_input(mut self, tensor: Tensor) -> Self {
        self.inputs.push(Tensor {
            origin: Origin::Request,
            ..tensor
        });
        self
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with_parameter(
        mut self,
        name: impl Into<String>,
        value: impl Into<ParameterValue>,
    ) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Adds an output to those that are wanted.
    #[must_use]
    pub fn with_output(mut self, name: impl Into<String>) -> Self {
        self.outputs.push(name.into());
        self
    }

    /// All inputs, in the client's order.
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// The input of this name.
    ///
    /// # Errors
    /// The client's fault where it is missing.
    pub fn input(&self, name: &str) -> Result<&Tensor> {
        self.optional_input(name)
            .ok_or_else(|| Error::client(format_args!("input `{name}` is missing")))
    }

    /// The input of this name, where the client sent it.
    pub fn optional_input(&self, name: &str) -> Option<&Tensor> {
        self.inputs.iter().find(|tensor| tensor.name == name)
    }

    /// The parameter of this name as `bool`, `i64`, `u64`, `f64` or `&str`, where the client sent it.
    ///
    /// # Errors
    /// The client's fault where it is of another type.
    ///
    /// ```
    /// # use wisp_handler::{Request, Result};
    /// # fn main() -> Result<()> {
    /// let request = Request::new().with_parameter("top_k", 5_u64);
    /// assert_eq!(request.parameter::<i64>("top_k")?, Some(5));
    /// assert_eq!(request.parameter::<f64>("temperature")?.unwrap_or(1.0), 1.0);
    /// assert!(request.parameter::<&str>("top_k").is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn parameter<'a, T: FromParameter<'a>>(&'a self, name: &str) -> Result<Option<T>> {
        let Some((_, value)) = self.parameters.iter().find(|(known, _)| known == name) else {
            return Ok(None);
        };
        match T::from_parameter(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::client(format_args!(
                "parameter `{name}` is not {}",
                T::EXPECTED
            ))),
        }
    }

    /// The outputs that the client named, in its order; empty means all.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Whether an output is worth computing. Answering with more does no harm: the host drops it.
    pub fn wants(&self, output: &str) -> bool {
        self.outputs.is_empty() || self.outputs.iter().any(|wanted| wanted == output)
    }
}

// === impl FromParameter ===

impl FromParameter<'_> for bool {
    const EXPECTED: &'static str = "a boolean";

    fn from_parameter(value: &ParameterValue) -> Option<Self> {
        match value {
            ParameterValue::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

impl FromParameter<'_> for i64 {
    const EXPECTED: &'static str = "a signed 64-bit integer";

    fn from_parameter(value: &ParameterValue) -> Option<Self> {
        match value {
            ParameterValue::S64(value) => Some(*value),
            ParameterValue::U64(value) => (*value).try_into().ok(),
            _ => None,
        }
    }
}

impl FromParameter<'_> for u64 {
    const EXPECTED: &'static str = "an unsigned 64-bit integer";

    fn from_parameter(value: &ParameterValue) -> Option<Self> {
        match value {
            ParameterValue::S64(value) => (*value).try_into().ok(),
            ParameterValue::U64(value) => Some(*value),
            _ => None,
        }
    }
}

impl FromParameter<'_> for f64 {
    const EXPECTED: &'static str = "a number";

    fn from_parameter(value: &ParameterValue) -> Option<Self> {
        match value {
            ParameterValue::F64(value) => Some(*value),
            ParameterValue::S64(value) => Some(*value as f64),
            ParameterValue::U64(value) => Some(*value as f64),
            _ => None,
        }
    }
}

impl<'a> FromParameter<'a> for &'a str {
    const EXPECTED: &'static str = "a string";

    fn from_parameter(value: &'a ParameterValue) -> Option<Self> {
        match value {
            ParameterValue::String(value) => Some(value),
            _ => None,
        }
    }
}

// === impl ParameterValue ===

impl From<bool> for ParameterValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ParameterValue {
    fn from(value: i64) -> Self {
        Self::S64(value)
    }
}

impl From<u64> for ParameterValue {
    fn from(value: u64) -> Self {
        Self::U64(value)
    }
}

impl From<f64> for ParameterValue {
    fn from(value: f64) -> Self {
        Self::F64(value)
    }
}

impl From<&str> for ParameterValue {
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for ParameterValue {
    fn from(value: String) -> Self {
        Self::String(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    #[test]
    fn parameters_convert_where_nothing_is_lost() -> Result<()> {
        let request = Request::new()
            .with_parameter("minus", -1_i64)
            .with_parameter("huge", u64::MAX)
            .with_parameter("half", 0.5)
            .with_parameter("mode", "fast")
            .with_parameter("on", true);
        assert_eq!(request.parameter::<f64>("minus")?, Some(-1.0));
        assert_eq!(request.parameter::<&str>("mode")?, Some("fast"));
        assert_eq!(request.parameter::<bool>("on")?, Some(true));
        assert_eq!(request.parameter::<u64>("absent")?, None);
        let negative = request.parameter::<u64>("minus").unwrap_err();
        assert_eq!(
            negative,
            Error::client("parameter `minus` is not an unsigned 64-bit integer")
        );
        assert_eq!(
            request.parameter::<i64>("huge").unwrap_err().fault(),
            Fault::Client
        );
        assert!(request.parameter::<i64>("half").is_err());
        assert!(request.parameter::<bool>("mode").is_err());
        Ok(())
    }

    #[test]
    fn no_wanted_output_means_all_of_them() {
        assert!(Request::new().wants("label"));
        assert!(!Request::new().with_output("score").wants("label"));
    }
}
