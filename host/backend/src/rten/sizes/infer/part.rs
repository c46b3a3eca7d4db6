//! Operators that split and join tensors.

use super::super::evaluate::select;
use super::super::known::{Known, MAX_ELEMENTS, Numbers, count, small};
use super::super::operands::Operands;
use super::super::refusal::Refusal;
use super::super::symbols::Symbols;
use super::rules::{axis, by, numbered};
use rten_shape_inference::{SymExpr, ops};

pub(super) fn concat(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let first = operands.input(0)?;
    let number = operands.integer("axis")?;
    let number = number.ok_or_else(|| Refusal::invalid("attribute `axis` is missing"))?;
    let position = axis(number, first.rank())?;
    let mut parts = Vec::with_capacity(operands.inputs.len());
    for input in 0..operands.inputs.len() {
        let sizes = operands.input(input)?.sizes();
        let size = sizes.get(position).cloned();
        match size.filter(|_| sizes.len() == first.rank()) {
            Some(size) => parts.push(size),
            None => return Err(Refusal::invalid("the inputs differ in rank")),
        }
    }
    let mut sizes = first.sizes();
    if let Some(size) = sizes.get_mut(position) {
        *size = symbols.sum(parts.iter())?;
    }
    Ok(match joined(operands, &sizes) {
        Some(known) => known,
        None => Known::of_sizes(sizes),
    })
}

/// Returns the elements of vectors one after the other.
fn joined(operands: Operands<'_>, sizes: &[SymExpr]) -> Option<Known> {
    let inputs = || operands.inputs.iter().map(Option::as_ref);
    if sizes.len() != 1 || small(sizes).is_none() {
        return None;
    }
    let elements = inputs().map(|input| input?.elements());
    if let Some(elements) = elements.collect::<Option<Vec<&[SymExpr]>>>() {
        return Some(Known::of_elements(sizes.to_vec(), elements.concat()));
    }
    let mut floats = Vec::new();
    for input in inputs() {
        match input?.numbers()? {
            Numbers::Floats(more) => floats.extend(more),
            Numbers::Integers(_) => return None,
        }
    }
    Some(Known::of_numbers(sizes.to_vec(), Numbers::Floats(floats)))
}

pub(super) fn gather(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let axis_number = operands.integer("axis")?.unwrap_or(0);
    let position = axis(axis_number, operands.input(0)?.rank())?;
    if let Some(known) = gathered(operands, position) {
        return Ok(known);
    }
    let rule = ops::Gather { axis: axis_number };
    let output = by(&rule, operands, symbols)?.into_iter().next();
    output.ok_or(Refusal::Values)
}

/// Returns the gathered elements of a tensor of numbers.
fn gathered(operands: Operands<'_>, position: usize) -> Option<Known> {
    let (data, indices) = (operands.optional(0)?, operands.optional(1)?);
    let sizes = small(&data.sizes())?;
    let numbers = data.numbers()?;
    let size = i32::try_from(*sizes.get(position)?).ok()?;
    let picked = indices.integers()?;
    let picked = picked.iter().map(|&index| {
        let index = if index < 0 {
            index.checked_add(size)?
        } else {
            index
        };
        usize::try_from(index).ok().filter(|_| index < size)
    });
    let picked: Vec<usize> = picked.collect::<Option<_>>()?;
    let mut picks: Vec<Vec<usize>> = sizes.iter().map(|&size| (0..size).collect()).collect();
    let (before, after) = (sizes.get(..position)?, sizes.get(position + 1..)?);
    let result = [before, indices.fixed_sizes()?.as_slice(), after].concat();
    *picks.get_mut(position)? = picked;
    let volume = result
        .iter()
        .fold(1usize, |volume, &size| volume.saturating_mul(size.max(1)));
    if volume > MAX_ELEMENTS {
        return None;
    }
    numbered(&result, numbers.pick(&select(&sizes, &picks))?)
}

pub(super) fn pad(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    if operands.optional(3).is_some() {
        return Err(Refusal::invalid("rten does not pad along given axes only"));
    }
    let sizes = operands.input(0)?.sizes();
    let pads = operands.input(1)?.elements().ok_or(Refusal::Values)?;
    if pads.len() != sizes.len() * 2 {
        return Err(Refusal::invalid("there must be two pads for each axis"));
    }
    let (starts, ends) = pads.split_at(sizes.len());
    let sizes = sizes.into_iter().zip(starts.iter().zip(ends));
    let sizes = sizes.map(|(size, (start, end))| size + start.clone() + end.clone());
    Ok(Known::of_sizes(symbols.settle_sizes(sizes.collect())?))
}

