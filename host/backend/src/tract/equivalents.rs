//! Rewrites of nodes that tract computes wrongly, or not at all, into others that it computes as specified.
//!
//! Most are about attributes and defaults of some versions of an operator, which tract's reader does not know.
//! [`super::unsupported_ops`] refuses the remaining operators.

use super::recurrence;
use crate::onnx::node_builder::{
    floats_constant, integers_constant, operator, with_integer, with_tensor, with_text,
};
use crate::onnx::node_parts::{attribute, is_onnx};
use crate::onnx::rewriter::{NewNames, Rule, rewrite as rewrite_nodes};
use crate::onnx::values::Site;
use crate::pb::tensor_proto::DataType;
use crate::pb::{ModelProto, NodeProto, TensorProto};
use std::collections::BTreeMap;

/// The first version in which Slice has steps, as inputs.
const SLICE_STEPS_OPSET: i64 = 10;

/// The version in which Resize had two inputs and no attributes besides `mode`.
const PLAIN_RESIZE_OPSET: i64 = 10;

/// The first version in which the axis of DFT is an input.
const DFT_AXIS_INPUT_OPSET: i64 = 20;

/// Rewrites all nodes of `model` that have an equivalent.
pub(super) fn rewrite(model: &mut ModelProto) {
    const RULES: &[Rule] = &[
        plain_resize,
        transform_axis,
        explicit_equation,
        recurrence::scan,
        reversed_sequence,
        scaled_swish,
        float_zeros,
    ];
    rewrite_nodes(model, RULES);
}

/// States the rounding of the first version of Resize: down to the nearest element where an axis grows, and up
/// where it shrinks. If axes do both, they are resized one after the other.
fn plain_resize(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let is_plain = is_onnx(site.node, &["Resize"]) && site.opset == PLAIN_RESIZE_OPSET;
    let is_nearest = matches!(site.text("mode"), b"" | b"nearest");
    if !is_plain || !is_nearest || attribute(site.node, "nearest_mode").is_some() {
        return None;
    }
    let scales = site.values.floats(site.input(1))?;
    if scales.iter().all(|&scale| scale >= 1.0) {
        return Some(vec![with_text(site.node.clone(), "nearest_mode", "floor")]);
    }
    if scales.iter().all(|&scale| scale <= 1.0) {
        return Some(vec![with_text(site.node.clone(), "nearest_mode", "ceil")]);
    }
    let output = site.output(0);
    let (grow, grown) = (names.name(output, "grow"), names.name(output, "grown"));
    let shrink = names.name(output, "shrink");
    let bounded = |bound: fn(f32, f32) -> f32| -> Vec<f32> {
        scales.iter().map(|&scale| bound(scale, 1.0)).collect()
    };
    let rank = vec![i64::try_from(scales.len()).ok()?];
    let resize = |from: &str, scales: &str, to: &str, rounding: &str| {
        let node = operator("Resize", &[from, scales], to);
        with_text(with_text(node, "mode", "nearest"), "nearest_mode", rounding)
    };
    Some(vec![
        floats_constant(&grow, rank.clone(), bounded(f32::max)),
        resize(site.input(0), &grow, &grown, "floor"),
        floats_constant(&shrink, rank, bounded(f32::min)),
        resize(&grown, &shrink, output, "ceil"),
    ])
}

/// States the default axis of DFT, for which tract has that of an older version.
fn transform_axis(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let is_newer = is_onnx(site.node, &["DFT"]) && site.opset >= DFT_AXIS_INPUT_OPSET;
    if !is_newer || !site.input(2).is_empty() {
        return None;
    }
    let axis = names.name(site.output(0), "axis");
    let mut node = site.node.clone();
    node.input.resize(2, String::new());
    node.input.push(axis.clone());
    // The last axis has the real and the imaginary parts.
    let constant = with_integer(operator("Constant", &[], &axis), "value_int", -2);
    Some(vec![constant, node])
}

/// States the output of an Einsum that leaves it out: the indices that occur once, in alphabetical order. tract takes
/// an output without indices for one with all of them, so that the last index is summed up afterwards.
fn explicit_equation(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    if !is_onnx(site.node, &["Einsum"]) {
        return None;
    }
    let equation = str::from_utf8(site.text("equation")).ok()?;
    let equation: String = equation.split_whitespace().collect();
    let explicit = match equation.contains("->") {
        true => equation,
        false => with_output(&equation),
    };
    let node = with_text(site.node.clone(), "equation", &explicit);
    let operands = explicit.strip_suffix("->");
    let index = operands.and_then(|operands| operands.chars().find(char::is_ascii_alphabetic));
    let Some(index) = index else {
        return (node != *site.node).then(|| vec![node]);
    };
    let output = site.output(0);
    let terms = names.name(output, "terms");
    let mut node = with_text(node, "equation", &format!("{explicit}{index}"));
    node.output = vec![terms.clone()];
    let sum = operator("ReduceSum", &[&terms], output);
    Some(vec![node, with_integer(sum, "keepdims", 0)])
}

