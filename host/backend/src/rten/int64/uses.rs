//! The uses of values, which decide whether numbers beyond 32 bits matter.
//!
//! An index or a size beyond 32 bits is an error in ONNX Runtime as well as in rten, so it is not refused
//! beforehand. The ends of slices are often the largest 64-bit number, which represents the end of the
//! axis like any other large number.

use crate::onnx::node_parts::{MICROSOFT, inner_graphs, is_onnx, is_onnx_domain};
use crate::pb::{GraphProto, NodeProto};
use std::collections::HashSet;

/// The inputs that are indices or sizes, by operator.
const INDICES: &[(&[&str], &[usize])] = &[
    (&["Attention"], &[6]),
    (&["ConstantOfShape", "Loop"], &[0]),
    (
        &["CumSum", "Expand", "Gather", "GatherElements", "GatherND"],
        &[1],
    ),
    (&["OneHot", "Range", "Reshape", "ReverseSequence"], &[1]),
    (
        &["Scatter", "ScatterElements", "ScatterND", "SequenceAt"],
        &[1],
    ),
    (
        &[
            "SequenceErase",
            "Split",
            "SplitToSequence",
            "Squeeze",
            "Tile",
        ],
        &[1],
    ),
    (&["TopK", "Trilu", "Unsqueeze", "Upsample"], &[1]),
    (
        &[
            "ReduceL1",
            "ReduceL2",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ReduceMax",
        ],
        &[1],
    ),
    (
        &[
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ],
        &[1],
    ),
    (&["Pad"], &[1, 3]),
    (&["Resize"], &[2, 3]),
    (&["RotaryEmbedding"], &[3]),
    (&["SequenceInsert"], &[2]),
    (&["Slice"], &[1, 2, 3, 4]),
];

/// The inputs of ONNX Runtime's operators that are indices or sizes.
const MICROSOFT_INDICES: &[(&[&str], &[usize])] = &[
    (&["GroupQueryAttention"], &[5, 6, 9]),
    (&["RotaryEmbedding"], &[1]),
];

/// The inputs for which a number beyond 32 bits means the same as the last one within.
const ENDS: &[(&[&str], &[usize])] = &[
    (&["Clip"], &[1, 2]),
    (&["Loop"], &[0]),
    (&["Slice"], &[1, 2]),
];

/// Operators whose results contain only elements of their inputs.
const MOVING: &[&str] = &[
    "Cast",
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// The values whose numbers matter. A value of an inner graph and one outside may have the same name, and
/// then the uses of both are counted for each.
#[derive(Default)]
pub(super) struct Uses<'a> {
    /// The values that are not only indices or sizes.
    numbers: HashSet<&'a str>,
    /// The values that must not be narrowed to 32 bits.
    exact: HashSet<&'a str>,
}

impl<'a> Uses<'a> {
    /// Finds the uses in a graph and those inside it, whose nodes are sorted.
    pub(super) fn of(graph: &'a GraphProto) -> Uses<'a> {
        let mut uses = Uses::default();
        uses.add(graph);
        uses
    }

    /// Returns whether a value is only an index or a size, directly or after other operators.
    pub(super) fn is_index(&self, name: &str) -> bool {
        !self.numbers.contains(name)
    }

    /// Returns whether a constant may be narrowed to 32 bits.
    pub(super) fn may_be_narrowed(&self, name: &str) -> bool {
        !self.exact.contains(name)
    }

    /// Adds the uses in a graph. The recursion depth is bounded by the decoder's limit on nested messages.
    fn add(&mut self, graph: &'a GraphProto) {
        for output in &graph.output {
            self.numbers.insert(&output.name);
            self.exact.insert(&output.name);
        }
        for node in graph.node.iter().rev() {
            for inner in inner_graphs(node) {
                self.add(inner);
            }
            self.add_node(node);
        }
    }

    fn add_node(&mut self, node: &'a NodeProto) {
        // The results of a branch or an iteration are used in the outer graph, or not, as a whole.
        let is_branching = is_onnx(node, &["If", "Loop"]);
        let is_used = |names: &HashSet<&str>| {
            is_branching
                || node
                    .output
                    .iter()
                    .any(|output| names.contains(output.as_str()))
        };
        let (numbers, exact) = (is_used(&self.numbers), is_used(&self.exact));
        let moves = is_onnx(node, MOVING);
        for (position, input) in node.input.iter().enumerate() {
            let is_index = is_index(node, position);
            if numbers && !is_index {
                self.numbers.insert(input);
            }
            let is_narrowed = has(ENDS, node, position)
                || is_onnx(node, &["Max", "Min"])
                || (moves && !is_index && !exact);
            if !is_narrowed {
                self.exact.insert(input);
            }
        }
    }
}

fn is_index(node: &NodeProto, position: usize) -> bool {
    match node.domain.as_str() {
        MICROSOFT => contains(MICROSOFT_INDICES, node, position),
        _ => has(INDICES, node, position),
    }
}

fn has(table: &[(&[&str], &[usize])], node: &NodeProto, position: usize) -> bool {
    is_onnx_domain(&node.domain) && contains(table, node, position)
}

fn contains(table: &[(&[&str], &[usize])], node: &NodeProto, position: usize) -> bool {
    table.iter().any(|(operators, positions)| {
        operators.contains(&node.op_type.as_str()) && positions.contains(&position)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{inner, node, value};
    use crate::pb::tensor_proto::DataType;

    fn graph(nodes: Vec<NodeProto>) -> GraphProto {
        GraphProto {
            node: nodes,
            output: vec![value("y", DataType::Float, &[1])],
            ..Default::default()
        }
    }

    #[test]
    fn a_value_that_ends_in_an_index_or_a_size_is_one() {
        let graph = graph(vec![
            node("Mul", &["a", "b"], "c"),
            node("Unsqueeze", &["c", "axes"], "d"),
            node("Reshape", &["x", "d"], "r"),
            node("Add", &["n", "r"], "y"),
        ]);
        let uses = Uses::of(&graph);
        for index in ["a", "b", "c", "d", "axes"] {
            assert!(uses.is_index(index), "{index}");
        }
        for number in ["x", "r", "n", "y"] {
            assert!(!uses.is_index(number), "{number}");
        }
    }

    #[test]
    fn a_use_in_an_inner_graph_counts() {
        let mut branch = graph(vec![node("Neg", &["a"], "y")]);
        branch.output = vec![value("z", DataType::Float, &[1])];
        branch.node[0].output = vec!["z".to_owned()];
        let graph = graph(vec![inner(node("If", &["c"], "y"), "then_branch", branch)]);
        assert!(!Uses::of(&graph).is_index("a"));
    }

    #[test]
    fn only_ends_of_slices_and_clips_may_be_narrowed() {
        let graph = graph(vec![
            node("Concat", &["one", "most"], "ends"),
            node("Slice", &["x", "starts", "ends"], "s"),
            node("Clip", &["s", "", "limit"], "c"),
            node("Add", &["c", "added"], "y"),
        ]);
        let uses = Uses::of(&graph);
        for name in ["one", "most", "ends", "starts", "limit"] {
            assert!(uses.may_be_narrowed(name), "{name}");
        }
        for name in ["x", "added", "y"] {
            assert!(!uses.may_be_narrowed(name), "{name}");
        }
    }
}
