//! Operators of rten that turn NaN into a number: Clip and Relu, where [`super::inner_nan`] has left them.
//!
//! A graph with one of them does not compute inputs that contain NaN. One that looks for NaN in such a result
//! is refused, since it expects NaN there.

use crate::onnx::node_parts::{inner_graphs, is_onnx};
use crate::pb::{GraphProto, NodeProto};
use half::f16;
use std::collections::HashSet;
use wisp_tensor::{ElementType, Tensor};

const HIDING: &[&str] = &["Clip", "Relu"];

/// Returns whether an operator in `graph` hides NaN. The recursion depth is bounded by the decoder's limit on
/// nested messages.
pub(super) fn is_hidden(graph: &GraphProto) -> Result<bool, String> {
    let hiding = |node: &&NodeProto| is_onnx(node, HIDING);
    let numbers: HashSet<&str> = graph
        .node
        .iter()
        .filter(hiding)
        .flat_map(|node| node.output.iter().map(String::as_str))
        .collect();
    let mut is_hidden = !numbers.is_empty();
    for node in &graph.node {
        let looks = is_onnx(node, &["IsNaN"]);
        if let Some(input) = node
            .input
            .first()
            .filter(|input| looks && numbers.contains(input.as_str()))
        {
            return Err(format!(
                "operator IsNaN looks for NaN in `{input}`, which is always a number in rten"
            ));
        }
        for inner in inner_graphs(node) {
            is_hidden |= self::is_hidden(inner)?;
        }
    }
    Ok(is_hidden)
}

/// Returns whether an element of the tensor is NaN.
pub(super) fn contains_nan(tensor: &Tensor) -> bool {
    let content = tensor.content();
    match tensor.element_type() {
        ElementType::Fp32 => {
            let (numbers, _) = content.as_chunks();
            numbers
                .iter()
                .any(|bytes| f32::from_le_bytes(*bytes).is_nan())
        }
        ElementType::Fp16 => {
            let (numbers, _) = content.as_chunks();
            numbers
                .iter()
                .any(|bytes| f16::from_le_bytes(*bytes).is_nan())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{inner, node};

    fn graph(nodes: Vec<NodeProto>) -> GraphProto {
        GraphProto {
            node: nodes,
            ..Default::default()
        }
    }

    #[test]
    fn nan_is_hidden_by_an_operator_of_the_graph_or_inside_it() {
        assert_eq!(
            is_hidden(&graph(vec![node("Add", &["x", "x"], "y")])),
            Ok(false)
        );
        let relu = graph(vec![node("Relu", &["x"], "y")]);
        assert_eq!(is_hidden(&relu), Ok(true));
        let outer = graph(vec![inner(node("If", &["c"], "y"), "then_branch", relu)]);
        assert_eq!(is_hidden(&outer), Ok(true));
    }

    #[test]
    fn a_graph_that_looks_for_hidden_nan_is_refused() {
        let after = graph(vec![node("Clip", &["x"], "y"), node("IsNaN", &["y"], "z")]);
        assert!(is_hidden(&after).unwrap_err().contains("`y`"));
        let before = graph(vec![node("IsNaN", &["x"], "z"), node("Clip", &["x"], "y")]);
        assert_eq!(is_hidden(&before), Ok(true));
    }
}