/// Returns the equation with the output that it leaves out.
fn with_output(equation: &str) -> String {
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for index in equation.chars().filter(char::is_ascii_alphabetic) {
        let count = counts.entry(index).or_default();
        *count = count.saturating_add(1);
    }
    let once = counts.iter().filter(|(_, count)| **count == 1);
    let once: String = once.map(|(&index, _)| index).collect();
    let broadcast = if equation.contains("...") { "..." } else { "" };
    format!("{equation}->{broadcast}{once}")
}

/// Replaces a recurrent operator that reads its sequences backwards by one that reads reversed sequences.
fn reversed_sequence(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let is_reverse =
        is_onnx(site.node, &["GRU", "LSTM", "RNN"]) && site.text("direction") == b"reverse";
    let has_lengths = !site.input(4).is_empty();
    let is_supported = site.opset >= SLICE_STEPS_OPSET && site.integer("layout", 0) == 0;
    if !is_reverse || has_lengths || !is_supported {
        return None;
    }
    let first = site.node.output.iter().find(|name| !name.is_empty())?;
    let mut name = |part| names.name(first, part);
    let (start, end, axis) = (name("start"), name("end"), name("axis"));
    let (reversed, backwards) = (name("reversed"), name("backwards"));
    // One step back from the last element, to before the first.
    let flip = |from: &str, to: &str| operator("Slice", &[from, &start, &end, &axis, &start], to);
    let mut node = site.node.clone();
    (node.attribute).retain(|attribute| attribute.name != "direction");
    if let Some(input) = node.input.first_mut() {
        input.clone_from(&reversed);
    }
    let mut nodes = vec![
        integers_constant(&start, vec![-1]),
        integers_constant(&end, vec![i64::MIN]),
        integers_constant(&axis, vec![0]),
        flip(site.input(0), &reversed),
    ];
    let output = site.output(0);
    if output.is_empty() {
        nodes.push(node);
        return Some(nodes);
    }
    if let Some(all) = node.output.first_mut() {
        all.clone_from(&backwards);
    }
    nodes.push(node);
    nodes.push(flip(&backwards, output));
    Some(nodes)
}

/// Replaces Swish with another `alpha` than 1, which tract does not read, by x * sigmoid(alpha * x).
fn scaled_swish(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let alpha = attribute(site.node, "alpha")?.f;
    let is_default = alpha.to_bits() == 1f32.to_bits();
    if !is_onnx(site.node, &["Swish"]) || is_default || site.input_type(0)? != DataType::Float {
        return None;
    }
    let (input, output) = (site.input(0), site.output(0));
    let mut name = |part| names.name(output, part);
    let (scale, scaled, gate) = (name("alpha"), name("scaled"), name("gate"));
    Some(vec![
        floats_constant(&scale, Vec::new(), vec![alpha]),
        operator("Mul", &[input, &scale], &scaled),
        operator("Sigmoid", &[&scaled], &gate),
        operator("Mul", &[input, &gate], output),
    ])
}

