//! Tensors with the names clients and graphs know them by, and the parameters that travel along.

use crate::Tensor;

/// A tensor under the name of an input or output.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    pub name: String,
    pub tensor: Tensor,
}

/// A named value of a request or an answer that is not a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub value: ParameterValue,
}

/// The types a V2 parameter can have.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterValue {
    Bool(bool),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    String(String),
}
