//! The inputs of a graph on which each of its operators depends, for messages to clients.
//!
//! A backend that refuses values names an operator at most, while a client sends inputs only. The names and
//! connections of the operators are kept without anything else, and followed only after a failure.

use super::node_parts::inner_graphs;
use crate::pb::{GraphProto, ModelProto, NodeProto};
use crate::refusal::Operator;
use std::collections::{HashMap, HashSet};

/// The operators of a model and their inputs. Lifetime: a model version.
#[derive(Debug, Default)]
pub(crate) struct OperatorInputs {
    nodes: Vec<Node>,
    /// The names of the inputs of the graph.
    inputs: Vec<Box<str>>,
}

#[derive(Debug)]
struct Node {
    name: Box<str>,
    kind: Box<str>,
    /// The first output, from which some backends derive the name of a node that has none.
    output: Box<str>,
    reads: Box<[Source]>,
}

/// The source of a value. Constants have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Input(usize),
    Node(usize),
}

/// The sources of the values that have been read so far, by name. Inner graphs take no names of outer ones.
type Sources<'a> = HashMap<&'a str, Source>;

impl OperatorInputs {
    /// Reads the operators of a model, including those of inner graphs.
    pub(crate) fn of(model: &ModelProto) -> OperatorInputs {
        let mut found = OperatorInputs::default();
        let Some(graph) = &model.graph else {
            return found;
        };
        let mut sources = Sources::new();
        let constants = graph.initializer.iter();
        let constants: HashSet<&str> = constants.map(|tensor| tensor.name.as_str()).collect();
        let inputs = graph.input.iter();
        for input in inputs.filter(|input| !constants.contains(input.name.as_str())) {
            sources.insert(&input.name, Source::Input(found.inputs.len()));
            found.inputs.push(input.name.as_str().into());
        }
        found.add_nodes(&graph.node, &mut sources);
        found
    }

