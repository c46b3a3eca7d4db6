//! Operators that compute each element from the elements at the same place.

use super::operator::{Operator, Outputs, alone};
use super::value::{Tensor, Value};

/// The opset from which broadcasting aligns the last axes.
const BROADCAST_OPSET: i64 = 7;

/// Infers an operator on one tensor, with parameters that do not depend on it.
pub(super) fn unary(operator: &Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    alone(operator.tensor(0))
}

/// Infers an operator that takes only the type of its other input.
pub(super) fn first(operator: &Operator<'_>) -> Outputs {
    alone(operator.tensor(0))
}

/// Infers an operator on tensors that are broadcast.
pub(super) fn broadcast(operator: &mut Operator<'_>) -> Outputs {
    let is_legacy = operator.opset < BROADCAST_OPSET;
    if is_legacy && operator.attribute("broadcast").is_some() {
        return None;
    }
    let tensors = operator.tensors()?;
    alone(Tensor::broadcast(&tensors, operator.symbols))
}

/// Infers `PRelu`. Before broadcasting, its slopes belonged to channels.
pub(super) fn prelu(operator: &mut Operator<'_>) -> Outputs {
    match operator.opset < BROADCAST_OPSET {
        true => None,
        false => broadcast(operator),
    }
}

/// Infers `Dropout`, which changes nothing unless the graph is trained.
pub(super) fn dropout(operator: &Operator<'_>) -> Outputs {
    let is_trained = operator.input(2).is_some() && operator.integers(2)? != [0];
    if operator.opset < BROADCAST_OPSET || is_trained {
        return None;
    }
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    Some(vec![Value::Tensor(tensor.clone()), Value::Tensor(tensor)])
}

/// Infers `QuantizeLinear` and `DequantizeLinear`, whose scales may belong to the indices of an axis.
pub(super) fn quantize(operator: &Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let (tensor, scale) = (operator.tensor(0)?, operator.tensor(1)?);
    if let Some(rows) = tensor.rows()
        && !scale.is_single()
    {
        let axis = operator.axis("axis", 1, tensor.rank())?;
        if scale.rank() != 1 || axis == rows {
            return None;
        }
    }
    alone(Some(tensor))
}
