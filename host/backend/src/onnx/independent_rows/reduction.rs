//! Operators along axes: sums and other reductions, and normalisations.

use super::operator::{Operator, Outputs, alone, axis_of};
use super::product::Product;
use super::value::{Tensor, Value};

/// The opset from which `Softmax` and the like normalise a single axis.
const SINGLE_AXIS_OPSET: i64 = 13;

/// The opset from which batch normalisation does not learn unless an attribute is set.
const INFERENCE_OPSET: i64 = 7;

/// Infers a reduction over some axes.
pub(super) fn reduce(operator: &Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    let axes = match operator.has_axes(1) {
        true => operator.axes(1, tensor.rank())?,
        false => Vec::new(),
    };
    if axes.is_empty() {
        // No axes are all axes, or none.
        return match operator.integer("noop_with_empty_axes", 0) {
            0 => None,
            _ => alone(Some(tensor)),
        };
    }
    alone(without(
        &tensor,
        &axes,
        operator.integer("keepdims", 1) != 0,
    ))
}

/// Infers the position of the greatest or least element along an axis.
pub(super) fn arg(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let axis = operator.axis("axis", 0, tensor.rank())?;
    let keeps_axis = operator.integer("keepdims", 1) != 0;
    alone(without(&tensor, &[axis], keeps_axis))
}

/// Infers running sums along an axis.
pub(super) fn cumulate(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let [axis] = *operator.integers(1)? else {
        return None;
    };
    let axis = axis_of(axis, tensor.rank())?;
    alone(Some(tensor).filter(|tensor| tensor.rows() != Some(axis)))
}

/// Infers `Softmax` and the like.
pub(super) fn softmax(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let keeps_rows = match operator.opset >= SINGLE_AXIS_OPSET {
        true => {
            let axis = operator.axis("axis", -1, tensor.rank())?;
            tensor.rows() != Some(axis)
        }
        // All axes from this one on are normalised together.
        false => {
            let axis = operator.axis("axis", 1, tensor.rank())?;
            tensor.rows().is_none_or(|rows| rows < axis)
        }
    };
    alone(Some(tensor).filter(|_| keeps_rows))
}

/// Infers a normalisation along one axis.
pub(super) fn normalize_axis(operator: &Operator<'_>, default: i64) -> Outputs {
    let tensor = operator.tensor(0)?;
    let axis = operator.axis("axis", default, tensor.rank())?;
    alone(Some(tensor).filter(|tensor| tensor.rows() != Some(axis)))
}

/// Infers `LayerNormalization` and `RMSNormalization`, which normalise all axes from one on.
pub(super) fn normalize_layer(operator: &mut Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    let axis = operator.axis("axis", -1, tensor.rank())?;
    if tensor.rows().is_some_and(|rows| rows >= axis) {
        return None;
    }
    let normalized = Tensor::broadcast(&operator.tensors()?, operator.symbols)?;
    if normalized.rows() != tensor.rows() || normalized.rank() != tensor.rank() {
        return None;
    }
    let moments = tensor.sizes().iter().enumerate();
    let moments = moments.map(|(position, size)| match position < axis {
        true => size.clone(),
        false => Product::of(1),
    });
    let moments = Value::Tensor(Tensor::new(moments.collect())?);
    Some(vec![Value::Tensor(tensor), moments.clone(), moments])
}

/// Infers a normalisation of each channel, or of groups of channels, in each image.
pub(super) fn normalize_channels(operator: &Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    alone(Some(tensor).filter(|tensor| tensor.rows().is_none_or(|rows| rows == 0)))
}

/// Infers `LRN`, which normalises across the channels, axis 1.
pub(super) fn normalize_response(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    alone(Some(tensor).filter(|tensor| tensor.rows() != Some(1)))
}

/// Infers `BatchNormalization` with stored moments, one of each for an index of axis 1.
pub(super) fn normalize_batch(operator: &Operator<'_>) -> Outputs {
    let is_trained = operator.integer("training_mode", 0) != 0;
    if is_trained || operator.opset < INFERENCE_OPSET {
        return None;
    }
    operator.constant_from(1)?;
    normalize_response(operator)
}

/// Infers `MeanVarianceNormalization`.
pub(super) fn normalize_moments(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let numbers = operator.list("axes").unwrap_or(&[0, 2, 3]);
    let axes = numbers
        .iter()
        .map(|&number| axis_of(number, tensor.rank()))
        .collect::<Option<Vec<usize>>>()?;
    let keeps_rows = tensor.rows().is_none_or(|rows| !axes.contains(&rows));
    alone(Some(tensor).filter(|_| keeps_rows))
}

/// Returns the tensor with these axes reduced, or `None` if the rows lie along one of them.
fn without(tensor: &Tensor, axes: &[usize], keeps_axes: bool) -> Option<Tensor> {
    if tensor.rows().is_some_and(|rows| axes.contains(&rows)) {
        return None;
    }
    let sizes = tensor.sizes().iter().enumerate();
    let sizes = sizes.filter_map(|(axis, size)| match (axes.contains(&axis), keeps_axes) {
        (false, _) => Some(size.clone()),
        (true, true) => Some(Product::of(1)),
        (true, false) => None,
    });
    Tensor::new(sizes.collect())
}
