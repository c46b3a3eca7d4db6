//! NaN that arises in a graph, and operators behind it that would hide it.
//!
//! rten computes Relu and Clip of NaN as a number. Behind an operator that computes NaN from numbers, such as the
//! logarithm of a negative one, they are replaced by Max and Min, which keep it but take longer. An operator is
//! not counted if its operands are known to be in its domain, so that a normalisation written as single operators
//! leaves the graph as it is. NaN that arises from an infinite number is not followed: almost every operator
//! computes one from infinite inputs.

use crate::onnx::is_external;
use crate::onnx::node_builder::{floats_constant, operator};
use crate::onnx::node_parts::{attribute, is_onnx};
use crate::onnx::rewriter::NewNames;
use crate::onnx::values::floats;
use crate::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use std::collections::HashSet;

/// The maximum number of elements of a constant that are looked at.
const MAX_ELEMENTS: i64 = 4096;

/// Operators whose first input alone has numbers.
const MOVES: &[&str] = &[
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "Pad",
    "Reshape",
    "Resize",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Transpose",
    "Unsqueeze",
];

/// Operators whose outputs are not negative.
const NOT_NEGATIVE: &[&str] = &[
    "Abs",
    "Exp",
    "HardSigmoid",
    "ReduceL1",
    "ReduceL2",
    "ReduceSumSquare",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Sqrt",
];

/// Operators whose output is not negative if no input is.
const KEEPING_SIGNS: &[&str] = &[
    "Add",
    "AveragePool",
    "GlobalAveragePool",
    "MaxPool",
    "Mul",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
];

/// Operators whose outputs are no floats that follow from those of the inputs.
const OTHER_TYPES: &[&str] = &[
    "And",
    "ArgMax",
    "ArgMin",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "NonZero",
    "Not",
    "Or",
    "Shape",
    "Size",
    "Xor",
];

/// The facts about the values of a graph, by their names.
#[derive(Default, Clone)]
struct Facts {
    /// Those that may be NaN although no input is.
    suspect: HashSet<String>,
    not_negative: HashSet<String>,
    positive: HashSet<String>,
    /// Constants without a zero.
    nonzero: HashSet<String>,
    /// Constants of whole numbers.
    whole: HashSet<String>,
    /// Constants of even numbers.
    even: HashSet<String>,
}

/// Replaces the operators that would hide NaN which may arise in the graph.
pub(super) fn keep(model: &mut ModelProto) {
    if let Some(graph) = &mut model.graph {
        let mut names = NewNames::besides(graph);
        keep_in(graph, Facts::default(), &mut names);
    }
}

