//! Operators that move, repeat, join and divide the elements of tensors without computing.

use super::operator::{Operator, Outputs, alone, axis_of};
use super::product::Product;
use super::value::{Tensor, Value};

/// The opset from which `Tile` takes a number for each axis.
const TILE_OPSET: i64 = 6;

/// The opset from which the amounts of `Pad` are an input.
const PAD_INPUT_OPSET: i64 = 11;

pub(super) fn reshape(operator: &mut Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let elements: Vec<Option<Product>> = match operator.list("shape") {
        Some(shape) => shape.iter().map(|&size| Some(Product::of(size))).collect(),
        None => operator.sizes(1)?.elements.clone(),
    };
    let keeps_zeros = operator.integer("allowzero", 0) != 0;
    let mut has_rest = false;
    let mut sizes = Vec::with_capacity(elements.len());
    for (axis, element) in elements.iter().enumerate() {
        let element = element.as_ref()?;
        sizes.push(match element.as_number() {
            Some(-1) if has_rest => return None,
            Some(-1) => {
                has_rest = true;
                None
            }
            Some(..0) => return None,
            Some(0) if keeps_zeros => return None,
            Some(0) => Some(tensor.sizes().get(axis)?.clone()),
            _ => Some(operator.symbols.as_size(element)),
        });
    }
    alone(tensor.reshaped(&sizes, operator.symbols))
}

pub(super) fn flatten(operator: &mut Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let number = operator.integer("axis", 1);
    let axis = match usize::try_from(number) {
        Ok(axis) if axis == tensor.rank() => axis,
        _ => axis_of(number, tensor.rank())?,
    };
    let (before, after) = tensor.sizes().split_at(axis);
    let sizes = [Some(Product::of_all(before)?), Product::of_all(after)];
    alone(tensor.reshaped(&sizes, operator.symbols))
}

pub(super) fn squeeze(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    // Without axes, a batch of one row loses its axis.
    let axes = operator.axes(1, tensor.rank())?;
    if tensor.rows().is_some_and(|rows| axes.contains(&rows)) {
        return None;
    }
    let sizes = tensor.sizes().iter().enumerate();
    let sizes = sizes.filter(|(axis, _)| !axes.contains(axis));
    alone(Tensor::new(sizes.map(|(_, size)| size.clone()).collect()))
}

pub(super) fn unsqueeze(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let numbers = operator.axis_numbers(1)?;
    let rank = tensor.rank() + numbers.len();
    let mut axes = numbers
        .into_iter()
        .map(|number| axis_of(number, rank))
        .collect::<Option<Vec<usize>>>()?;
    axes.sort_unstable();
    let mut sizes = tensor.sizes().to_vec();
    for axis in axes {
        if axis > sizes.len() {
            return None;
        }
        sizes.insert(axis, Product::of(1));
    }
    alone(Tensor::new(sizes))
}

pub(super) fn transpose(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let rank = tensor.rank();
    let axes: Vec<usize> = match operator.list("perm") {
        None => (0..rank).rev().collect(),
        Some(axes) => {
            let axes = axes.iter().map(|&axis| axis_of(axis, rank));
            axes.collect::<Option<_>>()?
        }
    };
    let is_permutation = axes.len() == rank && (0..rank).all(|axis| axes.contains(&axis));
    let sizes = axes.iter().map(|&axis| tensor.sizes()[axis].clone());
    alone(Tensor::new(sizes.collect()).filter(|_| is_permutation))
}

pub(super) fn expand(operator: &mut Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let shape = operator.sizes(1)?.to_shape(operator.symbols)?;
    alone(Tensor::broadcast(&[tensor, shape], operator.symbols))
}

pub(super) fn tile(operator: &mut Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let repeats = operator.sizes(1)?.to_shape(operator.symbols)?;
    if operator.opset < TILE_OPSET || repeats.rank() != tensor.rank() {
        return None;
    }
    // Repeated rows come in another order than in one batch.
    if let Some(rows) = tensor.rows()
        && repeats.sizes()[rows].as_number() != Some(1)
    {
        return None;
    }
    let pairs = tensor.sizes().iter().zip(repeats.sizes());
    let sizes: Option<Vec<Product>> = pairs.map(|(size, times)| size.times(times)).collect();
    alone(Tensor::new(sizes?))
}

/// Infers a tensor that has the same number at each place.
pub(super) fn fill(operator: &mut Operator<'_>) -> Outputs {
    alone(operator.sizes(0)?.to_shape(operator.symbols))
}

