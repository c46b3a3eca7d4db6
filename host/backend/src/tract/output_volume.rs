//! The size of outputs that follows from the values of inputs, computed before the operator allocates them.

use super::guard::RefusedValue;
use tract_onnx::prelude::{Datum, DatumType, ShapeFact, TDim, TValue, TractResult, TypedNode};
use tract_onnx::tract_core::internal::EvalContext;
use tract_onnx::tract_core::ops::array::{DynTile, Range, Topk};

/// The first integer that is not the only one with its value as a float.
const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// Returns the bytes of all outputs, from their numbers of elements.
pub(super) fn volume_bytes(
    context: &EvalContext,
    node: &TypedNode,
    inputs: &[TValue],
) -> TractResult<u64> {
    let known = output_volume(context, node, inputs)?;
    let mut bytes = 0u64;
    for output in &node.outputs {
        let volume = known
            .or_else(|| evaluated_volume(context, &output.fact.shape))
            .unwrap_or_else(|| taken_volume(node, inputs));
        let size = output.fact.datum_type.size_of();
        let size = match output.fact.datum_type {
            DatumType::String => size.saturating_add(longest_string(inputs)?),
            _ => size,
        };
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        bytes = bytes.saturating_add(volume.saturating_mul(size));
    }
    Ok(bytes)
}

/// Returns the number of elements of each output, for operators that derive it from values.
fn output_volume(
    context: &EvalContext,
    node: &TypedNode,
    inputs: &[TValue],
) -> TractResult<Option<u64>> {
    if node.op_is::<Range>() {
        let number = |input: &TValue| scalar(context, input);
        let (start, end, step) = (
            number(&inputs[0])?,
            number(&inputs[1])?,
            number(&inputs[2])?,
        );
        // The length of a range of integers is computed with floats.
        let is_exact = |number: f64| number.abs() < FIRST_INEXACT;
        let is_integer = inputs[0].datum_type().is_integer();
        if is_integer && ![start, end, step].into_iter().all(is_exact) {
            return Err(RefusedValue::new(format!(
                "the range from {start} to {end} by {step} has numbers of more than 53 bits"
            ))
            .into());
        }
        let length = ((end - start) / step).ceil();
        if !length.is_finite() {
            return Err(RefusedValue::new(format!(
                "there is no range from {start} to {end} by {step}"
            ))
            .into());
        }
        // Steps away from the end produce an empty range.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates"
        )]
        let length = length.abs() as u64;
        return Ok(Some(length));
    }
    if let Some(top) = node.op_as::<Topk>() {
        let k = inputs[1].cast_to_scalar::<i64>()?;
        let size = inputs[0].shape()[top.axis];
        if !usize::try_from(k).is_ok_and(|k| k <= size) {
            return Err(
                RefusedValue::new(format!("k is {k}, but the axis has {size} elements")).into(),
            );
        }
        return Ok(Some(volume(inputs[0].shape().iter().copied())));
    }
    if node.op_is::<DynTile>() {
        let repeats = numbers(context, &inputs[1])?;
        if let Some(repeat) = repeats.iter().find(|&&repeat| repeat < 0) {
            return Err(
                RefusedValue::new(format!("nothing can be repeated {repeat} times")).into(),
            );
        }
        let repeats = repeats
            .iter()
            .map(|&n| usize::try_from(n).unwrap_or(usize::MAX));
        let sizes = inputs[0].shape().iter().zip(repeats);
        return Ok(Some(volume(sizes.map(|(size, n)| size.saturating_mul(n)))));
    }
    Ok(None)
}

fn evaluated_volume(context: &EvalContext, shape: &ShapeFact) -> Option<u64> {
    let mut product = 1u64;
    for dimension in shape.iter() {
        let size = dimension.eval(context.symbols).to_i64().ok()?;
        product = product.saturating_mul(u64::try_from(size).unwrap_or(u64::MAX));
    }
    Some(product)
}

/// Returns the number of elements of the inputs. Operators whose output size is found while they
/// compute return no more than that.
fn taken_volume(node: &TypedNode, inputs: &[TValue]) -> u64 {
    let volumes = inputs.iter().map(|input| {
        // The position of each element found has as many numbers as there are axes.
        let numbers = match &*node.op.name() {
            "NonZero" => input.rank(),
            _ => 1,
        };
        volume(input.shape().iter().copied().chain([numbers]))
    });
    volumes.fold(0, u64::saturating_add)
}

fn longest_string(inputs: &[TValue]) -> TractResult<usize> {
    let mut longest = 0;
    for input in inputs
        .iter()
        .filter(|input| input.datum_type() == DatumType::String)
    {
        let strings = input.try_as_plain_ram()?;
        let strings = strings.as_slice::<String>()?.iter();
        longest = strings.map(String::len).fold(longest, usize::max);
    }
    Ok(longest)
}

fn volume(sizes: impl Iterator<Item = usize>) -> u64 {
    sizes.fold(1, |product, size| {
        product.saturating_mul(u64::try_from(size).unwrap_or(u64::MAX))
    })
}

/// Returns the number in a tensor of one element.
fn scalar(context: &EvalContext, value: &TValue) -> TractResult<f64> {
    if value.datum_type() == TDim::datum_type() {
        let number = numbers(context, value)?
            .first()
            .copied()
            .unwrap_or_default();
        return Ok(number as f64);
    }
    value.cast_to_scalar::<f64>()
}

fn numbers(context: &EvalContext, value: &TValue) -> TractResult<Vec<i64>> {
    let sizes = value.cast_to::<TDim>()?;
    let sizes = sizes.try_as_plain_ram()?;
    let sizes = sizes.as_slice::<TDim>()?.iter();
    sizes
        .map(|size| Ok(size.eval(context.symbols).to_i64()?))
        .collect()
}