/// States the default value of ConstantOfShape, zero, which is a FLOAT64 in tract.
fn float_zeros(site: &Site<'_>, _: &mut NewNames) -> Option<Vec<NodeProto>> {
    let has_value = attribute(site.node, "value").is_some();
    if !is_onnx(site.node, &["ConstantOfShape"]) || has_value {
        return None;
    }
    let zero = TensorProto {
        dims: vec![1],
        data_type: DataType::Float as i32,
        raw_data: 0_f32.to_le_bytes().to_vec(),
        ..Default::default()
    };
    Some(vec![with_tensor(site.node.clone(), "value", zero)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{float, model, node, number, tensor, text, value};
    use crate::pb::GraphProto;

    fn rewritten(opset: i64, original: NodeProto) -> Vec<NodeProto> {
        let graph = GraphProto {
            input: vec![value("x", DataType::Float, &[-1, 4, 4, 4])],
            initializer: vec![scales("up", &[1.0, 1.5]), scales("down", &[1.0, 0.5])],
            node: vec![original],
            ..Default::default()
        };
        let mut model = model(opset, graph);
        model.graph.as_mut().unwrap().initializer.extend([
            scales("both", &[0.5, 1.5]),
            tensor("lengths", DataType::Int32, &[3]),
        ]);
        rewrite(&mut model);
        model.graph.unwrap().node
    }

    fn scales(name: &str, numbers: &[f32]) -> TensorProto {
        TensorProto {
            name: name.to_owned(),
            data_type: DataType::Float as i32,
            dims: vec![numbers.len() as i64],
            float_data: numbers.to_vec(),
            ..Default::default()
        }
    }

    fn operators(nodes: &[NodeProto]) -> Vec<&str> {
        nodes.iter().map(|node| node.op_type.as_str()).collect()
    }

    fn stated<'a>(node: &'a NodeProto, name: &str) -> &'a str {
        let found = attribute(node, name).map_or(b"".as_slice(), |found| &found.s);
        str::from_utf8(found).unwrap()
    }

    #[test]
    fn the_first_resize_rounds_down_where_it_enlarges_and_up_where_it_reduces() {
        let resize = |scales| node("Resize", &["x", scales], "y");
        let nodes = rewritten(10, resize("up"));
        assert_eq!(stated(&nodes[0], "nearest_mode"), "floor");
        let nodes = rewritten(10, resize("down"));
        assert_eq!(stated(&nodes[0], "nearest_mode"), "ceil");
        let nodes = rewritten(10, resize("both"));
        let expected = ["Constant", "Resize", "Constant", "Resize"];
        assert_eq!(operators(&nodes), expected);
        assert_eq!(stated(&nodes[1], "nearest_mode"), "floor");
        assert_eq!(stated(&nodes[3], "nearest_mode"), "ceil");
        let linear = text(resize("up"), "mode", "linear");
        for (opset, kept) in [(10, linear), (11, resize("up")), (10, resize("x"))] {
            assert_eq!(rewritten(opset, kept.clone()), [kept]);
        }
    }

    #[test]
    fn the_default_axis_of_a_transform_is_the_last_but_one() {
        let nodes = rewritten(20, node("DFT", &["x"], "y"));
        assert_eq!(operators(&nodes), ["Constant", "DFT"]);
        assert_eq!(attribute(&nodes[0], "value_int").unwrap().i, -2);
        assert_eq!(nodes[1].input, ["x", "", nodes[0].output[0].as_str()]);
        let stated = node("DFT", &["x", "", "axis"], "y");
        assert_eq!(rewritten(20, stated.clone()), [stated]);
        let older = node("DFT", &["x"], "y");
        assert_eq!(rewritten(17, older.clone()), [older]);
    }

    #[test]
    fn an_equation_without_an_output_gets_the_indices_that_occur_once() {
        for (equation, expected) in [
            ("ij,jk", "ij,jk->ik"),
            ("...bj,...ja", "...bj,...ja->...ab"),
            ("ij->ji", "ij->ji"),
            (" i j -> j ", "ij->j"),
        ] {
            let einsum = text(node("Einsum", &["x", "x"], "y"), "equation", equation);
            let nodes = rewritten(12, einsum);
            assert_eq!(operators(&nodes), ["Einsum"]);
            assert_eq!(stated(&nodes[0], "equation"), expected);
        }
    }

    #[test]
    fn an_equation_with_an_output_of_one_element_is_summed_up_afterwards() {
        for (equation, expected) in [("ij , ij", "ij,ij->i"), ("ii", "ii->i"), ("ij->", "ij->i")] {
            let einsum = text(node("Einsum", &["x", "x"], "y"), "equation", equation);
            let nodes = rewritten(12, einsum);
            assert_eq!(operators(&nodes), ["Einsum", "ReduceSum"]);
            assert_eq!(stated(&nodes[0], "equation"), expected);
            assert_eq!(nodes[1].input, nodes[0].output);
            assert_eq!(nodes[1].output, ["y"]);
        }
    }

    #[test]
    fn a_sequence_that_is_read_backwards_is_reversed_before_and_after() {
        let mut gru = text(node("GRU", &["x", "w", "r"], "y"), "direction", "reverse");
        gru.output.push("last".to_owned());
        let nodes = rewritten(14, gru.clone());
        let expected = ["Constant", "Constant", "Constant", "Slice", "GRU", "Slice"];
        assert_eq!(operators(&nodes), expected);
        assert_eq!(nodes[4].input[0], nodes[3].output[0]);
        assert_eq!(nodes[4].output[1], "last");
        assert!(attribute(&nodes[4], "direction").is_none());
        assert_eq!(nodes[5].output, ["y"]);
        gru.output[0].clear();
        assert_eq!(operators(&rewritten(14, gru.clone()))[4..], ["GRU"]);
        let mut with_lengths = gru.clone();
        with_lengths
            .input
            .extend(["".to_owned(), "lengths".to_owned()]);
        let batch_first = number(gru.clone(), "layout", 1);
        for (opset, kept) in [(14, with_lengths), (14, batch_first), (9, gru)] {
            assert_eq!(rewritten(opset, kept.clone()), [kept]);
        }
    }

    #[test]
    fn another_scale_of_swish_is_computed_from_other_operators() {
        let swish = node("Swish", &["x"], "y");
        let nodes = rewritten(24, float(swish.clone(), "alpha", 1.5));
        assert_eq!(operators(&nodes), ["Constant", "Mul", "Sigmoid", "Mul"]);
        assert_eq!(nodes[3].output, ["y"]);
        let default = float(swish.clone(), "alpha", 1.0);
        for kept in [swish, default] {
            assert_eq!(rewritten(24, kept.clone()), [kept]);
        }
    }

    #[test]
    fn a_constant_of_a_shape_is_a_float_unless_it_states_a_value() {
        let zeros = node("ConstantOfShape", &["lengths"], "y");
        let nodes = rewritten(9, zeros);
        let stated = attribute(&nodes[0], "value").unwrap().t.clone().unwrap();
        assert_eq!(stated.data_type, DataType::Float as i32);
        assert_eq!(stated.raw_data, [0; 4]);
        assert_eq!(rewritten(9, nodes[0].clone()), nodes);
    }
}
