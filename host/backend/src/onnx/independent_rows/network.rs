//! Layers of neural networks whose inputs have a fixed order of axes.

use super::operator::{Operator, Outputs, alone, axis_of};
use super::product::Product;
use super::value::{Tensor, Value};

/// The opset from which the scales of `Resize` follow a region.
const RESIZE_OPSET: i64 = 11;

/// Infers a convolution of images, which lie along axis 0. The weights are the input at this position.
pub(super) fn convolve(operator: &mut Operator<'_>, weights: usize) -> Outputs {
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    if tensor.rank() < 3 || tensor.rows().is_some_and(|rows| rows != 0) {
        return None;
    }
    let weights = operator.tensor(weights);
    let kernel = |axis: usize| weights.as_ref()?.sizes().get(axis)?.as_number();
    let channels = kernel(0).map(Product::of);
    let mut sizes = vec![
        tensor.sizes()[0].clone(),
        channels.unwrap_or_else(|| operator.symbols.size()),
    ];
    for axis in 2..tensor.rank() {
        let size = window_count(operator, &tensor, (axis, kernel(axis)));
        sizes.push(size.unwrap_or_else(|| operator.symbols.size()));
    }
    alone(Tensor::new(sizes))
}

/// Infers a transposed convolution of images, which lie along axis 0.
pub(super) fn convolve_transposed(operator: &mut Operator<'_>) -> Outputs {
    operator.constant_from(1)?;
    let tensor = operator.tensor(0)?;
    if tensor.rank() < 3 || tensor.rows().is_some_and(|rows| rows != 0) {
        return None;
    }
    let mut sizes = vec![tensor.sizes()[0].clone()];
    for _ in 1..tensor.rank() {
        sizes.push(operator.new_size());
    }
    alone(Tensor::new(sizes))
}

/// Infers a pooling of windows in each channel. The second output of `MaxPool` contains positions in the whole
/// batch.
pub(super) fn pool(operator: &mut Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    if tensor.rank() < 3 || tensor.rows().is_some_and(|rows| rows > 1) {
        return None;
    }
    let kernel = operator.list("kernel_shape");
    let mut sizes = tensor.sizes()[..2].to_vec();
    for axis in 2..tensor.rank() {
        let kernel = kernel.and_then(|kernel| kernel.get(axis - 2).copied());
        let size = match operator.integer("ceil_mode", 0) {
            0 => window_count(operator, &tensor, (axis, kernel)),
            _ => None,
        };
        sizes.push(size.unwrap_or_else(|| operator.symbols.size()));
    }
    alone(Tensor::new(sizes))
}

/// Infers a pooling of each whole channel.
pub(super) fn pool_all(operator: &Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    if tensor.rank() < 3 || tensor.rows().is_some_and(|rows| rows > 1) {
        return None;
    }
    let ones = tensor.sizes()[2..].iter().map(|_| Product::of(1));
    let sizes = tensor.sizes()[..2].iter().cloned().chain(ones);
    alone(Tensor::new(sizes.collect()))
}

/// Returns the number of windows along an axis, if all sizes are known.
fn window_count(
    operator: &Operator<'_>,
    tensor: &Tensor,
    (axis, kernel): (usize, Option<i64>),
) -> Option<Product> {
    let size = i128::from(tensor.sizes().get(axis)?.as_number()?);
    let spatial = tensor.rank() - 2;
    let number = |name: &str, position: usize, default: i64| {
        let list = operator.list(name).unwrap_or_default();
        i128::from(list.get(position).copied().unwrap_or(default))
    };
    let stride = number("strides", axis - 2, 1);
    let reach = number("dilations", axis - 2, 1) * (i128::from(kernel?) - 1) + 1;
    if stride < 1 {
        return None;
    }
    let count = match operator.text("auto_pad")? {
        "SAME_UPPER" | "SAME_LOWER" => (size + stride - 1) / stride,
        "VALID" => (size - reach) / stride + 1,
        "" | "NOTSET" => {
            let pads = number("pads", axis - 2, 0) + number("pads", axis - 2 + spatial, 0);
            (size + pads - reach) / stride + 1
        }
        _ => return None,
    };
    let count = i64::try_from(count).ok().filter(|count| *count >= 0)?;
    Some(Product::of(count))
}

/// Infers `Resize` and `Upsample`, which must not change the axis of the rows.
pub(super) fn resize(operator: &mut Operator<'_>) -> Outputs {
    let is_constant = |position: usize| {
        operator
            .input(position)
            .is_none_or(|input| input.is_constant())
    };
    let is_cropped = operator.text("coordinate_transformation_mode")? == "tf_crop_and_resize";
    let is_stretched = ["", "stretch"].contains(&operator.text("keep_aspect_ratio_policy")?);
    if !is_constant(1) || !is_constant(2) || is_cropped || !is_stretched {
        return None;
    }
    let tensor = operator.tensor(0)?;
    let axes: Vec<usize> = match operator.list("axes") {
        None => (0..tensor.rank()).collect(),
        Some(axes) => {
            let axes = axes.iter().map(|&axis| axis_of(axis, tensor.rank()));
            axes.collect::<Option<_>>()?
        }
    };
    let sizes = axes.iter().map(|&axis| tensor.sizes()[axis].clone());
    let new_sizes = resized(operator, sizes.collect())?;
    let mut resized = tensor.clone();
    for (axis, size) in axes.into_iter().zip(new_sizes) {
        if tensor.rows() != Some(axis) {
            resized = resized.with_size(axis, operator.symbols.as_size(&size))?;
        } else if size != tensor.sizes()[axis] {
            return None;
        }
    }
    alone(Some(resized))
}

