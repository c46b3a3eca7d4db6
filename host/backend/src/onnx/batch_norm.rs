//! Folds batch normalisation after a convolution or a matrix product into the weights.
//!
//! Batch normalisation is a constant factor and a constant sum for each channel, and the weights are constants
//! too. Multiplied once at load time, it costs nothing in a computation. All other patterns stay unchanged.

use super::node_parts::{attribute, inner_graphs, is_onnx, is_onnx_domain};
use crate::pb::tensor_proto::{DataLocation, DataType};
use crate::pb::{GraphProto, NodeProto, TensorProto};
use std::collections::{BTreeMap, BTreeSet};

/// The default of ONNX.
const EPSILON: f32 = 1e-5;

/// The factor of each channel and the sum that is added after it.
struct Affine {
    factors: Vec<f64>,
    offsets: Vec<f64>,
}

/// Folds every possible normalisation in the outermost graph.
pub(super) fn fold(graph: &mut GraphProto) {
    let mut folded = BTreeSet::new();
    let mut unused = BTreeSet::new();
    let uses = uses(graph);
    let makers: BTreeMap<String, usize> = (graph.node.iter().enumerate())
        .flat_map(|(position, node)| node.output.iter().map(move |name| (name.clone(), position)))
        .collect();
    for position in 0..graph.node.len() {
        let norm = &graph.node[position];
        let Some(maker) = norm.input.first().and_then(|input| makers.get(input)) else {
            continue;
        };
        if uses.get(&norm.input[0]) != Some(&1) || folded.contains(maker) {
            continue;
        }
        let Some(weights) = fold_node(graph, &graph.node[*maker], norm) else {
            continue;
        };
        unused.extend(graph.node[*maker].input.iter().skip(1).cloned());
        unused.extend(norm.input.iter().skip(1).cloned());
        let output = norm.output[0].clone();
        let product = &mut graph.node[*maker];
        product.input.truncate(1);
        product
            .input
            .extend(weights.iter().map(|tensor| tensor.name.clone()));
        product.output[0] = output;
        graph.initializer.extend(weights);
        folded.insert(position);
    }
    if folded.is_empty() {
        return;
    }
    let mut position = 0..;
    graph.node.retain(|_| {
        !position
            .next()
            .is_some_and(|position| folded.contains(&position))
    });
    // An input with a default value must keep it: otherwise requests would have to contain it.
    let uses = self::uses(graph);
    let inputs: BTreeSet<&str> = graph
        .input
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    let is_needed = |name: &String| {
        !unused.contains(name) || uses.contains_key(name) || inputs.contains(name.as_str())
    };
    graph.initializer.retain(|tensor| is_needed(&tensor.name));
}

/// Counts the uses of each value by nodes, by inner graphs, and as an output.
fn uses(graph: &GraphProto) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    count_uses(graph, &mut uses);
    uses
}

fn count_uses(graph: &GraphProto, uses: &mut BTreeMap<String, usize>) {
    let outputs = graph.output.iter().map(|output| &output.name);
    let inputs = graph.node.iter().flat_map(|node| &node.input);
    for name in outputs.chain(inputs) {
        *uses.entry(name.clone()).or_default() += 1;
    }
    for inner in graph.node.iter().flat_map(inner_graphs) {
        count_uses(inner, uses);
    }
}

