//! Dropout, which changes nothing in inference.

use crate::onnx::node_builder::operator;
use crate::onnx::node_parts::{inner_graphs, inner_graphs_mut, is_onnx};
use crate::onnx::rewriter::NewNames;
use crate::onnx::values::Site;
use crate::pb::{GraphProto, NodeProto};
use std::collections::HashSet;

/// The first version in which Dropout has an input that selects training or inference.
const TRAINING_INPUT_OPSET: i64 = 12;

/// Replaces Dropout by Identity, unless it may be in training, or has a mask.
pub(super) fn identity(site: &Site<'_>, _: &mut NewNames) -> Option<Vec<NodeProto>> {
    if !is_onnx(site.node, &["Dropout"]) || !site.output(1).is_empty() {
        return None;
    }
    let training = site.input(2);
    let infers = site.opset < TRAINING_INPUT_OPSET
        || training.is_empty()
        || site
            .values
            .integers(training)
            .is_some_and(|flags| flags == [0]);
    infers.then(|| vec![operator("Identity", &[site.input(0)], site.output(0))])
}

/// Removes the masks of Dropout that nothing uses. Many exporters name them all.
pub(super) fn remove_unused_masks(graph: &mut GraphProto) {
    let mut used = HashSet::new();
    add_used(graph, &mut used);
    remove_others(graph, &used);
}

/// Adds the names of the values that are inputs of nodes or outputs of graphs.
fn add_used(graph: &GraphProto, used: &mut HashSet<String>) {
    used.extend(graph.output.iter().map(|output| output.name.clone()));
    for node in &graph.node {
        used.extend(node.input.iter().cloned());
        for inner in inner_graphs(node) {
            add_used(inner, used);
        }
    }
}

fn remove_others(graph: &mut GraphProto, used: &HashSet<String>) {
    for node in &mut graph.node {
        if is_onnx(node, &["Dropout"])
            && node.output.get(1).is_some_and(|mask| !used.contains(mask))
        {
            node.output.truncate(1);
        }
        for inner in inner_graphs_mut(node) {
            remove_others(inner, used);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::onnx::test_graphs::{inner, model, node, tensor, value};
    use crate::pb::tensor_proto::DataType;
    use crate::pb::{GraphProto, NodeProto};
    use crate::rten::equivalents::rewrite;

    fn rewritten(opset: i64, nodes: Vec<NodeProto>) -> Vec<NodeProto> {
        let graph = GraphProto {
            input: vec![value("x", DataType::Float, &[-1])],
            output: vec![value("out", DataType::Bool, &[-1])],
            initializer: vec![
                tensor("ratio", DataType::Float, &[1]),
                tensor("no", DataType::Bool, &[0]),
                tensor("yes", DataType::Bool, &[1]),
            ],
            node: nodes,
            ..Default::default()
        };
        let mut model = model(opset, graph);
        rewrite(&mut model);
        model.graph.unwrap().node
    }

    fn masked(mask: &str) -> NodeProto {
        let mut dropout = node("Dropout", &["x"], "y");
        dropout.output.push(mask.to_owned());
        dropout
    }

    #[test]
    fn dropout_is_the_identity_unless_the_graph_may_train() {
        for (opset, inputs, expected) in [
            (11, vec!["x"], "Identity"),
            (13, vec!["x", "ratio"], "Identity"),
            (13, vec!["x", "ratio", "no"], "Identity"),
            (13, vec!["x", "", "no"], "Identity"),
            (13, vec!["x", "ratio", "yes"], "Dropout"),
            (13, vec!["x", "ratio", "x"], "Dropout"),
        ] {
            let nodes = rewritten(opset, vec![node("Dropout", &inputs, "y")]);
            assert_eq!(nodes[0].op_type, expected, "{inputs:?}");
        }
    }

    #[test]
    fn a_mask_is_ignored_if_nothing_uses_it() {
        let nodes = rewritten(13, vec![masked("mask")]);
        assert_eq!(nodes[0].op_type, "Identity");
        assert_eq!(nodes[0].output, ["y"]);
        // An output of the graph, an input of a node, and one of a node in an inner graph.
        let branch = GraphProto {
            node: vec![node("Not", &["mask"], "inverted")],
            ..Default::default()
        };
        for nodes in [
            vec![masked("out")],
            vec![masked("mask"), node("Not", &["mask"], "out")],
            vec![
                masked("mask"),
                inner(node("If", &["no"], "out"), "then_branch", branch),
            ],
        ] {
            assert_eq!(rewritten(13, nodes.clone()), nodes);
        }
    }

    #[test]
    fn dropout_in_an_inner_graph_is_the_identity() {
        let branch = GraphProto {
            node: vec![masked("mask")],
            ..Default::default()
        };
        let outer = inner(node("If", &["no"], "out"), "then_branch", branch);
        let nodes = rewritten(13, vec![outer]);
        let branch = nodes[0].attribute[0].g.as_ref().unwrap();
        assert_eq!(branch.node[0].op_type, "Identity");
    }
}
