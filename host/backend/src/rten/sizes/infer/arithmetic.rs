//! Operators on single elements, reductions, and ranges.

use super::super::evaluate;
use super::super::known::{Known, MAX_ELEMENTS, Numbers, count, size_of};
use super::super::operands::Operands;
use super::super::operator::Kind;
use super::super::refusal::Refusal;
use super::super::symbols::Symbols;
use super::rules::{axis, broadcast, sizes_by};
use rten_shape_inference::{SymExpr, SymTensor, ops};

/// Infers an operator on the elements of all inputs, which are broadcast together.
pub(super) fn elementwise(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let mut sizes = operands.input(0)?.sizes();
    if operands.step.kind == Kind::Broadcast {
        for position in 1..operands.inputs.len() {
            sizes = broadcast(sizes, operands.input(position)?.sizes(), symbols)?;
        }
    }
    if let Some(known) = evaluate::elementwise(&operands, &sizes) {
        return Ok(known);
    }
    if sizes.len() <= 1
        && let Some(length) = count(&sizes).filter(|length| *length <= MAX_ELEMENTS)
        && let Some(elements) = symbolic(operands, length, symbols)
    {
        let known = Known::of_elements(sizes, elements);
        return symbols.settle(known.tensor().clone());
    }
    Ok(Known::of_sizes(sizes))
}

/// Returns the elements of the output if some of the inputs' are symbols.
fn symbolic(operands: Operands<'_>, length: usize, symbols: &Symbols) -> Option<Vec<SymExpr>> {
    let operator = operands.step.operator.as_str();
    let inputs = operands.inputs.iter();
    let inputs = inputs.map(|input| input.as_ref()?.elements());
    let inputs: Vec<&[SymExpr]> = inputs.collect::<Option<_>>()?;
    let elements = (0..length).map(|index| {
        // Single elements are repeated.
        let element = |list: &[SymExpr]| match list {
            [single] => Some(single.clone()),
            list => list.get(index).cloned(),
        };
        match inputs.as_slice() {
            [a] if operator == "Neg" => Some(-element(a)?),
            [condition, yes, no] if operator == "Where" => match element(condition)? {
                SymExpr::Value(0) => element(no),
                SymExpr::Value(_) => element(yes),
                _ => None,
            },
            [a, b] => combine(operator, (element(a)?, element(b)?), symbols),
            _ => None,
        }
    });
    elements.collect()
}

fn combine(operator: &str, (a, b): (SymExpr, SymExpr), symbols: &Symbols) -> Option<SymExpr> {
    if let (SymExpr::Value(a), SymExpr::Value(b)) = (&a, &b) {
        return evaluate::integer(operator, *a, *b).map(SymExpr::Value);
    }
    let (least, most) = symbols.interval(&a)?;
    let (other_least, other_most) = symbols.interval(&b)?;
    let flag = |flag: bool| Some(SymExpr::Value(i32::from(flag)));
    match operator {
        "Add" | "Sum" => Some(a + b),
        "Sub" => Some(a - b),
        "Mul" => Some(a * b),
        // Divisions of negative numbers are rounded in another direction.
        "Div" if least >= 0 && other_least >= 0 => Some(a / b),
        "Max" => Some(a.max(&b)),
        "Min" => Some(a.min(&b)),
        "Equal" if a == b => flag(true),
        "Equal" if most < other_least || other_most < least => flag(false),
        "Less" if most < other_least => flag(true),
        "Less" if least >= other_most => flag(false),
        "Greater" if least > other_most => flag(true),
        "Greater" if most <= other_least => flag(false),
        _ => None,
    }
}

pub(super) fn clip(operands: Operands<'_>) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    Ok(evaluate::clip(&operands).unwrap_or_else(|| Known::of_sizes(data.sizes())))
}

pub(super) fn cast(operands: Operands<'_>) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let to = operands.integer("to")?.unwrap_or(0);
    let cast = |numbers: Numbers| evaluate::cast(&numbers, to);
    Ok(match data.numbers().and_then(cast) {
        Some(numbers) => Known::of_numbers(data.sizes(), numbers),
        // Symbols are integers, and remain so.
        None if data.elements().is_some() && matches!(to, 6 | 7) => data.clone(),
        None => Known::of_sizes(data.sizes()),
    })
}

pub(super) fn cast_like(operands: Operands<'_>) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let like = operands.input(1)?;
    Ok(match (data.numbers(), like.numbers()) {
        (Some(numbers), Some(like)) => {
            Known::of_numbers(data.sizes(), evaluate::cast_like(&numbers, &like))
        }
        // Symbols are integers.
        _ if data.elements().is_some() && like.elements().is_some() => data.clone(),
        _ => Known::of_sizes(data.sizes()),
    })
}

