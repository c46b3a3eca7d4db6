//! Rewrites of Softmax and LogSoftmax of files before version 13 of ONNX's operators.
//!
//! They flattened their input to two axes and normalised over the second one, which thus has all axes from
//! the attribute's on; rten normalises over a single axis, as they do since version 13. Flattening in a node
//! of its own gives the old results: `axis` is then the last one, and both definitions agree.

use crate::onnx::node_builder::{operator, with_integer};
use crate::onnx::node_parts::{attribute, is_onnx};
use crate::onnx::rewriter::{NewNames, Rule, rewrite as rewrite_nodes};
use crate::onnx::values::Site;
use crate::pb::{ModelProto, NodeProto};

const OPERATORS: &[&str] = &["Softmax", "LogSoftmax"];

/// The first version that normalises over a single axis.
const SINGLE_AXIS_OPSET: i64 = 13;

/// The axis of a node without the attribute, before that version.
const OLD_DEFAULT: i64 = 1;

/// Rewrites the nodes of `model` that rten would compute differently.
pub(super) fn rewrite(model: &mut ModelProto) {
    const RULES: &[Rule] = &[flatten];
    rewrite_nodes(model, RULES);
}

/// Returns whether rten normalises over other axes than the node.
pub(super) fn is_flattened(site: &Site<'_>) -> bool {
    is_onnx(site.node, OPERATORS)
        && site.opset < SINGLE_AXIS_OPSET
        && (attribute(site.node, "axis").is_none() || !is_single(site))
}

/// Returns whether all axes after the node's are known to have size 1.
fn is_single(site: &Site<'_>) -> bool {
    let axis = site.integer("axis", OLD_DEFAULT);
    if axis == -1 {
        return true;
    }
    let Some(shape) = site.values.shape(site.input(0)) else {
        return false;
    };
    let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
    let resolved = if axis < 0 {
        axis.saturating_add(rank)
    } else {
        axis
    };
    let Ok(resolved) = usize::try_from(resolved) else {
        return false;
    };
    match shape.get(resolved.saturating_add(1)..) {
        Some(later) => later.iter().all(|&size| size == Some(1)),
        None => false,
    }
}

fn flatten(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    if !is_flattened(site) {
        return None;
    }
    let axis = site.integer("axis", OLD_DEFAULT);
    if is_single(site) {
        // rten's default is another one.
        return Some(vec![with_integer(site.node.clone(), "axis", axis)]);
    }
    let (input, output) = (site.input(0), site.output(0));
    let mut name = |part| names.name(output, part);
    let (flat, normalised, shape) = (name("flat"), name("normalised"), name("shape"));
    let flattened = operator("Flatten", &[input], &flat);
    let mut normalise = with_integer(site.node.clone(), "axis", -1);
    normalise.input = vec![flat];
    normalise.output = vec![normalised.clone()];
    let reshape = operator("Reshape", &[&normalised, &shape], output);
    Some(vec![
        with_integer(flattened, "axis", axis),
        normalise,
        operator("Shape", &[input], &shape),
        // An axis of size 0 stays one.
        with_integer(reshape, "allowzero", 1),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{inner, model, node, number, value};
    use crate::pb::GraphProto;
    use crate::pb::tensor_proto::DataType;

    fn rewritten(opset: i64, shape: &[i64], softmax: NodeProto) -> Vec<NodeProto> {
        let graph = GraphProto {
            input: vec![value("x", DataType::Float, shape)],
            node: vec![softmax],
            ..Default::default()
        };
        let mut model = model(opset, graph);
        rewrite(&mut model);
        model.graph.unwrap().node
    }

    fn softmax(axis: Option<i64>) -> NodeProto {
        let node = node("Softmax", &["x"], "y");
        match axis {
            Some(axis) => number(node, "axis", axis),
            None => node,
        }
    }

    #[test]
    fn an_old_softmax_over_several_axes_is_flattened_and_reshaped() {
        for (axis, flattened) in [(None, 1), (Some(1), 1), (Some(0), 0), (Some(-2), -2)] {
            let nodes = rewritten(12, &[-1, 3, 4], softmax(axis));
            let operators: Vec<&str> = nodes.iter().map(|node| node.op_type.as_str()).collect();
            assert_eq!(operators, ["Flatten", "Softmax", "Shape", "Reshape"]);
            assert_eq!(nodes[0].input, ["x"]);
            assert_eq!(nodes[0].attribute[0].i, flattened);
            assert_eq!(nodes[1].input, nodes[0].output);
            assert_eq!(nodes[1].attribute[0].i, -1);
            assert_eq!(nodes[2].input, ["x"]);
            assert_eq!(
                nodes[3].input,
                [nodes[1].output[0].clone(), nodes[2].output[0].clone()]
            );
            assert_eq!(nodes[3].output, ["y"]);
        }
    }

    #[test]
    fn a_softmax_over_one_axis_keeps_its_node_and_states_the_axis() {
        let single: [(&[i64], Option<i64>); 3] = [
            (&[2, 3, 4], Some(2)),
            (&[2, 3, 4], Some(-1)),
            (&[2, 3, 1, 1], Some(1)),
        ];
        for (shape, axis) in single {
            assert_eq!(rewritten(11, shape, softmax(axis)), [softmax(axis)]);
        }
        assert_eq!(rewritten(11, &[-1, 10], softmax(None)), [softmax(Some(1))]);
        // An axis that the input does not have is an error of the backend.
        assert_eq!(rewritten(11, &[2], softmax(Some(7))).len(), 4);
    }

    #[test]
    fn a_new_softmax_stays_and_inner_graphs_are_rewritten() {
        assert_eq!(rewritten(13, &[2, 3, 4], softmax(None)), [softmax(None)]);
        let branch = GraphProto {
            node: vec![number(node("LogSoftmax", &["x"], "z"), "axis", 1)],
            ..Default::default()
        };
        let branching = inner(node("If", &["c"], "y"), "then_branch", branch);
        let nodes = rewritten(11, &[2, 3, 4], branching);
        let inside = nodes[0].attribute[0].g.as_ref().unwrap();
        assert_eq!(inside.node.len(), 4);
        assert_eq!(inside.node[1].op_type, "LogSoftmax");
        assert_eq!(inside.node[3].output, ["z"]);
    }
}
