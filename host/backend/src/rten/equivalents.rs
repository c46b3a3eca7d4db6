//! Rewrites of nodes that rten computes wrongly, or not at all, into others that it computes as specified.
//!
//! The result need not be a valid file: integers and bools are one type in rten, and it accepts the inputs
//! and attributes of all versions of an operator. [`super::unsupported`] refuses the remaining operators.

mod dropout;
mod local_response;

use crate::onnx::node_builder::{cast, constant, operator, with_integer, with_integers};
use crate::onnx::node_parts::{attribute, is_onnx};
use crate::onnx::rewriter::{NewNames, Rule, along_axis, rewrite as rewrite_nodes};
use crate::onnx::values::{Site, is_float};
use crate::pb::tensor_proto::DataType;
use crate::pb::{ModelProto, NodeProto};

/// Rewrites all nodes of `model` that have an equivalent.
pub(super) fn rewrite(model: &mut ModelProto) {
    const RULES: &[Rule] = &[
        first_extreme,
        boolean_cast,
        float_sign,
        bounded_softplus,
        quantize_defaults,
        pool_strides,
        kernel_shape,
        dropout::identity,
        local_response::average,
    ];
    if let Some(graph) = &mut model.graph {
        dropout::remove_unused_masks(graph);
    }
    rewrite_nodes(model, RULES);
}

/// Replaces ArgMax and ArgMin, which return the last of equal elements, by TopK, which returns the first.
fn first_extreme(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let is_extreme = is_onnx(site.node, &["ArgMax", "ArgMin"]);
    if !is_extreme || site.integer("select_last_index", 0) != 0 {
        return None;
    }
    let (output, axis) = (site.output(0), site.integer("axis", 0));
    let (one, extreme) = (names.name(output, "one"), names.name(output, "extreme"));
    let keeps_axis = site.integer("keepdims", 1) != 0;
    let index = match keeps_axis {
        true => output.to_owned(),
        false => names.name(output, "index"),
    };
    let count = vector(constant(&one, 1, DataType::Int64));
    let mut top = operator("TopK", &[site.input(0), &one], &extreme);
    top.output.push(index.clone());
    let largest = i64::from(site.node.op_type == "ArgMax");
    let top = with_integer(with_integer(top, "axis", axis), "largest", largest);
    let mut nodes = vec![count, top];
    if !keeps_axis {
        let squeeze = operator("Squeeze", &[&index], output);
        nodes.extend(along_axis(squeeze, axis, site.opset, names));
    }
    Some(nodes)
}

/// Replaces casts to BOOL, which keep numbers other than 0 and 1, by comparisons with zero.
fn boolean_cast(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let to_bool =
        is_onnx(site.node, &["Cast"]) && site.integer("to", 0) == i64::from(DataType::Bool as i32);
    let like_bool = is_onnx(site.node, &["CastLike"]) && site.input_type(1) == Some(DataType::Bool);
    if !to_bool && !like_bool {
        return None;
    }
    let (input, output) = (site.input(0), site.output(0));
    let (zero, is_zero) = (names.name(output, "zero"), names.name(output, "is_zero"));
    let compared = |zero_type, number: &str| {
        vec![
            constant(&zero, 0, zero_type),
            operator("Equal", &[number, &zero], &is_zero),
            operator("Not", &[&is_zero], output),
        ]
    };
    Some(match site.input_type(0)? {
        DataType::Bool => vec![operator("Identity", &[input], output)],
        DataType::Int32 | DataType::Int64 => compared(DataType::Int32, input),
        DataType::Float | DataType::Float16 => compared(DataType::Float, input),
        // rten compares only larger types.
        DataType::Int8 | DataType::Uint8 => {
            let wide = names.name(output, "wide");
            let mut nodes = vec![cast(input, &wide, DataType::Int32 as i32)];
            nodes.extend(compared(DataType::Int32, &wide));
            nodes
        }
        _ => return None,
    })
}

/// Replaces Sign of floats, which is 1 for zero, by comparisons. NaN stays NaN.
fn float_sign(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    if !is_onnx(site.node, &["Sign"]) || !site.input_type(0).is_some_and(is_float) {
        return None;
    }
    let (input, output) = (site.input(0), site.output(0));
    let zero = names.name(output, "zero");
    let mut nodes = vec![constant(&zero, 0, DataType::Float)];
    let mut compared = |op_type, part| {
        let (is_so, number) = (
            names.name(output, part),
            names.name(output, &format!("{part}_number")),
        );
        nodes.push(operator(op_type, &[input, &zero], &is_so));
        nodes.push(cast(&is_so, &number, DataType::Float as i32));
        number
    };
    let (positive, negative) = (
        compared("Greater", "positive"),
        compared("Less", "negative"),
    );
    let (sign, is_nan) = (names.name(output, "sign"), names.name(output, "is_nan"));
    nodes.push(operator("Sub", &[&positive, &negative], &sign));
    nodes.push(operator("IsNaN", &[input], &is_nan));
    nodes.push(operator("Where", &[&is_nan, input, &sign], output));
    Some(nodes)
}