/// Infers a range of numbers, which must not depend on the number of rows.
pub(super) fn range(operator: &mut Operator<'_>) -> Outputs {
    operator.constant_from(0)?;
    let length = operator.symbols.size();
    alone(Tensor::new(vec![length]))
}

pub(super) fn concat(operator: &mut Operator<'_>) -> Outputs {
    let tensors = operator.tensors()?;
    let first = tensors.first()?;
    let rank = first.rank();
    let axis = operator.axis("axis", 1, rank)?;
    let rows = tensors.iter().find_map(Tensor::rows);
    if rows == Some(axis) || tensors.iter().any(|tensor| tensor.rank() != rank) {
        return None;
    }
    let mut sizes = Vec::with_capacity(rank);
    for position in 0..rank {
        let mut parts = tensors.iter().map(|tensor| &tensor.sizes()[position]);
        let size = if position == axis {
            let sum = parts.try_fold(Product::of(0), |sum, size| sum.plus(size));
            sum.unwrap_or_else(|| operator.symbols.size())
        } else if rows == Some(position) {
            let size = first.sizes()[position].clone();
            // A constant among the parts has a fixed number of rows.
            if parts.any(|other| *other != size) {
                return None;
            }
            size
        } else {
            let known = parts.find(|size| size.as_number().is_some());
            known.unwrap_or(&first.sizes()[position]).clone()
        };
        sizes.push(size);
    }
    alone(Tensor::new(sizes))
}

pub(super) fn split(operator: &mut Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    let axis = operator.axis("axis", 0, tensor.rank())?;
    if tensor.rows() == Some(axis) {
        return None;
    }
    let count = operator.node.output.len();
    let given = match operator.list("split") {
        Some(sizes) => Some(sizes.to_vec()),
        None => operator.integers(1),
    };
    let equal = i64::try_from(count)
        .ok()
        .and_then(|count| tensor.sizes()[axis].divided_by(&Product::of(count)))
        .filter(|_| operator.input(1).is_none());
    let parts = (0..count).map(|part| {
        let size = match &given {
            Some(sizes) => Some(Product::of(*sizes.get(part)?)),
            None => equal.clone(),
        };
        let size = size.unwrap_or_else(|| operator.symbols.size());
        tensor.with_size(axis, size).map(Value::Tensor)
    });
    parts.collect()
}

pub(super) fn pad(operator: &mut Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    let amounts: Vec<Option<i64>> = match operator.opset < PAD_INPUT_OPSET {
        true => operator.list("pads")?.iter().copied().map(Some).collect(),
        false => {
            let amounts = operator.sizes(1)?.elements.iter();
            amounts.map(|amount| amount.as_ref()?.as_number()).collect()
        }
    };
    let axes: Vec<usize> = match operator.input(3) {
        Some(_) => {
            let axes = operator.integers(3)?.into_iter();
            let axes = axes.map(|axis| axis_of(axis, tensor.rank()));
            axes.collect::<Option<_>>()?
        }
        None => (0..tensor.rank()).collect(),
    };
    if amounts.len() != 2 * axes.len() {
        return None;
    }
    let (before, after) = amounts.split_at(axes.len());
    let mut padded = tensor.clone();
    for (axis, (before, after)) in axes.into_iter().zip(before.iter().zip(after)) {
        if (before, after) == (&Some(0), &Some(0)) {
            continue;
        }
        if tensor.rows() == Some(axis) {
            return None;
        }
        let size = (tensor.sizes()[axis].as_number())
            .zip(before.zip(*after))
            .and_then(|(size, (before, after))| size.checked_add(before)?.checked_add(after))
            .map(Product::of);
        padded = padded.with_size(axis, size.unwrap_or_else(|| operator.symbols.size()))?;
    }
    alone(Some(padded))
}

/// Infers `DepthToSpace` and `SpaceToDepth`, which move elements between channels and places of an image.
pub(super) fn move_blocks(operator: &mut Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let [images, channels, height, width] = tensor.sizes() else {
        return None;
    };
    if tensor.rows().is_some_and(|rows| rows != 0) {
        return None;
    }
    let block = Product::of(operator.integer("blocksize", 0));
    let area = block.times(&block)?;
    let moved = match operator.node.op_type.as_str() {
        "DepthToSpace" => [
            channels.divided_by(&area),
            height.times(&block),
            width.times(&block),
        ],
        _ => [
            channels.times(&area),
            height.divided_by(&block),
            width.divided_by(&block),
        ],
    };
    let moved = moved.map(|size| size.unwrap_or_else(|| operator.symbols.size()));
    let sizes = std::iter::once(images.clone()).chain(moved);
    alone(Tensor::new(sizes.collect()))
}