/// Infers a reduction along axes that are an input or, in old files, an attribute.
pub(super) fn reduce(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let keeps_axes = operands.flag("keepdims").unwrap_or(true);
    let axes = match operands.optional(1) {
        None => operands.integers("axes").unwrap_or_default(),
        Some(axes) => match axes.integers() {
            Some(axes) => axes,
            None if keeps_axes => {
                let sizes = data.sizes();
                let sizes = sizes.iter().map(|size| symbols.most(size).max(1));
                let most: Vec<u64> = sizes.collect();
                let sizes = most.into_iter().map(|most| symbols.at_most(most));
                return Ok(Known::of_sizes(sizes.collect()));
            }
            None => return Err(Refusal::Values),
        },
    };
    if axes.is_empty() && operands.flag("noop_with_empty_axes").unwrap_or(false) {
        return Ok(data.clone());
    }
    let sizes = without(data, &axes, keeps_axes)?;
    if count(&sizes) == Some(1)
        && let Some(numbers) = data.numbers()
        && let Some(reduced) = evaluate::reduce(&operands.step.operator, &numbers)
    {
        return Ok(Known::of_numbers(sizes, reduced));
    }
    Ok(Known::of_sizes(sizes))
}

pub(super) fn arg_reduce(operands: Operands<'_>) -> Result<Known, Refusal> {
    let data = operands.input(0)?;
    let keeps_axes = operands.flag("keepdims").unwrap_or(true);
    let axis = operands.integer("axis")?.unwrap_or(0);
    Ok(Known::of_sizes(without(data, &[axis], keeps_axes)?))
}

/// Returns the sizes of `data` after a reduction along `axes`, or along all if there are none.
fn without(data: &Known, axes: &[i32], keeps_axes: bool) -> Result<Vec<SymExpr>, Refusal> {
    let rank = data.rank();
    let reduced = axes.iter().map(|&number| axis(number, rank));
    let reduced: Vec<usize> = reduced.collect::<Result<_, _>>()?;
    let is_reduced = |position: &usize| reduced.is_empty() || reduced.contains(position);
    let sizes = data.sizes().into_iter().enumerate();
    let sizes = sizes.filter_map(|(position, size)| match is_reduced(&position) {
        true => keeps_axes.then_some(SymExpr::Value(1)),
        false => Some(size),
    });
    Ok(sizes.collect())
}

pub(super) fn range(operands: Operands<'_>, symbols: &mut Symbols) -> Result<Known, Refusal> {
    let inputs = [operands.input(0)?, operands.input(1)?, operands.input(2)?];
    if let [Some(start), Some(limit), Some(step)] = inputs.map(single_float) {
        let range = evaluate::float_range(start, limit, step);
        let (numbers, length) = range.ok_or_else(|| Refusal::invalid("the range is too long"))?;
        return ranged(Numbers::Floats(numbers), length);
    }
    if let [Some(start), Some(limit), Some(step)] = inputs.map(Known::single) {
        let (start, limit, step) = (i64::from(start), i64::from(limit), i64::from(step));
        let (span, distance) = match step > 0 {
            true => (limit - start, step),
            false => (start - limit, -step),
        };
        if step == 0 {
            return Err(Refusal::invalid("the step of the range is zero"));
        }
        let length = ((span + distance - 1) / distance).max(0);
        let numbers = (0..length.min(i64::try_from(MAX_ELEMENTS).unwrap_or(0)))
            .map(|index| i32::try_from(start + index * step).unwrap_or(i32::MAX));
        let numbers = Numbers::Integers(numbers.collect());
        return ranged(numbers, usize::try_from(length).unwrap_or(usize::MAX));
    }
    // The rule of the crate takes the first elements.
    let is_single = |known: &&Known| known.elements().is_some_and(|elements| elements.len() == 1);
    if !inputs.iter().all(is_single) {
        return Err(Refusal::Values);
    }
    let inputs: Vec<Option<SymTensor>> = inputs
        .iter()
        .map(|known| Some(known.tensor().clone()))
        .collect();
    Ok(Known::of_sizes(sizes_by(&ops::Range, inputs, symbols)?))
}

fn single_float(known: &Known) -> Option<f32> {
    match known.numbers()? {
        Numbers::Floats(floats) => match floats.as_slice() {
            [float] => Some(*float),
            _ => None,
        },
        Numbers::Integers(_) => None,
    }
}

fn ranged(numbers: Numbers, length: usize) -> Result<Known, Refusal> {
    let sizes = vec![size_of(length).ok_or_else(Refusal::too_large)?];
    Ok(match numbers.len() == length {
        true => Known::of_numbers(sizes, numbers),
        false => Known::of_sizes(sizes),
    })
}
