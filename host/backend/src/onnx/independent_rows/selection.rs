//! Operators that select elements of tensors.

use super::operator::{Operator, Outputs, alone, axis_of};
use super::product::Product;
use super::value::{Tensor, Value};
use wisp_tensor::shape::MAX_RANK;

/// The bound from which the end of a slice is the end of its axis. Exporters write the largest integer of
/// 32 or 64 bits.
const UNBOUNDED_END: i64 = i32::MAX as i64;

/// Infers `Gather`, which takes whole subtensors by their index along an axis.
pub(super) fn gather(operator: &Operator<'_>) -> Outputs {
    let (tensor, indices) = (operator.tensor(0)?, operator.tensor(1)?);
    let axis = operator.axis("axis", 0, tensor.rank())?;
    let takes_rows = tensor.rows() == Some(axis);
    if takes_rows || (tensor.rows().is_some() && indices.rows().is_some()) {
        return None;
    }
    let sizes = tensor.sizes();
    let sizes = [&sizes[..axis], indices.sizes(), &sizes[axis + 1..]].concat();
    alone(Tensor::new(sizes))
}

/// Infers `GatherElements`, which takes an element for each index, at the same place of the other axes.
pub(super) fn gather_elements(operator: &Operator<'_>) -> Outputs {
    let (tensor, indices) = (operator.tensor(0)?, operator.tensor(1)?);
    let axis = operator.axis("axis", 0, tensor.rank())?;
    let is_aligned = tensor.rows() == indices.rows() && tensor.rows_size() == indices.rows_size();
    alone(Some(indices).filter(|_| is_aligned && tensor.rows() != Some(axis)))
}

/// Infers `GatherND`, whose last axis of indices contains a place in the first axes after the batch.
pub(super) fn gather_nd(operator: &Operator<'_>) -> Outputs {
    let (tensor, indices) = (operator.tensor(0)?, operator.tensor(1)?);
    let batch = usize::try_from(operator.integer("batch_dims", 0)).ok()?;
    let (places, before) = indices.sizes().split_last()?;
    let depth = usize::try_from(places.as_number()?).ok()?;
    let keeps_rows = match (tensor.rows(), indices.rows()) {
        (None, _) => batch == 0,
        (Some(0), Some(0)) => batch > 0 && tensor.rows_size() == indices.rows_size(),
        _ => false,
    };
    let after = tensor.sizes().get(batch.checked_add(depth)?..)?;
    alone(Tensor::new([before, after].concat()).filter(|_| keeps_rows))
}

/// The part that `Slice` takes of one axis. `None` is a number that is not known, but the same for every row.
struct Range {
    start: Option<i64>,
    end: Option<i64>,
    step: Option<i64>,
}

/// Infers `Slice`. A slice of the axis of the rows must contain all of them.
pub(super) fn slice(operator: &mut Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let starts = numbers(operator, "starts", 1)?;
    let ends = numbers(operator, "ends", 2)?;
    let axes = match operator.has_axes(3) {
        true => operator.axes(3, tensor.rank())?,
        false => (0..starts.len()).collect(),
    };
    let steps = match operator.input(4) {
        Some(_) => numbers(operator, "", 4)?,
        None => vec![Some(Product::of(1)); starts.len()],
    };
    let mut sliced = tensor.clone();
    for (position, &axis) in axes.iter().enumerate() {
        if axis >= tensor.rank() || axes[..position].contains(&axis) {
            return None;
        }
        let number = |numbers: &[Option<Product>]| numbers.get(position).cloned();
        let (start, end, step) = (number(&starts)?, number(&ends)?, number(&steps)?);
        let is_end = |end: &Product| {
            let number = end.as_number();
            number.is_some_and(|end| end >= UNBOUNDED_END) || *end == tensor.sizes()[axis]
        };
        let is_whole = start == Some(Product::of(0))
            && step == Some(Product::of(1))
            && end.as_ref().is_some_and(is_end);
        if is_whole {
            continue;
        }
        if tensor.rows() == Some(axis) {
            return None;
        }
        let range = Range {
            start: constant(start)?,
            end: constant(end)?,
            step: constant(step)?,
        };
        let size = tensor.sizes()[axis].as_number();
        let size = size.and_then(|size| range.length(size)).map(Product::of);
        sliced = sliced.with_size(axis, size.unwrap_or_else(|| operator.symbols.size()))?;
    }
    alone(Some(sliced))
}

