//! Rewrites of products of 8-bit integers into products of f32 with the same result.
//!
//! rten's kernels for 8 bits add two products in 16 bits on x86 processors without AVX-512 VNNI, and
//! saturate. A sum of products of integers is exact in f32 as long as no partial sum exceeds 2^24, which
//! the weights determine: a zero-based activation has a magnitude of at most 255.

use crate::onnx::node_builder::{cast, floats_constant, operator, with_integers};
use crate::onnx::node_parts::{attribute, is_onnx};
use crate::onnx::rewriter::{NewNames, Rule, rewrite as rewrite_nodes};
use crate::onnx::values::Site;
use crate::pb::tensor_proto::DataType;
use crate::pb::{ModelProto, NodeProto};

/// The largest sum up to which all integers are exact in f32.
const MAX_EXACT_SUM: i64 = 1 << 24;

/// The largest difference of an 8-bit integer and its zero point.
const MAX_ACTIVATION: i64 = 255;

/// Rewrites MatMulInteger and ConvInteger with constant weights.
pub(super) fn rewrite(model: &mut ModelProto) {
    const RULES: &[Rule] = &[integer_product];
    rewrite_nodes(model, RULES);
}

/// Constant weights less their zero points.
struct Weights {
    dims: Vec<i64>,
    numbers: Vec<i64>,
}

fn integer_product(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let is_convolution = is_onnx(site.node, &["ConvInteger"]);
    if !is_convolution && !is_onnx(site.node, &["MatMulInteger"]) {
        return None;
    }
    let is_narrow = |position| {
        matches!(
            site.input_type(position),
            Some(DataType::Int8 | DataType::Uint8)
        )
    };
    if !is_narrow(0) || !is_narrow(1) {
        return None;
    }
    let weights = Weights::of(site, is_convolution)?;
    if !weights.is_exact(is_convolution) {
        return None;
    }
    let output = site.output(0);
    let [activations, matrix, product] =
        ["activations", "weights", "product"].map(|part| names.name(output, part));
    let mut nodes = activations_less_zero(site, &activations, names)?;
    let numbers = weights.numbers.iter().map(|&number| number as f32);
    nodes.push(floats_constant(
        &matrix,
        weights.dims.clone(),
        numbers.collect(),
    ));
    nodes.push(match is_convolution {
        true => convolution(site, &weights, (&activations, &matrix, &product)),
        false => operator("MatMul", &[&activations, &matrix], &product),
    });
    nodes.push(cast(&product, output, DataType::Int32 as i32));
    Some(nodes)
}

/// Returns the nodes that convert the activations to f32 and subtract their zero point, if it is one number.
fn activations_less_zero(
    site: &Site<'_>,
    output: &str,
    names: &mut NewNames,
) -> Option<Vec<NodeProto>> {
    let to_float = |input: &str, output: &str| cast(input, output, DataType::Float as i32);
    let zero = site.input(2);
    if zero.is_empty() {
        return Some(vec![to_float(site.input(0), output)]);
    }
    let is_dynamic = |node: &NodeProto| is_onnx(node, &["DynamicQuantizeLinear"]);
    let stored = site.values.tensor(zero);
    let is_one_number = site.values.producer(zero).is_some_and(is_dynamic)
        || stored.is_some_and(|tensor| tensor.dims.iter().all(|&size| size == 1));
    if !is_one_number {
        return None;
    }
    let [wide, wide_zero] = ["wide", "wide_zero"].map(|part| names.name(output, part));
    Some(vec![
        to_float(site.input(0), &wide),
        to_float(zero, &wide_zero),
        operator("Sub", &[&wide, &wide_zero], output),
    ])
}

/// Returns the convolution with the attributes of the original one.
fn convolution(
    site: &Site<'_>,
    weights: &Weights,
    (activations, matrix, product): (&str, &str, &str),
) -> NodeProto {
    let mut node = operator("Conv", &[activations, matrix], product);
    node.attribute.clone_from(&site.node.attribute);
    match attribute(&node, "kernel_shape") {
        Some(_) => node,
        None => with_integers(node, "kernel_shape", weights.dims[2..].to_vec()),
    }
}

// === impl Weights ===

impl Weights {
    /// Returns the second input less the fourth, if both are constants in the file.
    fn of(site: &Site<'_>, is_convolution: bool) -> Option<Weights> {
        let tensor = site.values.tensor(site.input(1))?;
        let dims = tensor.dims.clone();
        // A convolution has at least one axis besides the channels.
        if dims.len() < if is_convolution { 3 } else { 2 } {
            return None;
        }
        let mut numbers = site.values.integers(site.input(1))?;
        let zeros = match site.input(3) {
            "" => vec![0],
            zeros => site.values.integers(zeros)?,
        };
        // A zero point belongs to a filter of a convolution, or to a column of a matrix.
        let (channel_axis, inner) = match is_convolution {
            true => (0, dims[1..].iter().product::<i64>()),
            false => (dims.len() - 1, 1),
        };
        let channels = usize::try_from(dims[channel_axis]).ok()?;
        let inner = usize::try_from(inner).ok()?.max(1);
        if ![1, channels].contains(&zeros.len()) {
            return None;
        }
        for (position, number) in numbers.iter_mut().enumerate() {
            let channel = position / inner % channels;
            *number -= zeros.get(channel).or(zeros.first())?;
        }
        Some(Weights { dims, numbers })
    }

