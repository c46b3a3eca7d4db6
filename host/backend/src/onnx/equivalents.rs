//! Rewrites of nodes that neither embedded engine computes, or that both compute wrongly, into nodes of other
//! operators with the same results.

use super::node_builder::{floats_constant, integers_constant, operator, with_integer};
use super::node_parts::{attribute, is_onnx};
use super::rewriter::{NewNames, Rule, along_axis, rewrite as rewrite_nodes};
use super::values::Site;
use crate::pb::tensor_proto::DataType;
use crate::pb::{ModelProto, NodeProto};

/// Operators with windows, whose padding is either stated or derived.
const WINDOWED: &[&str] = &[
    "AveragePool",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "LpPool",
    "MaxPool",
    "QLinearConv",
];

/// Rewrites all nodes of `model` that have an equivalent.
pub(crate) fn rewrite(model: &mut ModelProto) {
    const RULES: &[Rule] = &[
        scaled_celu,
        selected_slices,
        derived_padding,
        super::quantised_gemm::scaled_product,
    ];
    rewrite_nodes(model, RULES);
}

/// Replaces Celu by the Elu of x / alpha, times alpha.
fn scaled_celu(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let alpha = attribute(site.node, "alpha").map_or(1.0, |alpha| alpha.f);
    let is_float = matches!(
        site.input_type(0),
        None | Some(DataType::Float | DataType::Float16)
    );
    let is_scale = alpha.is_finite() && alpha > 0.0;
    if !is_onnx(site.node, &["Celu"]) || !is_float || !is_scale {
        return None;
    }
    let (input, output) = (site.input(0), site.output(0));
    // Of 1, as is the default of Elu.
    if alpha.to_bits() == 1f32.to_bits() {
        return Some(vec![operator("Elu", &[input], output)]);
    }
    let mut name = |part| names.name(output, part);
    let (scale, scaled, unit) = (name("alpha"), name("scaled"), name("unit"));
    Some(vec![
        floats_constant(&scale, Vec::new(), vec![alpha]),
        operator("Div", &[input, &scale], &scaled),
        operator("Elu", &[&scaled], &unit),
        operator("Mul", &[&unit, &scale], output),
    ])
}

/// Replaces Compress by a Gather of the slices whose conditions are true.
fn selected_slices(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    if !is_onnx(site.node, &["Compress"]) {
        return None;
    }
    let (input, condition, output) = (site.input(0), site.input(1), site.output(0));
    let [positions, selected] = ["positions", "selected"].map(|part| names.name(output, part));
    let mut nodes = vec![operator("NonZero", &[condition], &positions)];
    // The condition is a vector, so that the positions have one row.
    let squeeze = operator("Squeeze", &[&positions], &selected);
    nodes.extend(along_axis(squeeze, 0, site.opset, names));
    match attribute(site.node, "axis") {
        Some(axis) => {
            let gather = operator("Gather", &[input, &selected], output);
            nodes.push(with_integer(gather, "axis", axis.i));
        }
        // Without an axis, the elements are selected in row order.
        None => {
            let [shape, elements] = ["shape", "elements"].map(|part| names.name(output, part));
            nodes.push(integers_constant(&shape, vec![-1]));
            nodes.push(operator("Reshape", &[input, &shape], &elements));
            nodes.push(operator("Gather", &[&elements, &selected], output));
        }
    }
    Some(nodes)
}

/// Removes `pads` that have no effect, since `auto_pad` derives the padding. The backends would use them.
fn derived_padding(site: &Site<'_>, _: &mut NewNames) -> Option<Vec<NodeProto>> {
    let is_derived = !matches!(site.text("auto_pad"), b"" | b"NOTSET");
    if !is_onnx(site.node, WINDOWED) || !is_derived || attribute(site.node, "pads").is_none() {
        return None;
    }
    let mut node = site.node.clone();
    node.attribute.retain(|attribute| attribute.name != "pads");
    Some(vec![node])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{float, model, node, number, numbers, text, value};
    use crate::pb::GraphProto;

    fn rewritten(opset: i64, original: NodeProto) -> Vec<NodeProto> {
        let graph = GraphProto {
            input: vec![
                value("x", DataType::Float, &[-1, 4, 4, 4]),
                value("c", DataType::Bool, &[-1]),
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
    fn celu_is_the_elu_of_a_scaled_input() {
        let celu = node("Celu", &["x"], "y");
        assert_eq!(operators(&rewritten(12, celu.clone())), ["Elu"]);
        let nodes = rewritten(12, float(celu.clone(), "alpha", 2.0));
        assert_eq!(operators(&nodes), ["Constant", "Div", "Elu", "Mul"]);
        assert_eq!(nodes[3].output, ["y"]);
        for alpha in [0.0, -1.0, f32::NAN] {
            let celu = float(celu.clone(), "alpha", alpha);
            assert_eq!(operators(&rewritten(12, celu)), ["Celu"]);
        }
    }

    #[test]
    fn compress_gathers_along_the_axis_or_among_all_elements() {
        let compress = node("Compress", &["x", "c"], "y");
        let along = number(compress.clone(), "axis", -2);
        let nodes = rewritten(11, along.clone());
        assert_eq!(operators(&nodes), ["NonZero", "Squeeze", "Gather"]);
        assert_eq!(attribute(&nodes[2], "axis").unwrap().i, -2);
        let nodes = rewritten(13, along);
        let expected = ["NonZero", "Constant", "Squeeze", "Gather"];
        assert_eq!(operators(&nodes), expected);
        let nodes = rewritten(11, compress);
        let expected = ["NonZero", "Squeeze", "Constant", "Reshape", "Gather"];
        assert_eq!(operators(&nodes), expected);
        assert_eq!(nodes[4].output, ["y"]);
    }

    #[test]
    fn pads_are_removed_where_padding_is_derived() {
        let pool = numbers(node("MaxPool", &["x"], "y"), "pads", &[1, 1, 1, 1]);
        for auto_pad in ["VALID", "SAME_UPPER", "SAME_LOWER"] {
            let nodes = rewritten(12, text(pool.clone(), "auto_pad", auto_pad));
            assert!(attribute(&nodes[0], "pads").is_none(), "{auto_pad}");
        }
        let stated = text(pool.clone(), "auto_pad", "NOTSET");
        for kept in [pool, stated] {
            assert_eq!(rewritten(12, kept.clone()), [kept]);
        }
    }
}
