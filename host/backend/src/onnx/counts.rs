//! Limits on the number of parts in an ONNX file.
//!
//! Backends take time that grows with the square of some of these counts, so a file of a few megabytes
//! could occupy one for hours. Real files stay far below the limits.

use crate::pb::{FunctionProto, GraphProto, ModelProto, NodeProto};

/// The maximum number of nodes, including those of inner graphs and functions. Real files have some thousands.
const MAX_NODES: usize = 30_000;

/// The maximum number of initializers, including those of inner graphs.
const MAX_INITIALIZERS: usize = 30_000;

/// The maximum number of inputs of a graph, and of its outputs.
const MAX_GRAPH_VALUES: usize = 1024;

/// The maximum number of inputs of a node, and of its outputs.
const MAX_NODE_VALUES: usize = 4096;

#[derive(Default)]
struct Counts {
    nodes: usize,
    initializers: usize,
    graph_values: usize,
    node_values: usize,
}

/// Returns an error for a model with more parts than backends can handle.
pub(crate) fn check_counts(model: &ModelProto) -> Result<(), String> {
    let mut counts = Counts::default();
    if let Some(graph) = &model.graph {
        counts.add_graph(graph);
    }
    for FunctionProto { node, .. } in &model.functions {
        counts.add_nodes(node);
    }
    for (count, limit, what) in [
        (counts.nodes, MAX_NODES, "nodes"),
        (counts.initializers, MAX_INITIALIZERS, "weights"),
        (
            counts.graph_values,
            MAX_GRAPH_VALUES,
            "inputs or outputs of a graph",
        ),
        (
            counts.node_values,
            MAX_NODE_VALUES,
            "inputs or outputs of a node",
        ),
    ] {
        if count > limit {
            return Err(format!("the file has {count} {what}, the limit is {limit}"));
        }
    }
    Ok(())
}

impl Counts {
    /// Adds a graph and its inner graphs. The recursion depth is bounded by the decoder's limit on nested messages.
    fn add_graph(&mut self, graph: &GraphProto) {
        self.initializers += graph.initializer.len() + graph.sparse_initializer.len();
        let values = graph.input.len().max(graph.output.len());
        self.graph_values = self.graph_values.max(values);
        self.add_nodes(&graph.node);
    }

    fn add_nodes(&mut self, nodes: &[NodeProto]) {
        self.nodes += nodes.len();
        for node in nodes {
            let values = node.input.len().max(node.output.len());
            self.node_values = self.node_values.max(values);
            for attribute in &node.attribute {
                self.initializers += attribute.tensors.len();
                for inner in attribute.g.iter().chain(&attribute.graphs) {
                    self.add_graph(inner);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{AttributeProto, TensorProto, ValueInfoProto};

    fn refusal(graph: GraphProto) -> Option<String> {
        let graph = Some(graph);
        check_counts(&ModelProto {
            graph,
            ..Default::default()
        })
        .err()
    }

    #[test]
    fn each_count_has_its_limit() {
        let nodes = |count| GraphProto {
            node: vec![NodeProto::default(); count],
            ..Default::default()
        };
        let inner = |graph| GraphProto {
            node: vec![NodeProto {
                attribute: vec![AttributeProto {
                    g: Some(graph),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(refusal(nodes(MAX_NODES)), None);
        assert_eq!(
            refusal(inner(nodes(MAX_NODES))).as_deref(),
            Some("the file has 30001 nodes, the limit is 30000")
        );
        let outputs = GraphProto {
            output: vec![ValueInfoProto::default(); 20_000],
            ..Default::default()
        };
        assert!(refusal(outputs).is_some_and(|text| text.contains("20000 inputs or outputs")));
        let weights = GraphProto {
            initializer: vec![TensorProto::default(); 100_000],
            ..Default::default()
        };
        assert!(refusal(weights).is_some_and(|text| text.contains("100000 weights")));
        let mut sum = nodes(1);
        sum.node[0].input = vec!["x".to_owned(); 100_000];
        assert!(refusal(sum).is_some_and(|text| text.contains("100000 inputs")));
    }
}