/// Returns the new sizes of axes, which an input or scales determine.
fn resized(operator: &mut Operator<'_>, sizes: Vec<Product>) -> Option<Vec<Product>> {
    let resized: Vec<Product> = if operator.input(3).is_some() {
        let elements = operator.sizes(3)?.elements.iter().cloned();
        elements.collect::<Option<_>>()?
    } else {
        let position = match operator.opset < RESIZE_OPSET || operator.node.op_type == "Upsample" {
            true => 1,
            false => 2,
        };
        let scales = match operator.attribute("scales") {
            Some(scales) => scales.floats.clone(),
            None => operator.floats(position)?,
        };
        let pairs = sizes.iter().zip(scales);
        let resized = pairs.map(|(size, scale)| match scale == 1.0 {
            true => size.clone(),
            false => operator.symbols.size(),
        });
        resized.collect()
    };
    (resized.len() == sizes.len()).then_some(resized)
}

/// Infers `LSTM`, `GRU` and `RNN`, whose sequences lie along axis 0 or 1.
pub(super) fn recur(operator: &mut Operator<'_>) -> Outputs {
    let tensor = operator.tensor(0)?;
    let [first, second, _] = tensor.sizes() else {
        return None;
    };
    let is_batch_first = operator.integer("layout", 0) != 0;
    let batch = usize::from(!is_batch_first);
    let (time, rows) = match is_batch_first {
        true => (second, first),
        false => (first, second),
    };
    let is_constant = |position: usize| {
        operator
            .input(position)
            .is_none_or(|input| input.is_constant())
    };
    let weights_are_constant = [1, 2, 3, 7].into_iter().all(is_constant);
    // Lengths and states belong to the sequences; constant ones are for a fixed number of sequences.
    let are_aligned = |position: usize, axis: usize| match operator.input(position) {
        None => true,
        Some(value) => value.to_tensor().is_some_and(|state| {
            state.rows() == Some(axis) && state.rows_size() == tensor.rows_size()
        }),
    };
    let states_are_aligned = are_aligned(4, 0) && are_aligned(5, batch) && are_aligned(6, batch);
    if tensor.rows() != Some(batch) || !weights_are_constant || !states_are_aligned {
        return None;
    }
    let directions = Product::of(match operator.text("direction")? {
        "bidirectional" => 2,
        _ => 1,
    });
    let hidden = match operator.attribute("hidden_size") {
        Some(size) => Product::of(size.i),
        None => operator.symbols.size(),
    };
    let (all, last) = match is_batch_first {
        true => (
            vec![
                rows.clone(),
                time.clone(),
                directions.clone(),
                hidden.clone(),
            ],
            vec![rows.clone(), directions, hidden],
        ),
        false => (
            vec![
                time.clone(),
                directions.clone(),
                rows.clone(),
                hidden.clone(),
            ],
            vec![directions, rows.clone(), hidden],
        ),
    };
    let last = Value::Tensor(Tensor::new(last)?);
    Some(vec![Value::Tensor(Tensor::new(all)?), last.clone(), last])
}

/// Infers `Attention`, in which each row of a batch has its own queries, keys and values.
pub(super) fn attend(operator: &mut Operator<'_>) -> Outputs {
    let queries = operator.tensor(0)?;
    let rows = queries.rows_size()?.clone();
    let is_aligned = |input: Option<&Value>| {
        let tensor = input.and_then(Value::to_tensor);
        tensor.is_some_and(|tensor| tensor.rows() == Some(0) && tensor.rows_size() == Some(&rows))
    };
    let are_aligned = [0, 1, 2]
        .into_iter()
        .all(|position| is_aligned(operator.input(position)));
    let state_is_aligned = |position: usize| {
        let input = operator.input(position);
        input.is_none() || is_aligned(input)
    };
    let mask_is_aligned = match operator.input(3) {
        None => true,
        // A smaller mask has no axis for the rows.
        Some(mask) if mask.is_constant() => mask.to_tensor().is_some_and(|mask| mask.rank() <= 2),
        Some(mask) => is_aligned(Some(mask)) && mask.to_tensor().is_some_and(|m| m.rank() == 4),
    };
    let states_are_aligned = state_is_aligned(4) && state_is_aligned(5) && state_is_aligned(6);
    if !are_aligned || !mask_is_aligned || !states_are_aligned || queries.rank() < 3 {
        return None;
    }
    let attended = queries.with_size(queries.rank() - 1, operator.symbols.size())?;
    let mut state = || {
        let sizes = [
            operator.new_size(),
            operator.new_size(),
            operator.new_size(),
        ];
        let sizes = std::iter::once(rows.clone()).chain(sizes);
        Tensor::new(sizes.collect()).map(Value::Tensor)
    };
    Some(vec![Value::Tensor(attended), state()?, state()?, state()?])
}

/// Infers `GridSample`, which samples an image at the positions in the grid of the same row.
pub(super) fn sample_grid(operator: &Operator<'_>) -> Outputs {
    let (tensor, grid) = (operator.tensor(0)?, operator.tensor(1)?);
    let is_aligned = tensor.rows() == Some(0)
        && grid.rows() == Some(0)
        && tensor.rows_size() == grid.rows_size()
        && grid.rank() == tensor.rank();
    if !is_aligned || tensor.rank() < 3 {
        return None;
    }
    let places = grid.sizes()[1..grid.rank() - 1].iter();
    let sizes = tensor.sizes()[..2].iter().chain(places).cloned();
    alone(Tensor::new(sizes.collect()))
}
