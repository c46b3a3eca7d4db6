//! Operators whose output sizes follow from numbers among their inputs, or are found in the data.

use super::super::known::{Known, MAX_ELEMENTS, Numbers, size_of};
use super::super::operands::Operands;
use super::super::refusal::Refusal;
use super::super::symbols::Symbols;
use super::rules::{axis, by};
use rten_shape_inference::{SymExpr, ops};

/// Infers `TopK`. Of an unknown number of elements, all may be taken.
pub(super) fn top_k(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Vec<Known>, Refusal> {
    let data = operands.input(0)?;
    let position = axis(operands.integer("axis")?.unwrap_or(-1), data.rank())?;
    let mut sizes = data.sizes();
    if let Some(size) = sizes.get_mut(position) {
        *size = match operands.input(1)?.elements() {
            // More than there are is an error.
            Some([taken]) => taken.min(size),
            _ => {
                let most = symbols.most(size);
                symbols.at_most(most)
            }
        };
    }
    let known = Known::of_sizes(symbols.settle_sizes(sizes)?);
    Ok(vec![known.clone(), known])
}

/// Infers `NonZero`, which returns the positions of at most all elements.
pub(super) fn non_zero(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let rank = size_of(data.rank()).ok_or_else(Refusal::too_large)?;
    if let (1, Some(numbers)) = (data.rank(), data.numbers()) {
        let is_zero: Vec<bool> = match &numbers {
            Numbers::Integers(integers) => integers.iter().map(|&integer| integer == 0).collect(),
            Numbers::Floats(floats) => floats.iter().map(|&float| float == 0.0).collect(),
        };
        let found = (0i32..).zip(is_zero).filter(|(_, is_zero)| !is_zero);
        let found: Vec<i32> = found.map(|(position, _)| position).collect();
        let length = size_of(found.len()).ok_or_else(Refusal::too_large)?;
        return Ok(Known::of_numbers(
            vec![rank, length],
            Numbers::Integers(found),
        ));
    }
    let most = symbols.volume(&data.sizes());
    Ok(Known::of_sizes(vec![rank, symbols.at_most(most)]))
}

/// Infers `NonMaxSuppression`. rten selects a box for its best class only.
pub(super) fn non_max_suppression(
    operands: Operands<'_>,
    symbols: &mut Symbols,
) -> Result<Known, Refusal> {
    let (boxes, scores) = (operands.input(0)?.sizes(), operands.input(1)?.sizes());
    let ([batch, number, _], [_, classes, _]) = (boxes.as_slice(), scores.as_slice()) else {
        return Err(Refusal::invalid("boxes and scores must have three axes"));
    };
    let batch = symbols.most(batch);
    let mut most = batch.saturating_mul(symbols.most(number));
    if let Some(limit) = operands.optional(2).and_then(Known::single) {
        let limit = u64::try_from(limit).unwrap_or(0);
        let classes = batch.saturating_mul(symbols.most(classes));
        most = most.min(classes.saturating_mul(limit));
    }
    Ok(Known::of_sizes(vec![
        symbols.at_most(most),
        SymExpr::Value(3),
    ]))
}

pub(super) fn one_hot(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let axis = operands.integer("axis")?.unwrap_or(-1);
    let output = by(&ops::OneHot { axis }, operands, symbols)?
        .into_iter()
        .next();
    output.ok_or(Refusal::Values)
}

/// Infers `Resize` by scales or sizes; empty ones are missing. rten prefers scales, as they are here.
pub(super) fn resize(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let is_given = |known: &&Known| known.sizes().as_slice() != [SymExpr::Value(0)];
    if let Some(scales) = operands.optional(2).filter(is_given) {
        return scaled(operands, scales, symbols);
    }
    let sizes = operands.optional(3).filter(is_given);
    let sizes = sizes.ok_or_else(|| Refusal::invalid("there are neither scales nor sizes"))?;
    let sizes = sizes.elements().ok_or(Refusal::Values)?;
    if sizes.len() != operands.input(0)?.rank() {
        return Err(Refusal::invalid("there must be one size for each axis"));
    }
    Ok(Known::of_sizes(symbols.settle_sizes(sizes.to_vec())?))
}

pub(super) fn upsample(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    scaled(operands, operands.input(1)?, symbols)
}

/// Returns the sizes of the first input times `scales`, in the arithmetic of rten.
fn scaled(operands: Operands<'_>, scales: &Known, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let Some(Numbers::Floats(scales)) = scales.numbers() else {
        return Err(Refusal::Values);
    };
    let sizes = operands.input(0)?.sizes();
    if sizes.len() != scales.len() || scales.len() > MAX_ELEMENTS {
        return Err(Refusal::invalid("there must be one scale for each axis"));
    }
    let mut result = Vec::with_capacity(sizes.len());
    for (size, scale) in sizes.iter().zip(scales) {
        let resized = match size {
            SymExpr::Value(size) => SymExpr::Value(times(*size, scale)),
            size => {
                let most = i32::try_from(symbols.most(size)).unwrap_or(i32::MAX);
                symbols.at_most(u64::try_from(times(most, scale)).unwrap_or(0))
            }
        };
        result.push(resized);
    }
    Ok(Known::of_sizes(symbols.settle_sizes(result)?))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, as rten's does"
)]
fn times(size: i32, scale: f32) -> i32 {
    (size as f32 * scale).floor() as i32
}