/// Returns the weights and the bias of `product` with `norm` folded into them, if that is possible.
fn fold_node(
    graph: &GraphProto,
    product: &NodeProto,
    norm: &NodeProto,
) -> Option<[TensorProto; 2]> {
    if !is_onnx(norm, &["BatchNormalization"]) || !is_onnx_domain(&product.domain) {
        return None;
    }
    let affine = Affine::of(graph, norm)?;
    let channels = affine.factors.len();
    let (weight, mut numbers) = constant(graph, product.input.get(1)?)?;
    // The numbers of one channel are either contiguous, or one in each row.
    let together = match product.op_type.as_str() {
        "Conv" => true,
        "Gemm" if int(product, "transB") == Some(1) => true,
        "Gemm" => false,
        _ => return None,
    };
    let plain = ["alpha", "beta"]
        .iter()
        .all(|name| float(product, name).is_none_or(|factor| factor == 1.0));
    let axis = if together {
        weight.dims.first()
    } else {
        weight.dims.last()
    };
    if !plain || axis.and_then(|&size| usize::try_from(size).ok()) != Some(channels) {
        return None;
    }
    let bias = match product.input.get(2).filter(|name| !name.is_empty()) {
        Some(name) => constant(graph, name)?.1,
        None => vec![0.0; channels],
    };
    if bias.len() != channels {
        return None;
    }
    let size = numbers.len() / channels;
    for (position, number) in numbers.iter_mut().enumerate() {
        let channel = if together {
            position / size
        } else {
            position % channels
        };
        *number *= affine.factors[channel];
    }
    let bias = bias.iter().zip(&affine.factors).zip(&affine.offsets);
    let bias: Vec<f64> = bias
        .map(|((bias, factor), sum)| bias * factor + sum)
        .collect();
    let name = &norm.output[0];
    let tensors = [
        tensor(
            format!("{name}.folded_weights"),
            weight.dims.clone(),
            &numbers,
        ),
        tensor(
            format!("{name}.folded_bias"),
            vec![i64::try_from(channels).ok()?],
            &bias,
        ),
    ];
    let is_taken = |name: &str| graph.initializer.iter().any(|tensor| tensor.name == name);
    (!tensors.iter().any(|tensor| is_taken(&tensor.name))).then_some(tensors)
}

impl Affine {
    fn of(graph: &GraphProto, norm: &NodeProto) -> Option<Affine> {
        let extra = norm.output.iter().skip(1).any(|output| !output.is_empty());
        let trains = int(norm, "training_mode") == Some(1)
            || int(norm, "is_test") == Some(0)
            || int(norm, "spatial") == Some(0);
        if extra || trains || norm.output.is_empty() {
            return None;
        }
        let [_, scale, bias, mean, variance] = norm.input.as_slice() else {
            return None;
        };
        let [scale, bias, mean, variance] = [scale, bias, mean, variance]
            .map(|name| constant(graph, name).map(|(_, numbers)| numbers));
        let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
        let channels = scale.len();
        if channels == 0
            || [&bias, &mean, &variance]
                .iter()
                .any(|found| found.len() != channels)
        {
            return None;
        }
        let epsilon = f64::from(float(norm, "epsilon").unwrap_or(EPSILON));
        let factors: Vec<f64> = (scale.iter().zip(&variance))
            .map(|(scale, variance)| scale / (variance + epsilon).sqrt())
            .collect();
        let offsets: Vec<f64> = (bias.iter().zip(&mean).zip(&factors))
            .map(|((bias, mean), factor)| bias - mean * factor)
            .collect();
        let finite = factors
            .iter()
            .chain(&offsets)
            .all(|number| number.is_finite());
        finite.then_some(Affine { factors, offsets })
    }
}

/// Returns an f32 initializer that is stored in the file itself.
fn constant<'a>(graph: &'a GraphProto, name: &str) -> Option<(&'a TensorProto, Vec<f64>)> {
    let tensor = graph
        .initializer
        .iter()
        .find(|tensor| tensor.name == name)?;
    let is_outside = tensor.data_location == Some(DataLocation::External as i32);
    if tensor.data_type != DataType::Float as i32 || is_outside {
        return None;
    }
    let numbers: Vec<f64> = match tensor.raw_data.is_empty() {
        true => tensor
            .float_data
            .iter()
            .map(|&number| f64::from(number))
            .collect(),
        false => {
            let (numbers, rest) = tensor.raw_data.as_chunks::<4>();
            let numbers = numbers
                .iter()
                .map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
            rest.is_empty().then(|| numbers.collect())?
        }
    };
    let size = tensor.dims.iter().try_fold(1, |size: usize, &axis| {
        size.checked_mul(usize::try_from(axis).ok()?)
    });
    (size == Some(numbers.len())).then_some((tensor, numbers))
}