/// Returns the integers of an attribute or of the input at this position.
fn numbers(
    operator: &mut Operator<'_>,
    name: &str,
    position: usize,
) -> Option<Vec<Option<Product>>> {
    if let Some(numbers) = operator.list(name) {
        return Some(numbers.iter().map(|&n| Some(Product::of(n))).collect());
    }
    match operator.input(position)? {
        Value::Sizes(sizes) => Some(sizes.elements.clone()),
        Value::Tensor(tensor) if tensor.rows().is_none() => {
            let [length] = tensor.sizes() else {
                return None;
            };
            let length = usize::try_from(length.as_number()?).ok()?;
            let numbers = (0..length).map(|_| Some(operator.symbols.number()));
            (length <= MAX_RANK).then(|| numbers.collect())
        }
        Value::Tensor(_) | Value::Constant | Value::Mixed(_) => None,
    }
}

/// Returns the number, which may be unknown; `None` if it depends on the number of rows.
fn constant(number: Option<Product>) -> Option<Option<i64>> {
    let number = number?;
    (!number.depends_on_rows()).then(|| number.as_number())
}

impl Range {
    /// Returns the number of indices that the range takes of an axis of this size, if it is known. Ranges that go
    /// backwards are not computed.
    fn length(&self, size: i64) -> Option<i64> {
        let position = |number: i64| {
            let number = if number < 0 { number + size } else { number };
            number.clamp(0, size)
        };
        let step = self.step.filter(|step| *step > 0)?;
        let taken = position(self.end?) - position(self.start?);
        match taken > 0 {
            true => Some(taken.checked_add(step - 1)? / step),
            false => Some(0),
        }
    }
}

/// Infers `OneHot`, which adds an axis of classes.
pub(super) fn one_hot(operator: &mut Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let indices = operator.tensor(0)?;
    let axis = operator.axis("axis", -1, indices.rank() + 1)?;
    let depth = operator
        .integers(1)
        .and_then(|depth| depth.first().copied());
    let depth = depth.filter(|depth| *depth >= 0).map(Product::of);
    let mut sizes = indices.sizes().to_vec();
    sizes.insert(axis, depth.unwrap_or_else(|| operator.symbols.size()));
    alone(Tensor::new(sizes))
}

/// Infers `TopK`, which takes the same number of elements along an axis everywhere.
pub(super) fn top(operator: &mut Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    let axis = operator.axis("axis", -1, tensor.rank())?;
    if tensor.rows() == Some(axis) {
        return None;
    }
    let count = match operator.attribute("k") {
        Some(count) => Some(count.i),
        None => operator
            .integers(1)
            .and_then(|count| count.first().copied()),
    };
    let count = count.filter(|count| *count >= 0).map(Product::of);
    let count = count.unwrap_or_else(|| operator.symbols.size());
    let taken = Value::Tensor(tensor.with_size(axis, count)?);
    Some(vec![taken.clone(), taken])
}

/// Infers an operator on the matrices of the last two axes that keeps their shape.
pub(super) fn matrices(operator: &Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    alone(Some(tensor).filter(|tensor| tensor.rows().is_none_or(|rows| rows + 2 < tensor.rank())))
}

/// Infers `ReverseSequence`, in which each sequence has its own length.
pub(super) fn reverse(operator: &Operator<'_>) -> Outputs {
    let (tensor, lengths) = (operator.tensor(0)?, operator.tensor(1)?);
    let batch = axis_of(operator.integer("batch_axis", 1), tensor.rank())?;
    let time = axis_of(operator.integer("time_axis", 0), tensor.rank())?;
    let is_aligned = tensor.rows() == Some(batch)
        && time != batch
        && lengths.rank() == 1
        && lengths.rows_size() == tensor.rows_size();
    alone(Some(tensor).filter(|_| is_aligned))
}
