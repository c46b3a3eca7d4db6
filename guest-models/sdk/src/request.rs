//! Requests: named inputs, parameters, and the requested outputs.

use crate::error::{Error, Result};
use crate::tensor::Origin;
use crate::{Handler, Signature, Tensor, TensorSpec};

/// A request. The host has checked that its tensors have the names, types and shapes of the signature.
/// The handler checks their completeness and their values.
///
/// ```
/// # use wisp_handler::{Request, Result, Tensor};
/// # fn main() -> Result<()> {
/// let request = Request::new()
///     .with_input(Tensor::bytes("text", &[2], ["good morning", "good night"])?)
///     .with_parameter("threshold", 0.5)
///     .with_output("label");
/// assert_eq!(request.input("text")?.strings(&[-1])?, ["good morning", "good night"]);
/// assert!(request.optional_input("language").is_none());
/// assert_eq!(request.parameter::<f64>("threshold")?, Some(0.5));
/// assert!(request.wants("label") && !request.wants("score"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) parameters: Vec<(String, ParameterValue)>,
    pub(crate) outputs: Vec<String>,
    pub(crate) declared: Declared,
}

/// The signature of the handler that the request is for, if it is known. It is read only when an input is
/// missing. It is not part of the request, so all are equal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Declared(Option<fn() -> Signature>);

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

/// A type that a parameter can be read as. Integers convert to other integer types if the number fits,
/// and to `f64`.
pub trait FromParameter<'a>: Sized {
    /// The name of the type in error messages, with its article.
    const EXPECTED: &'static str;

    /// Returns the value, or `None` if it has another type.
    fn from_parameter(value: &'a ParameterValue) -> Option<Self>;
}

// === impl Request ===

impl Request {
    /// Creates a request without inputs. Tests add content with the `with_` functions.
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

    /// Adds an output to the requested ones.
    #[must_use]
    pub fn with_output(mut self, name: impl Into<String>) -> Self {
        self.outputs.push(name.into());
        self
    }

    /// Returns all inputs, in the client's order.
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// Returns the input of this name.
    ///
    /// # Errors
    /// Fails with [`Fault::Client`](crate::Fault::Client) if the client has not sent it, and with
    /// [`Fault::Handler`](crate::Fault::Handler) if the handler's signature does not declare it.
    pub fn input(&self, name: &str) -> Result<&Tensor> {
        self.optional_input(name)
            .ok_or_else(|| self.declared.missing(name))
    }

    /// Returns the input of this name, if the client sent it.
    pub fn optional_input(&self, name: &str) -> Option<&Tensor> {
        self.inputs.iter().find(|tensor| tensor.name == name)
    }

    /// Returns the parameter of this name as `bool`, `i64`, `u64`, `f64` or `&str`, if the client sent
    /// it.
    ///
    /// # Errors
    /// Fails with [`Fault::Client`](crate::Fault::Client) if it has another type.
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

    /// Returns the outputs that the client named, in its order. An empty slice stands for all outputs.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Returns whether the client requested an output. Additional outputs in a response do no harm:
    /// the host drops them.
    pub fn wants(&self, output: &str) -> bool {
        self.outputs.is_empty() || self.outputs.iter().any(|wanted| wanted == output)
    }
}

// === impl Declared ===

impl Declared {
    /// Returns the signature of `H`.
    pub(crate) fn by<H: Handler>() -> Self {
        Self(Some(H::signature))
    }

    /// Returns the error for an input that a request does not have.
    fn missing(self, name: &str) -> Error {
        let inputs = self.0.map(|signature| signature().inputs);
        let is_unknown = |inputs: &Vec<TensorSpec>| inputs.iter().all(|input| input.name != name);
        match inputs.filter(is_unknown) {
            Some(inputs) => {
                let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
                Error::handler(format_args!(
                    "the handler reads an input `{name}`, which its signature does not declare; its \
                     inputs are: {}",
                    names.join(", ")
                ))
            }
            None => Error::client(format_args!("input `{name}` is missing")),
        }
    }
}

impl PartialEq for Declared {
    fn eq(&self, _: &Self) -> bool {
        true
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
    struct Text;

    impl Handler for Text {
        fn signature() -> Signature {
            Signature::new()
                .input("text", crate::Datatype::Bytes, &[-1])
                .optional_input("language", crate::Datatype::Bytes, &[-1])
        }
    }

    #[test]
    fn an_input_that_is_not_declared_is_the_handlers_fault() {
        let request = Request {
            declared: Declared::by::<Text>(),
            ..Request::new()
        };
        assert_eq!(
            request.input("text").unwrap_err(),
            Error::client("input `text` is missing")
        );
        assert_eq!(
            request.input("txet").unwrap_err(),
            Error::handler(
                "the handler reads an input `txet`, which its signature does not declare; its inputs \
                 are: text, language"
            )
        );
        // Without a signature, as in a test that calls `preprocess` itself.
        assert_eq!(
            Request::new().input("txet").unwrap_err().fault(),
            Fault::Client
        );
        assert_eq!(request, Request::new());
    }
}