pub(super) fn slice(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let steps = operands.optional(4).and_then(Known::integers);
    if steps.is_some_and(|steps| steps.contains(&0)) {
        return Err(Refusal::invalid("a step of a slice is zero"));
    }
    if let Some(known) = sliced(operands) {
        return Ok(known);
    }
    let output = operands.apply(&ops::Slice)?.into_iter().next();
    let output = output.ok_or(Refusal::Values)?;
    if output.values().is_some() {
        return symbols.settle(output);
    }
    let sizes = output.shape().ok_or(Refusal::Values)?;
    let sizes: Vec<SymExpr> = sizes.collect();
    let bounded = sizes.into_iter().zip(data.sizes()).map(|(size, whole)| {
        // A slice with bounds from the request may keep the whole axis.
        match symbols.interval(&size) {
            Some(_) => size,
            None => {
                let most = symbols.most(&whole);
                symbols.at_most(most)
            }
        }
    });
    let bounded: Vec<SymExpr> = bounded.collect();
    Ok(Known::of_sizes(symbols.settle_sizes(bounded)?))
}

/// Returns the slice of a tensor of numbers.
fn sliced(operands: Operands<'_>) -> Option<Known> {
    let data = operands.optional(0)?;
    let sizes = small(&data.sizes())?;
    let numbers = data.numbers()?;
    let (starts, ends) = (
        operands.optional(1)?.integers()?,
        operands.optional(2)?.integers()?,
    );
    let axes = match operands.optional(3) {
        Some(axes) => axes.integers()?,
        None => (0..i32::try_from(sizes.len()).ok()?).collect(),
    };
    let steps = match operands.optional(4) {
        Some(steps) => steps.integers()?,
        None => vec![1; axes.len()],
    };
    if starts.len() != axes.len() || ends.len() != axes.len() || steps.len() != axes.len() {
        return None;
    }
    let mut picks: Vec<Vec<usize>> = sizes.iter().map(|&size| (0..size).collect()).collect();
    for (number, (step, range)) in axes.iter().zip(steps.iter().zip(starts.iter().zip(&ends))) {
        let position = axis(*number, sizes.len()).ok()?;
        *picks.get_mut(position)? = steps_of(*sizes.get(position)?, range, *step)?;
    }
    let result: Vec<usize> = picks.iter().map(Vec::len).collect();
    numbered(&result, numbers.pick(&select(&sizes, &picks))?)
}

/// Returns the positions from the start of a range to its end.
fn steps_of(size: usize, (start, end): (&i32, &i32), step: i32) -> Option<Vec<usize>> {
    let size = i64::try_from(size).ok()?;
    let (least, most) = match step > 0 {
        true => (0, size),
        false => (-1, size - 1),
    };
    let clamped = |position: i32| {
        let position = i64::from(position);
        let position = if position < 0 {
            position + size
        } else {
            position
        };
        position.clamp(least, most)
    };
    let (start, end, step) = (clamped(*start), clamped(*end), i64::from(step));
    let mut positions = Vec::new();
    let mut position = start;
    while (step > 0 && position < end) || (step < 0 && position > end) {
        positions.push(usize::try_from(position).ok()?);
        position += step;
    }
    Some(positions)
}

/// Infers the parts of a tensor, of given sizes or of the same size, except the last.
pub(super) fn split(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Vec<Known>, Refusal> {
    let data = operands.input(0)?;
    let position = axis(operands.integer("axis")?.unwrap_or(0), data.rank())?;
    let sizes = data.sizes();
    let whole = sizes.get(position).cloned().ok_or(Refusal::Values)?;
    let parts = match operands.optional(1) {
        Some(parts) => parts.elements().ok_or(Refusal::Values)?.to_vec(),
        None => equal_parts(operands, &whole)?,
    };
    let mut outputs = Vec::with_capacity(parts.len());
    let mut start = 0;
    for part in parts {
        let mut sizes = sizes.clone();
        if let Some(size) = sizes.get_mut(position) {
            *size = part;
        }
        let sizes = symbols.settle_sizes(sizes)?;
        let length = count(&sizes);
        let elements = data.elements().zip(length).and_then(|(elements, length)| {
            let end = start + length;
            elements.get(start..end).map(<[SymExpr]>::to_vec)
        });
        start = start
            .saturating_add(length.unwrap_or(MAX_ELEMENTS))
            .min(MAX_ELEMENTS);
        outputs.push(match elements {
            Some(elements) => Known::of_elements(sizes, elements),
            None => Known::of_sizes(sizes),
        });
    }
    Ok(outputs)
}

fn equal_parts(operands: Operands<'_>, whole: &SymExpr) -> Result<Vec<SymExpr>, Refusal> {
    let outputs = u32::try_from(operands.step.outputs.len()).unwrap_or(u32::MAX);
    let number = operands.count("num_outputs")?.unwrap_or(outputs);
    let number = i32::try_from(number.min(4096)).unwrap_or(0);
    if number == 0 {
        return Err(Refusal::invalid("it splits into no parts"));
    }
    let SymExpr::Value(whole) = whole else {
        let part = whole.div_ceil(&SymExpr::Value(number));
        let parts = (0..number).map(|_| part.clone());
        return Ok(parts.collect());
    };
    let part = whole / number + i32::from(whole % number != 0);
    let parts = (0..number).map(|index| {
        let left = i64::from(*whole) - i64::from(index) * i64::from(part);
        SymExpr::Value(i32::try_from(left.clamp(0, i64::from(part))).unwrap_or(part))
    });
    Ok(parts.collect())
}