/// Replaces Softplus, which is infinite from 89 on, by Relu(x) + Softplus(-|x|).
fn bounded_softplus(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    if !is_onnx(site.node, &["Softplus"]) || is_bounded(site) {
        return None;
    }
    let (input, output) = (site.input(0), site.output(0));
    let mut name = |part| names.name(output, part);
    let (absolute, negative) = (name("absolute"), name("negative"));
    let (small, positive) = (name("small"), name("positive"));
    Some(vec![
        operator("Abs", &[input], &absolute),
        operator("Neg", &[&absolute], &negative),
        operator("Softplus", &[&negative], &small),
        operator("Relu", &[input], &positive),
        operator("Add", &[&positive, &small], output),
    ])
}

/// Returns whether the input of a Softplus is known not to be positive.
pub(super) fn is_bounded(site: &Site<'_>) -> bool {
    let negative = site.values.producer(site.input(0));
    negative.is_some_and(|negative| {
        let input = negative.input.first().map_or("", String::as_str);
        let absolute = site.values.producer(input);
        is_onnx(negative, &["Neg"]) && absolute.is_some_and(|node| is_onnx(node, &["Abs"]))
    })
}

/// States the axis of QuantizeLinear, for which rten has another default, and its output type.
fn quantize_defaults(site: &Site<'_>, _: &mut NewNames) -> Option<Vec<NodeProto>> {
    if !is_onnx(site.node, &["QuantizeLinear"]) {
        return None;
    }
    let mut node = site.node.clone();
    if attribute(&node, "axis").is_none() {
        node = with_integer(node, "axis", 1);
    }
    let data_type = match site.input(2) {
        "" => Some(DataType::Uint8),
        _ => site.input_type(2),
    };
    if let Some(data_type) = data_type
        && site.integer("output_dtype", 0) == 0
    {
        node = with_integer(node, "output_dtype", i64::from(data_type as i32));
    }
    (node != *site.node).then(|| vec![node])
}

/// States the strides of a pooling operator, for which rten has no default.
fn pool_strides(site: &Site<'_>, _: &mut NewNames) -> Option<Vec<NodeProto>> {
    let is_pool = is_onnx(site.node, &["AveragePool", "MaxPool"]);
    if !is_pool || attribute(site.node, "strides").is_some() {
        return None;
    }
    let axes = attribute(site.node, "kernel_shape")?.ints.len();
    Some(vec![with_integers(
        site.node.clone(),
        "strides",
        vec![1; axes],
    )])
}

/// States the size of a kernel, which follows from the weights if it is missing.
fn kernel_shape(site: &Site<'_>, _: &mut NewNames) -> Option<Vec<NodeProto>> {
    let is_convolution = is_onnx(site.node, &["Conv", "ConvTranspose"]);
    if !is_convolution || attribute(site.node, "kernel_shape").is_some() {
        return None;
    }
    // The first two axes are channels.
    let sizes = site.values.shape(site.input(1))?.get(2..)?;
    let sizes = sizes.iter().map(|&size| i64::try_from(size?).ok());
    let sizes = sizes.collect::<Option<Vec<i64>>>()?;
    Some(vec![with_integers(
        site.node.clone(),
        "kernel_shape",
        sizes,
    )])
}

