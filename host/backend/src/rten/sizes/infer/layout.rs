//! Operators that rearrange the elements of one tensor.

use super::super::evaluate::spread;
use super::super::known::{Known, Numbers, small};
use super::super::operands::Operands;
use super::super::refusal::Refusal;
use super::super::symbols::Symbols;
use super::rules::{axis, broadcast, numbered, reshaped, sizes_by};
use rten_shape_inference::{SymExpr, SymTensor, ops};
use wisp_tensor::shape::MAX_RANK;

/// Returns the elements of an input that contains sizes.
fn sizes_in(operands: Operands<'_>, position: usize) -> Result<Vec<SymExpr>, Refusal> {
    let elements = operands.input(position)?.elements();
    Ok(elements.ok_or(Refusal::Values)?.to_vec())
}

pub(super) fn constant_of_shape(
    operands: Operands<'_>,
    symbols: &mut Symbols,
) -> Result<Known, Refusal> {
    let sizes = symbols.settle_sizes(sizes_in(operands, 0)?)?;
    let value = operands.tensor("value");
    let value = match value {
        None => Some(Numbers::Floats(vec![0.0])),
        Some(value) => value.numbers(),
    };
    let numbers = small(&sizes).zip(value).and_then(|(fixed, value)| {
        let indices = vec![0; fixed.iter().product()];
        value.pick(&indices)
    });
    Ok(match numbers {
        Some(numbers) => Known::of_numbers(sizes, numbers),
        None => Known::of_sizes(sizes),
    })
}

pub(super) fn expand(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let sizes = broadcast(data.sizes(), sizes_in(operands, 1)?, symbols)?;
    let numbers = small(&sizes).and_then(|to| spread(data, &to));
    Ok(match numbers {
        Some(numbers) => Known::of_numbers(sizes, numbers),
        None => Known::of_sizes(sizes),
    })
}

pub(super) fn flatten(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let axis = operands.integer("axis")?.unwrap_or(1);
    let inputs = vec![Some(SymTensor::from_shape(data.sizes()))];
    let sizes = sizes_by(&ops::Flatten { axis }, inputs, symbols)?;
    Ok(reshaped(data, sizes))
}

pub(super) fn reshape(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    // Without elements, the rule of the crate makes a symbol for each of as many axes as a client likes.
    let shape = SymTensor::from_vec(sizes_in(operands, 1)?);
    let allow_zero = operands.flag("allowzero").unwrap_or(false);
    let inputs = vec![Some(SymTensor::from_shape(data.sizes())), Some(shape)];
    let sizes = sizes_by(&ops::Reshape { allow_zero }, inputs, symbols)?;
    Ok(reshaped(data, sizes))
}

/// Returns the positions of the axes in input 1, or `None` if there is none.
fn axes(operands: Operands<'_>, rank: usize) -> Result<Option<Vec<usize>>, Refusal> {
    let Some(axes) = operands.optional(1) else {
        return Ok(None);
    };
    let axes = axes.integers().ok_or(Refusal::Values)?;
    let axes: Result<Vec<usize>, Refusal> = axes.iter().map(|&number| axis(number, rank)).collect();
    axes.map(Some)
}

pub(super) fn squeeze(operands: Operands<'_>) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let sizes = data.sizes();
    let removed = match axes(operands, sizes.len())? {
        Some(axes) => axes,
        // The size of an axis decides whether it is removed.
        None => {
            let is_known = |size: &SymExpr| matches!(size, SymExpr::Value(_));
            if !sizes.iter().all(is_known) {
                return Err(Refusal::Values);
            }
            let single = sizes.iter().enumerate();
            let single = single.filter(|(_, size)| matches!(size, SymExpr::Value(1)));
            single.map(|(position, _)| position).collect()
        }
    };
    let sizes = sizes.into_iter().enumerate();
    let sizes = sizes.filter(|(position, _)| !removed.contains(position));
    Ok(reshaped(data, sizes.map(|(_, size)| size).collect()))
}

pub(super) fn unsqueeze(operands: Operands<'_>) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let added = operands.input(1)?.integers().ok_or(Refusal::Values)?.len();
    let rank = data.rank() + added;
    let positions = axes(operands, rank)?.unwrap_or_default();
    let mut own = data.sizes().into_iter();
    let mut sizes = Vec::with_capacity(rank);
    for position in 0..rank {
        let size = match positions.contains(&position) {
            true => Some(SymExpr::Value(1)),
            false => own.next(),
        };
        sizes.push(size.ok_or_else(|| Refusal::invalid("an axis is added twice"))?);
    }
    if rank > MAX_RANK {
        return Err(Refusal::invalid(format!(
            "its result would have {rank} axes, the limit is {MAX_RANK}"
        )));
    }
    Ok(reshaped(data, sizes))
}

pub(super) fn tile(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let sizes = operands.input(0)?.sizes();
    let repeats = sizes_in(operands, 1)?;
    if repeats.len() != sizes.len() {
        return Err(Refusal::invalid("there must be as many repeats as axes"));
    }
    let sizes = sizes.into_iter().zip(repeats);
    let sizes = sizes.map(|(size, repeats)| size * repeats);
    Ok(Known::of_sizes(symbols.settle_sizes(sizes.collect())?))
}

pub(super) fn transpose(operands: Operands<'_>) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let sizes = data.sizes();
    let order = match operands.counts("perm")? {
        Some(order) => order,
        None => (0..sizes.len()).rev().collect(),
    };
    let moved = order.iter().map(|&axis| sizes.get(axis).cloned());
    let moved: Option<Vec<SymExpr>> = moved.collect();
    let moved = moved.filter(|moved| moved.len() == sizes.len());
    let moved = moved.ok_or_else(|| Refusal::invalid("the permutation does not fit the axes"))?;
    let numbers = transposed(data, &order);
    Ok(numbers.unwrap_or_else(|| Known::of_sizes(moved)))
}

/// Returns the elements of `data` with its axes in the given order.
fn transposed(data: &Known, order: &[usize]) -> Option<Known> {
    let sizes = small(&data.sizes())?;
    let numbers = data.numbers()?;
    // The distance between neighbours along each axis.
    let mut strides = vec![1; sizes.len()];
    for axis in (1..sizes.len()).rev() {
        let stride = strides.get(axis)? * sizes.get(axis)?;
        *strides.get_mut(axis - 1)? = stride;
    }
    let mut indices = vec![0];
    let mut moved = Vec::with_capacity(order.len());
    for &axis in order {
        let (size, stride) = (*sizes.get(axis)?, *strides.get(axis)?);
        moved.push(size);
        indices = indices
            .iter()
            .flat_map(|&start: &usize| (0..size).map(move |position| start + position * stride))
            .collect();
    }
    numbered(&moved, numbers.pick(&indices)?)
}