    fn add_nodes<'a>(&mut self, nodes: &'a [NodeProto], sources: &mut Sources<'a>) {
        for node in nodes {
            let reads = node.input.iter();
            let mut reads: Vec<Source> = reads
                .filter_map(|name| sources.get(name.as_str()).copied())
                .collect();
            for body in inner_graphs(node) {
                self.add_body(body, &mut reads, sources);
            }
            let source = Source::Node(self.nodes.len());
            self.nodes.push(Node {
                name: node.name.as_str().into(),
                kind: node.op_type.as_str().into(),
                output: node.output.first().map_or("", String::as_str).into(),
                reads: reads.into(),
            });
            sources.extend(node.output.iter().map(|name| (name.as_str(), source)));
        }
    }

    /// Adds the nodes of a graph inside a node with the inputs `reads`, to which the results of the body are added.
    fn add_body<'a>(
        &mut self,
        body: &'a GraphProto,
        reads: &mut Vec<Source>,
        sources: &mut Sources<'a>,
    ) {
        // The inputs of the body depend on the inputs of its node, in the first turn and in later ones.
        let given = Source::Node(self.nodes.len());
        self.nodes.push(Node {
            name: "".into(),
            kind: "".into(),
            output: "".into(),
            reads: reads.as_slice().into(),
        });
        sources.extend(body.input.iter().map(|input| (input.name.as_str(), given)));
        self.add_nodes(&body.node, sources);
        let results = body.output.iter();
        reads.extend(results.filter_map(|output| sources.get(output.name.as_str()).copied()));
    }

    /// Returns the operator that a backend calls `name`, and `kind` if it names one.
    ///
    /// Backends add endings to names, and call an operator without a name after its output. If the name is
    /// not found, the only operator of this kind is meant.
    pub(crate) fn find<'a>(&'a self, name: &'a str, kind: &'a str) -> Operator<'a> {
        let found = self.named(name).or_else(|| self.only_one(kind));
        let Some(node) = found else {
            return Operator {
                name,
                kind,
                inputs: Vec::new(),
            };
        };
        let Node {
            name, kind, reads, ..
        } = node;
        Operator {
            name,
            kind,
            inputs: self.behind(reads),
        }
    }

    /// Returns the node with the longest name or output that `name` begins with.
    fn named(&self, name: &str) -> Option<&Node> {
        let matched = |node: &Node| {
            let own = [&node.name, &node.output].into_iter();
            let own = own.filter(|own| {
                let rest = name.strip_prefix(&***own);
                !own.is_empty()
                    && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/', '_']))
            });
            own.map(|own| own.len()).max()
        };
        let named = self
            .nodes
            .iter()
            .filter_map(|node| Some((matched(node)?, node)));
        named
            .max_by_key(|(length, _)| *length)
            .map(|(_, node)| node)
    }

    fn only_one(&self, kind: &str) -> Option<&Node> {
        let mut of_kind = self.nodes.iter().filter(|node| *node.kind == *kind);
        match (of_kind.next(), of_kind.next()) {
            (Some(node), None) if !kind.is_empty() => Some(node),
            _ => None,
        }
    }

    /// Returns the inputs that lead to `reads`, in the order of the graph.
    fn behind(&self, reads: &[Source]) -> Vec<&str> {
        let mut is_behind = vec![false; self.inputs.len()];
        let mut is_seen = vec![false; self.nodes.len()];
        let mut left = reads.to_vec();
        while let Some(source) = left.pop() {
            match source {
                Source::Input(input) => is_behind[input] = true,
                Source::Node(node) if !std::mem::replace(&mut is_seen[node], true) => {
                    left.extend(&self.nodes[node].reads);
                }
                Source::Node(_) => {}
            }
        }
        let inputs = self.inputs.iter().zip(is_behind);
        inputs
            .filter(|(_, is_behind)| *is_behind)
            .map(|(name, _)| &**name)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{AttributeProto, TensorProto, ValueInfoProto};

    fn value(name: &str) -> ValueInfoProto {
        ValueInfoProto {
            name: name.to_owned(),
            ..Default::default()
        }
    }

    fn node(name: &str, kind: &str, values: [&[&str]; 2]) -> NodeProto {
        let [input, output] = values.map(|names| names.iter().map(ToString::to_string).collect());
        NodeProto {
            name: name.to_owned(),
            op_type: kind.to_owned(),
            input,
            output,
            ..Default::default()
        }
    }

    fn graph(inputs: &[&str], node: Vec<NodeProto>) -> GraphProto {
        GraphProto {
            input: inputs.iter().map(|name| value(name)).collect(),
            node,
            ..Default::default()
        }
    }

    fn of(graph: GraphProto) -> OperatorInputs {
        OperatorInputs::of(&ModelProto {
            graph: Some(graph),
            ..Default::default()
        })
    }

    fn shown(operators: &OperatorInputs, name: &str, kind: &str) -> String {
        operators.find(name, kind).to_string()
    }

    #[test]
    fn operators_are_found_by_what_backends_call_them() {
        let mut graph = graph(
            &["ids", "mask", "table"],
            vec![
                node("/embed/Gather", "Gather", [&["table", "ids"], &["e"]]),
                node("", "Cast", [&["mask"], &["m"]]),
                node("add", "Add", [&["e", "m"], &["s"]]),
                node("add_1", "Add", [&["s", "one"], &["y"]]),
            ],
        );
        // An initializer that is listed as an input is a constant here.
        graph.initializer = vec![TensorProto {
            name: "table".to_owned(),
            ..Default::default()
        }];
        let operators = of(graph);
        let gather = "`/embed/Gather` (Gather), from input `ids`";
        for (name, kind, expected) in [
            ("/embed/Gather", "Gather", gather),
            ("/embed/Gather.cast-0", "", gather),
            ("something fused", "Gather", gather),
            ("m", "", "operator Cast, from input `mask`"),
            ("add_1", "Add", "`add_1` (Add), from inputs `ids`, `mask`"),
            ("other", "Add", "`other` (Add)"),
            ("other", "", "`other`"),
            ("", "", ""),
        ] {
            assert_eq!(shown(&operators, name, kind), expected, "{name}");
        }
    }

    #[test]
    fn operators_of_inner_graphs_depend_on_what_the_outer_ones_read() {
        let body = |node| AttributeProto {
            g: Some(GraphProto {
                output: vec![value("inner_y")],
                ..graph(&["turn", "state"], vec![node])
            }),
            ..Default::default()
        };
        let mut outer = node("loop", "Loop", [&["n", "start"], &["y"]]);
        outer.attribute = vec![body(node(
            "inner",
            "Gather",
            [&["state", "captured"], &["inner_y"]],
        ))];
        let inputs = ["n", "start", "captured", "other"];
        let last = node("last", "Neg", [&["y"], &["z"]]);
        let operators = of(graph(&inputs, vec![outer, last]));
        let behind = "from inputs `n`, `start`, `captured`";
        for (name, kind) in [("inner", "Gather"), ("loop", "Loop"), ("last", "Neg")] {
            let expected = format!("`{name}` ({kind}), {behind}");
            assert_eq!(shown(&operators, name, kind), expected);
        }
    }
}