/// Returns a constant as a vector with one element.
fn vector(mut constant: NodeProto) -> NodeProto {
    for tensor in constant
        .attribute
        .iter_mut()
        .filter_map(|found| found.t.as_mut())
    {
        tensor.dims = vec![1];
    }
    constant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{model, node, number, numbers, tensor, value};
    use crate::pb::GraphProto;

    fn rewritten(opset: i64, data_type: DataType, original: NodeProto) -> Vec<NodeProto> {
        let graph = GraphProto {
            input: vec![value("x", data_type, &[-1, 4, 4, 4])],
            initializer: vec![
                tensor("w", DataType::Float, &[1, 2]),
                tensor("zero", DataType::Int8, &[0]),
                tensor("no", DataType::Bool, &[0]),
            ],
            node: vec![original],
            ..Default::default()
        };
        let mut model = model(opset, graph);
        rewrite(&mut model);
        model.graph.unwrap().node
    }

    fn operators(nodes: &[NodeProto]) -> Vec<&str> {
        nodes.iter().map(|node| node.op_type.as_str()).collect()
    }

    #[test]
    fn an_extreme_is_the_first_result_of_top_k() {
        let original = number(node("ArgMin", &["x"], "y"), "axis", 1);
        let nodes = rewritten(13, DataType::Float, original.clone());
        assert_eq!(operators(&nodes), ["Constant", "TopK"]);
        assert_eq!(nodes[0].attribute[0].t.as_ref().unwrap().dims, [1]);
        assert_eq!(nodes[1].output[1], "y");
        let attributes: Vec<(&str, i64)> = nodes[1]
            .attribute
            .iter()
            .map(|attribute| (attribute.name.as_str(), attribute.i))
            .collect();
        assert_eq!(attributes, [("axis", 1), ("largest", 0)]);
        let dropped = number(original, "keepdims", 0);
        let nodes = rewritten(13, DataType::Float, dropped.clone());
        assert_eq!(
            operators(&nodes),
            ["Constant", "TopK", "Constant", "Squeeze"]
        );
        assert_eq!(nodes[3].input[0], nodes[1].output[1]);
        assert_eq!(nodes[3].output, ["y"]);
        let nodes = rewritten(11, DataType::Float, dropped);
        assert_eq!(nodes[2].attribute[0].ints, [1]);
        let last = number(node("ArgMax", &["x"], "y"), "select_last_index", 1);
        assert_eq!(rewritten(13, DataType::Float, last.clone()), [last]);
    }

    #[test]
    fn a_cast_to_bool_becomes_a_comparison_with_zero_of_its_type() {
        let to_bool = number(node("Cast", &["x"], "y"), "to", DataType::Bool as i64);
        let zero_type = |nodes: &[NodeProto]| {
            let tensor = nodes[0].attribute[0].t.as_ref();
            tensor.map(|tensor| tensor.data_type)
        };
        for (data_type, zero) in [
            (DataType::Int64, DataType::Int32),
            (DataType::Float, DataType::Float),
            (DataType::Float16, DataType::Float),
        ] {
            let nodes = rewritten(13, data_type, to_bool.clone());
            assert_eq!(operators(&nodes), ["Constant", "Equal", "Not"]);
            assert_eq!(zero_type(&nodes), Some(zero as i32));
            assert_eq!(nodes[2].output, ["y"]);
        }
        let nodes = rewritten(13, DataType::Uint8, to_bool.clone());
        assert_eq!(operators(&nodes), ["Cast", "Constant", "Equal", "Not"]);
        let nodes = rewritten(13, DataType::Bool, to_bool);
        assert_eq!(operators(&nodes), ["Identity"]);
        let like = node("CastLike", &["x", "no"], "y");
        assert_eq!(rewritten(15, DataType::Float, like).len(), 3);
        let to_float = number(node("Cast", &["x"], "y"), "to", 1);
        assert_eq!(rewritten(13, DataType::Bool, to_float.clone()), [to_float]);
    }

    #[test]
    fn signs_and_softplus_are_computed_from_other_operators() {
        let sign = node("Sign", &["x"], "y");
        let nodes = rewritten(13, DataType::Float, sign.clone());
        let expected = [
            "Constant", "Greater", "Cast", "Less", "Cast", "Sub", "IsNaN", "Where",
        ];
        assert_eq!(operators(&nodes), expected);
        assert_eq!(
            nodes[5].input,
            [nodes[2].output[0].clone(), nodes[4].output[0].clone()]
        );
        assert_eq!(rewritten(13, DataType::Int64, sign.clone()), [sign]);
        let softplus = node("Softplus", &["x"], "y");
        let nodes = rewritten(13, DataType::Float, softplus);
        assert_eq!(operators(&nodes), ["Abs", "Neg", "Softplus", "Relu", "Add"]);
        let graph = GraphProto {
            node: nodes.clone(),
            ..Default::default()
        };
        let mut again = model(13, graph);
        rewrite(&mut again);
        assert_eq!(again.graph.unwrap().node, nodes);
    }

    #[test]
    fn defaults_that_rten_lacks_are_stated() {
        let stated = |nodes: &[NodeProto], name: &str| {
            let found = attribute(&nodes[0], name);
            found.map(|found| (found.i, found.ints.clone()))
        };
        let nodes = rewritten(
            13,
            DataType::Float,
            node("QuantizeLinear", &["x", "w"], "y"),
        );
        assert_eq!(stated(&nodes, "axis"), Some((1, vec![])));
        assert_eq!(
            stated(&nodes, "output_dtype"),
            Some((DataType::Uint8 as i64, vec![]))
        );
        let signed = node("QuantizeLinear", &["x", "w", "zero"], "y");
        let nodes = rewritten(13, DataType::Float, number(signed, "axis", 2));
        assert_eq!(stated(&nodes, "axis"), Some((2, vec![])));
        assert_eq!(
            stated(&nodes, "output_dtype"),
            Some((DataType::Int8 as i64, vec![]))
        );
        let pool = numbers(node("MaxPool", &["x"], "y"), "kernel_shape", &[3, 3]);
        let nodes = rewritten(13, DataType::Float, pool);
        assert_eq!(stated(&nodes, "strides"), Some((0, vec![1, 1])));
        // The weights have the declared shape of `x`, of which the first axes are channels.
        let nodes = rewritten(13, DataType::Float, node("Conv", &["x", "x"], "y"));
        assert_eq!(stated(&nodes, "kernel_shape"), Some((0, vec![4, 4])));
    }
}