/// Replaces the operators in a graph, and returns whether one of its values may be NaN. The recursion depth is
/// bounded by the decoder's limit on nested messages.
fn keep_in(graph: &mut GraphProto, mut facts: Facts, names: &mut NewNames) -> bool {
    for tensor in &graph.initializer {
        facts.add_constant(&tensor.name, tensor);
    }
    let mut may_be_nan = false;
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let mut is_suspect = facts.is_suspect(&node);
        let attributes = node.attribute.iter_mut();
        for inner in attributes.flat_map(|found| found.g.iter_mut().chain(&mut found.graphs)) {
            let mut known = facts.clone();
            if is_suspect {
                let inputs = inner.input.iter().map(|input| input.name.clone());
                known.suspect.extend(inputs);
            }
            is_suspect |= keep_in(inner, known, names);
        }
        may_be_nan |= is_suspect;
        facts.add_outputs(&node, is_suspect);
        match is_suspect.then(|| keeping(&node, names)).flatten() {
            Some(replacement) => nodes.extend(replacement),
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
    may_be_nan
}

/// Returns the nodes that compute the same as `node`, but keep NaN, if it hides it.
fn keeping(node: &NodeProto, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let input = node.input.first()?;
    let output = node.output.first()?;
    if is_onnx(node, &["Relu"]) {
        let zero = names.name(output, "zero");
        return Some(vec![
            floats_constant(&zero, Vec::new(), vec![0.0]),
            operator("Max", &[input, &zero], output),
        ]);
    }
    if !is_onnx(node, &["Clip"]) {
        return None;
    }
    let mut nodes = Vec::new();
    // Before version 11, the bounds are attributes.
    let mut bound = |position: usize, name: &str| {
        let given = node.input.get(position).filter(|name| !name.is_empty());
        if let Some(number) = attribute(node, name) {
            let constant = names.name(output, name);
            nodes.push(floats_constant(&constant, Vec::new(), vec![number.f]));
            return Some(constant);
        }
        given.cloned()
    };
    let (low, high) = (bound(1, "min"), bound(2, "max"));
    match (low, high) {
        (Some(low), Some(high)) => {
            let raised = names.name(output, "raised");
            nodes.push(operator("Max", &[input, &low], &raised));
            nodes.push(operator("Min", &[&raised, &high], output));
        }
        (Some(low), None) => nodes.push(operator("Max", &[input, &low], output)),
        (None, Some(high)) => nodes.push(operator("Min", &[input, &high], output)),
        (None, None) => nodes.push(operator("Identity", &[input], output)),
    }
    Some(nodes)
}

// === impl Facts ===

impl Facts {
    fn add_constant(&mut self, name: &str, tensor: &TensorProto) {
        let elements = tensor.dims.iter().copied().fold(1, i64::saturating_mul);
        if is_external(tensor) || elements > MAX_ELEMENTS {
            return;
        }
        if let Some(numbers) = floats(tensor) {
            self.add_numbers(name, &numbers);
        }
    }

    fn add_numbers(&mut self, name: &str, numbers: &[f32]) {
        let all = |is_so: fn(f32) -> bool| numbers.iter().all(|&number| is_so(number));
        let found = [
            (!all(|x| !x.is_nan()), &mut self.suspect),
            (all(|x| x >= 0.0), &mut self.not_negative),
            (all(|x| x > 0.0), &mut self.positive),
            (all(|x| x != 0.0), &mut self.nonzero),
            (all(|x| x.fract() == 0.0), &mut self.whole),
            (all(|x| x % 2.0 == 0.0), &mut self.even),
        ];
        for (is_so, names) in found {
            if is_so {
                names.insert(name.to_owned());
            }
        }
    }

    fn add_outputs(&mut self, node: &NodeProto, is_suspect: bool) {
        let is_constant = is_onnx(node, &["Constant"]);
        if let (true, Some(output)) = (is_constant, node.output.first()) {
            if let Some(tensor) = attribute(node, "value").and_then(|found| found.t.as_ref()) {
                self.add_constant(output, tensor);
            }
            if let Some(number) = attribute(node, "value_float") {
                self.add_numbers(output, &[number.f]);
            }
            return;
        }
        let is_positive = self.computes_positive(node);
        let is_not_negative = is_positive || self.computes_not_negative(node);
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            let found = [
                (is_suspect, &mut self.suspect),
                (is_not_negative, &mut self.not_negative),
                (is_positive, &mut self.positive),
            ];
            for (is_so, names) in found {
                if is_so {
                    names.insert(output.clone());
                }
            }
        }
    }

    /// Returns whether an output of the node may be NaN although no input of the graph is.
    fn is_suspect(&self, node: &NodeProto) -> bool {
        if is_onnx(node, OTHER_TYPES) {
            return false;
        }
        let taken = match is_onnx(node, MOVES) {
            true => 1,
            false => node.input.len(),
        };
        let mut taken = node.input.iter().take(taken);
        taken.any(|input| self.suspect.contains(input)) || self.leaves_domain(node)
    }

    /// Returns whether the node may compute NaN from numbers.
    fn leaves_domain(&self, node: &NodeProto) -> bool {
        let is_in = |names: &HashSet<String>, position: usize| {
            let input = node.input.get(position);
            input.is_some_and(|input| names.contains(input))
        };
        if is_onnx(node, &["Acos", "Acosh", "Asin", "Atanh"]) {
            true
        } else if is_onnx(node, &["Log", "Sqrt"]) {
            !is_in(&self.not_negative, 0)
        } else if is_onnx(node, &["Div", "Mod"]) {
            !is_in(&self.nonzero, 1) && !is_in(&self.positive, 1)
        } else if is_onnx(node, &["Pow"]) {
            !is_in(&self.not_negative, 0) && !is_in(&self.whole, 1)
        } else {
            false
        }
    }

    fn computes_not_negative(&self, node: &NodeProto) -> bool {
        let is_known = |input: &String| self.not_negative.contains(input);
        if is_onnx(node, NOT_NEGATIVE) {
            return true;
        }
        match node.input.as_slice() {
            [a, b] if is_onnx(node, &["Mul"]) && a == b => true,
            [_, exponent] if is_onnx(node, &["Pow"]) => self.even.contains(exponent),
            [_, low, ..] if is_onnx(node, &["Clip"]) => is_known(low),
            inputs if is_onnx(node, &["Max"]) => inputs.iter().any(is_known),
            [input, ..] if is_onnx(node, MOVES) => is_known(input),
            inputs if is_onnx(node, KEEPING_SIGNS) => inputs.iter().take(2).all(is_known),
            _ => false,
        }
    }

    fn computes_positive(&self, node: &NodeProto) -> bool {
        let is_known = |input: &String| self.positive.contains(input);
        match node.input.as_slice() {
            [input] if is_onnx(node, &["Sqrt"]) => is_known(input),
            [_, low, ..] if is_onnx(node, &["Clip"]) => is_known(low),
            inputs if is_onnx(node, &["Max"]) => inputs.iter().any(is_known),
            inputs if is_onnx(node, &["Add"]) => {
                inputs.iter().any(is_known)
                    && inputs.iter().all(|input| self.not_negative.contains(input))
            }
            // Padding is zero.
            [input, ..] if is_onnx(node, MOVES) && !is_onnx(node, &["Pad"]) => is_known(input),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{inner, model, node, tensor, value};
    use crate::pb::tensor_proto::DataType;

    fn operators(graph: &GraphProto) -> Vec<&str> {
        graph
            .node
            .iter()
            .map(|node| node.op_type.as_str())
            .collect()
    }

    fn kept(nodes: Vec<NodeProto>) -> GraphProto {
        let scalar = |name, number| tensor(name, DataType::Float, &[number]);
        let graph = GraphProto {
            input: vec![value("x", DataType::Float, &[-1, 4])],
            initializer: vec![scalar("zero", 0), scalar("one", 1), scalar("two", 2)],
            node: nodes,
            ..Default::default()
        };
        let mut model = model(17, graph);
        keep(&mut model);
        model.graph.unwrap()
    }

    #[test]
    fn operators_that_hide_nan_are_replaced_behind_operators_that_compute_it() {
        for source in ["Log", "Sqrt", "Acos", "Asin", "Acosh", "Atanh"] {
            let graph = kept(vec![node(source, &["x"], "a"), node("Relu", &["a"], "y")]);
            assert_eq!(operators(&graph), [source, "Constant", "Max"]);
            assert_eq!(graph.node[2].output, ["y"]);
        }
        for (source, operand) in [("Div", "x"), ("Div", "zero"), ("Pow", "x"), ("Mod", "x")] {
            let source = node(source, &["x", operand], "a");
            let between = node("Transpose", &["a"], "b");
            let clip = node("Clip", &["b", "zero", "one"], "y");
            let graph = kept(vec![source.clone(), between, clip]);
            let expected = [source.op_type.as_str(), "Transpose", "Max", "Min"];
            assert_eq!(operators(&graph), expected);
            assert_eq!(graph.node[3].input[1], "one");
        }
    }

    #[test]
    fn operators_without_nan_stay() {
        let normalised = kept(vec![
            node("Pow", &["x", "two"], "squares"),
            node("ReduceMean", &["squares"], "variance"),
            node("Add", &["variance", "one"], "shifted"),
            node("Sqrt", &["shifted"], "deviation"),
            node("Div", &["x", "deviation"], "normal"),
            node("Relu", &["normal"], "y"),
        ]);
        assert_eq!(normalised.node.last().unwrap().op_type, "Relu");
        let sizes = kept(vec![
            node("Shape", &["x"], "shape"),
            node("Div", &["shape", "shape"], "part"),
            node("Reshape", &["x", "part"], "reshaped"),
            node("Relu", &["reshaped"], "y"),
        ]);
        assert_eq!(sizes.node.last().unwrap().op_type, "Relu");
        let convolution = kept(vec![
            node("Conv", &["x", "w"], "a"),
            node("Relu", &["a"], "y"),
        ]);
        assert_eq!(operators(&convolution), ["Conv", "Relu"]);
    }

    #[test]
    fn nan_is_followed_into_and_out_of_inner_graphs() {
        let body = GraphProto {
            node: vec![node("Relu", &["a"], "b")],
            ..Default::default()
        };
        let graph = kept(vec![
            node("Log", &["x"], "a"),
            inner(node("If", &["c"], "y"), "then_branch", body),
            node("Relu", &["y"], "z"),
        ]);
        assert_eq!(operators(&graph), ["Log", "If", "Constant", "Max"]);
        let body = graph.node[1].attribute[0].g.as_ref().unwrap();
        assert_eq!(operators(body), ["Constant", "Max"]);
    }
}
