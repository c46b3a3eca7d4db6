//! Tensors with the names of inputs and outputs, and the parameters of requests and responses.

use crate::tensor::Tensor;

/// A tensor with the name of an input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    pub name: String,
    pub tensor: Tensor,
}

/// A named value of a request or response that is not a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub value: ParameterValue,
}

/// The types of a V2 parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterValue {
    Bool(bool),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    String(String),
}
