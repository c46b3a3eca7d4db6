//! Applications of the rules of the crate `rten-shape-inference`, and parts of rules written here.

use super::super::known::{Known, Numbers, count, size_of};
use super::super::operands::{Operands, apply};
use super::super::refusal::Refusal;
use super::super::symbols::Symbols;
use rten_shape_inference::{BinaryOp, InferShapes, SymExpr, SymTensor};

/// Returns all outputs by a rule of the crate.
pub(super) fn by(
    rule: &dyn InferShapes,
    operands: Operands<'_>,
    symbols: &mut Symbols,
) -> Result<Vec<Known>, Refusal> {
    let outputs = operands.apply(rule)?.into_iter();
    outputs.map(|output| symbols.settle(output)).collect()
}

/// Returns the sizes of the first output by a rule of the crate.
pub(super) fn sizes_by(
    rule: &dyn InferShapes,
    inputs: Vec<Option<SymTensor>>,
    symbols: &mut Symbols,
) -> Result<Vec<SymExpr>, Refusal> {
    let output = apply(rule, inputs)?.into_iter().next();
    Ok(symbols.settle(output.ok_or(Refusal::Values)?)?.sizes())
}

/// Returns the sizes of two tensors broadcast together.
pub(super) fn broadcast(
    a: Vec<SymExpr>,
    b: Vec<SymExpr>,
    symbols: &mut Symbols,
) -> Result<Vec<SymExpr>, Refusal> {
    let inputs = [a, b].map(|sizes| Some(SymTensor::from_shape(sizes)));
    sizes_by(&BinaryOp, inputs.into(), symbols)
}

/// Returns the position of an axis that may count from the end.
pub(super) fn axis(axis: i32, rank: usize) -> Result<usize, Refusal> {
    let distance = usize::try_from(axis.unsigned_abs()).unwrap_or(usize::MAX);
    let position = match axis < 0 {
        true => rank.checked_sub(distance),
        false => Some(distance),
    };
    let position = position.filter(|position| *position < rank);
    position.ok_or_else(|| Refusal::invalid(format!("there is no axis {axis}")))
}

/// Returns a value with the elements of `known` in another shape of as many elements.
pub(super) fn reshaped(known: &Known, sizes: Vec<SymExpr>) -> Known {
    let length = count(&sizes);
    if let Some(elements) = known.elements()
        && length == Some(elements.len())
        && sizes.len() <= 1
    {
        return Known::of_elements(sizes, elements.to_vec());
    }
    match known.numbers() {
        Some(numbers) if length == Some(numbers.len()) => Known::of_numbers(sizes, numbers),
        _ => Known::of_sizes(sizes),
    }
}

/// Returns numbers with these sizes.
pub(super) fn numbered(sizes: &[usize], numbers: Numbers) -> Option<Known> {
    let sizes: Option<Vec<SymExpr>> = sizes.iter().map(|&size| size_of(size)).collect();
    Some(Known::of_numbers(sizes?, numbers))
}