fn tensor(name: String, dims: Vec<i64>, numbers: &[f64]) -> TensorProto {
    #[expect(clippy::cast_possible_truncation, reason = "weights are floats")]
    let floats = numbers.iter().map(|&number| number as f32);
    TensorProto {
        name,
        dims,
        data_type: DataType::Float as i32,
        raw_data: floats.flat_map(f32::to_le_bytes).collect(),
        ..Default::default()
    }
}

fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).map(|attribute| attribute.i)
}

fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name).map(|attribute| attribute.f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::node;
    use crate::pb::{AttributeProto, ValueInfoProto};

    fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> TensorProto {
        let numbers: Vec<f64> = numbers.iter().map(|&number| f64::from(number)).collect();
        tensor(name.to_owned(), dims.to_vec(), &numbers)
    }

    /// Returns `op_type` with the weights `w`, normalised with the scales 2 and 3, a bias of 1, a mean
    /// of 4 and a variance of 0.25.
    fn graph(op_type: &str, weights: TensorProto, outputs: &[&str]) -> GraphProto {
        let mut norm = node(
            "BatchNormalization",
            &["p", "scale", "b", "mean", "variance"],
            "y",
        );
        norm.attribute.push(AttributeProto {
            name: "epsilon".to_owned(),
            f: 0.0,
            ..Default::default()
        });
        GraphProto {
            node: vec![node(op_type, &["x", "w"], "p"), norm],
            initializer: vec![
                weights,
                floats("scale", &[2], &[2.0, 3.0]),
                floats("b", &[2], &[1.0, 1.0]),
                floats("mean", &[2], &[4.0, 4.0]),
                floats("variance", &[2], &[0.25, 0.25]),
            ],
            output: outputs
                .iter()
                .map(|name| ValueInfoProto {
                    name: (*name).to_owned(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }
    }

    #[test]
    fn convolutions_and_products_take_the_factors_of_their_channels() {
        for (op_type, dims, expected) in [
            (
                "Conv",
                [2, 3, 1].as_slice(),
                [4.0, 8.0, 12.0, 24.0, 30.0, 36.0],
            ),
            ("Gemm", &[3, 2], [4.0, 12.0, 12.0, 24.0, 20.0, 36.0]),
        ] {
            let weights = floats("w", dims, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            let mut graph = graph(op_type, weights, &["y"]);
            fold(&mut graph);
            assert_eq!(graph.node.len(), 1, "{op_type}");
            assert_eq!(graph.node[0].op_type, op_type);
            assert_eq!(graph.node[0].output, ["y"]);
            let names: Vec<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
            assert_eq!(names, ["y.folded_weights", "y.folded_bias"]);
            assert_eq!(graph.node[0].input[1..], names);
            assert_eq!(graph.initializer[0].dims, dims);
            assert_eq!(constant(&graph, names[0]).unwrap().1, expected, "{op_type}");
            assert_eq!(constant(&graph, names[1]).unwrap().1, [-15.0, -23.0]);
        }
    }

    #[test]
    fn shared_values_and_values_that_are_not_constant_are_not_folded() {
        let weights = floats("w", &[2, 1], &[1.0, 2.0]);
        let used_twice = graph("Conv", weights.clone(), &["y", "p"]);
        let mut trained = graph("Conv", weights.clone(), &["y"]);
        trained.node[1].attribute.push(AttributeProto {
            name: "training_mode".to_owned(),
            i: 1,
            ..Default::default()
        });
        let mut computed = graph("Conv", weights.clone(), &["y"]);
        computed.initializer.remove(4);
        let other_channels = graph("Conv", floats("w", &[1, 2], &[1.0, 2.0]), &["y"]);
        let other_operator = graph("MatMul", weights, &["y"]);
        for original in [
            used_twice,
            trained,
            computed,
            other_channels,
            other_operator,
        ] {
            let mut graph = original.clone();
            fold(&mut graph);
            assert_eq!(graph, original);
        }
    }
}