    /// Returns whether every sum of products with activations is exact in f32.
    fn is_exact(&self, is_convolution: bool) -> bool {
        let magnitudes = self.numbers.iter().map(|number| number.abs());
        let largest_sum = match is_convolution {
            true => {
                let filter: i64 = self.dims[1..].iter().product();
                let filter = usize::try_from(filter).unwrap_or(1).max(1);
                let filters = self.numbers.chunks(filter);
                let sums = filters.map(|numbers| numbers.iter().map(|n| n.abs()).sum());
                sums.max()
            }
            false => {
                let columns = self.dims.last().copied().unwrap_or(1);
                let columns = usize::try_from(columns).unwrap_or(1).max(1);
                let rows = self.dims[self.dims.len() - 2];
                let matrix = usize::try_from(rows)
                    .unwrap_or(1)
                    .max(1)
                    .saturating_mul(columns);
                let mut sums = vec![0; columns];
                let mut largest = 0;
                for (position, magnitude) in magnitudes.enumerate() {
                    if position % matrix == 0 {
                        sums.fill(0);
                    }
                    let sum: &mut i64 = &mut sums[position % columns];
                    *sum += magnitude;
                    largest = largest.max(*sum);
                }
                Some(largest)
            }
        };
        largest_sum.unwrap_or(0) <= MAX_EXACT_SUM / MAX_ACTIVATION
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{model, node, tensor, value};
    use crate::pb::GraphProto;

    fn rewritten(
        op_type: &str,
        (dims, weights): (&[i64], &[i64]),
        zeros: &[i64],
    ) -> Vec<NodeProto> {
        let mut matrix = tensor("w", DataType::Int8, weights);
        matrix.dims = dims.to_vec();
        let graph = GraphProto {
            input: vec![
                value("x", DataType::Uint8, &[-1, 2, 4]),
                value("zs", DataType::Uint8, &[2]),
            ],
            initializer: vec![
                matrix,
                tensor("xz", DataType::Uint8, &[7]),
                tensor("wz", DataType::Int8, zeros),
            ],
            node: vec![node(op_type, &["x", "w", "xz", "wz"], "y")],
            ..Default::default()
        };
        let mut model = model(17, graph);
        rewrite(&mut model);
        model.graph.map(|graph| graph.node).unwrap_or_default()
    }

    fn operators(nodes: &[NodeProto]) -> Vec<&str> {
        nodes.iter().map(|node| node.op_type.as_str()).collect()
    }

    fn weights(nodes: &[NodeProto]) -> Option<Vec<f32>> {
        let constant = nodes.iter().find(|node| node.op_type == "Constant")?;
        crate::onnx::values::floats(constant.attribute.first()?.t.as_ref()?)
    }

    #[test]
    fn a_product_with_constant_weights_is_one_of_floats() {
        let nodes = rewritten("MatMulInteger", (&[2, 2], &[1, 2, -3, 4]), &[1, -1]);
        let expected = ["Cast", "Cast", "Sub", "Constant", "MatMul", "Cast"];
        assert_eq!(operators(&nodes), expected);
        assert_eq!(weights(&nodes), Some(vec![0.0, 3.0, -4.0, 5.0]));
        assert_eq!(nodes[5].output, ["y"]);
    }

    #[test]
    fn the_zero_points_of_a_convolution_belong_to_its_filters() {
        let nodes = rewritten("ConvInteger", (&[2, 1, 2], &[1, 2, 3, 4]), &[1, 2]);
        assert_eq!(operators(&nodes)[3..], ["Constant", "Conv", "Cast"]);
        assert_eq!(weights(&nodes), Some(vec![0.0, 1.0, 1.0, 2.0]));
        let shape = attribute(&nodes[4], "kernel_shape").map(|found| found.ints.clone());
        assert_eq!(shape, Some(vec![2]));
    }

    #[test]
    fn sums_that_may_exceed_the_precision_stay() {
        let long = vec![127; 600];
        let nodes = rewritten("MatMulInteger", (&[600, 1], &long), &[0]);
        assert_eq!(operators(&nodes), ["MatMulInteger"]);
        let nodes = rewritten("MatMulInteger", (&[1, 600], &long), &[0]);
        assert_eq!(nodes.len(), 6);
        let nodes = rewritten("ConvInteger", (&[1, 1, 600], &long), &[0]);
        assert_eq!(operators(&nodes), ["ConvInteger"]);
    }
}
