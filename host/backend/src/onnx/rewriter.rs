//! Replaces nodes in a graph and the graphs inside it.
//!
//! All replacements are found first and then made, since they depend on the values around a node.

use super::node_builder::{integers_constant, with_integers};
use super::node_parts::{inner_graphs, inner_graphs_mut, opset};
use super::values::{Site, Values};
use crate::pb::{GraphProto, ModelProto, NodeProto};
use std::collections::HashSet;

/// The first version in which the axes of Squeeze and Unsqueeze are an input.
const AXES_INPUT_OPSET: i64 = 13;

/// Returns the nodes that replace a node, or none if it stays. The replacement has the same outputs.
pub(crate) type Rule = fn(&Site<'_>, &mut NewNames) -> Option<Vec<NodeProto>>;

/// The names of values that a replacement may add. Lifetime: the loading of a model.
pub(crate) struct NewNames {
    used: HashSet<String>,
}

struct Finder<'r> {
    rules: &'r [Rule],
    opset: i64,
    names: NewNames,
    /// The replacement of each node, in the order of [`apply`].
    found: Vec<Option<Vec<NodeProto>>>,
}

/// Replaces the nodes of `model` for which one of the rules has a replacement.
pub(crate) fn rewrite(model: &mut ModelProto, rules: &[Rule]) {
    // A file without a version is refused later.
    let (Some(graph), Some(opset)) = (&mut model.graph, opset(&model.opset_import)) else {
        return;
    };
    let mut finder = Finder {
        rules,
        opset,
        names: NewNames::besides(graph),
        found: Vec::new(),
    };
    finder.find(graph, None);
    if finder.found.iter().any(Option::is_some) {
        apply(graph, &mut finder.found.into_iter());
    }
}

impl Finder<'_> {
    /// Finds the replacements in a graph and those inside it. The recursion depth is bounded by the decoder's
    /// limit on nested messages.
    fn find<'a>(&mut self, graph: &'a GraphProto, outer: Option<&'a Values<'a>>) {
        let values = Values::of(graph, outer);
        for node in &graph.node {
            let site = Site {
                node,
                values: &values,
                opset: self.opset,
            };
            let names = &mut self.names;
            let replacement = self.rules.iter().find_map(|rule| rule(&site, names));
            self.found.push(replacement);
            for inner in inner_graphs(node) {
                self.find(inner, Some(&values));
            }
        }
    }
}

/// Applies the replacements, which have an entry for each node.
fn apply(graph: &mut GraphProto, found: &mut dyn Iterator<Item = Option<Vec<NodeProto>>>) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let replacement = found.next().flatten();
        for inner in inner_graphs_mut(&mut node) {
            apply(inner, found);
        }
        match replacement {
            Some(replacement) => nodes.extend(replacement),
            None => nodes.push(node),
        }
    }
    graph.node = nodes;
}

// === impl NewNames ===

impl NewNames {
    /// Returns the names that `graph` and those inside it do not use.
    pub(crate) fn besides(graph: &GraphProto) -> NewNames {
        let mut names = NewNames {
            used: HashSet::new(),
        };
        names.add(graph);
        names
    }

    fn add(&mut self, graph: &GraphProto) {
        let declared = graph.input.iter().chain(&graph.output);
        self.used.extend(declared.map(|value| value.name.clone()));
        let tensors = graph.initializer.iter();
        self.used.extend(tensors.map(|tensor| tensor.name.clone()));
        for node in &graph.node {
            self.used.extend(node.output.iter().cloned());
            for inner in inner_graphs(node) {
                self.add(inner);
            }
        }
    }

    /// Returns a new name that contains the value and the part of a replacement.
    pub(crate) fn name(&mut self, value: &str, part: &str) -> String {
        let mut name = format!("{value}.wisp_{part}");
        while self.used.contains(&name) {
            name.push('_');
        }
        self.used.insert(name.clone());
        name
    }
}

// === axes ===

/// Returns a Squeeze or Unsqueeze with its axis, which is an attribute or, in newer versions, an input.
pub(crate) fn along_axis(
    mut node: NodeProto,
    axis: i64,
    opset: i64,
    names: &mut NewNames,
) -> Vec<NodeProto> {
    if opset < AXES_INPUT_OPSET {
        return vec![with_integers(node, "axes", vec![axis])];
    }
    let axes = names.name(node.output.first().map_or("", String::as_str), "axes");
    node.input.push(axes.clone());
    vec![integers_constant(&axes, vec![axis]), node]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::node_builder::operator;
    use crate::onnx::test_graphs::{inner, model, node};

    #[test]
    fn nodes_are_replaced_in_inner_graphs_with_names_that_are_new() {
        let rule: Rule = |site, names| {
            (site.node.op_type == "Old").then(|| {
                let between = names.name(site.output(0), "part");
                vec![
                    operator("First", &[site.input(0)], &between),
                    operator("Second", &[&between], site.output(0)),
                ]
            })
        };
        let body = |output| GraphProto {
            node: vec![node("Old", &["x"], output), node("Keep", &[output], "z")],
            ..Default::default()
        };
        let mut graph = body("y");
        graph.node.push(node("Keep", &["y"], "y.wisp_part"));
        graph
            .node
            .insert(0, inner(node("If", &[], "i"), "then_branch", body("w")));
        let mut model = model(17, graph);
        rewrite(&mut model, &[rule]);
        let graph = model.graph.unwrap();
        let operators = |graph: &GraphProto| -> Vec<String> {
            graph.node.iter().map(|node| node.op_type.clone()).collect()
        };
        assert_eq!(operators(&graph), ["If", "First", "Second", "Keep", "Keep"]);
        assert_eq!(graph.node[1].output, ["y.wisp_part_"]);
        assert_eq!(graph.node[2].input, ["y.wisp_part_"]);
        let inside = graph.node[0].attribute[0].g.as_ref().unwrap();
        assert_eq!(operators(inside), ["First", "Second", "Keep"]);
        assert_eq!(inside.node[0].output, ["w.wisp_part"]);
    }

    #[test]
    fn an_axis_is_an_attribute_or_an_input_of_the_node() {
        let squeeze = || operator("Squeeze", &["x"], "y");
        let mut names = NewNames::besides(&GraphProto::default());
        let older = along_axis(squeeze(), 1, 12, &mut names);
        assert_eq!(older, [with_integers(squeeze(), "axes", vec![1])]);
        let newer = along_axis(squeeze(), 1, 13, &mut names);
        assert_eq!(newer[0], integers_constant("y.wisp_axes", vec![1]));
        assert_eq!(newer[1], operator("Squeeze", &["x", "y.wisp_axes"], "y"));
    }

    #[test]
    fn the_first_rule_with_a_replacement_is_used_and_other_nodes_stay() {
        let rules: [Rule; 2] = [
            |site, _| (site.opset == 9).then(|| vec![operator("A", &[], site.output(0))]),
            |site, _| Some(vec![operator("B", &[], site.output(0))]),
        ];
        for (opset, expected) in [(9, "A"), (10, "B")] {
            let graph = GraphProto {
                node: vec![node("Relu", &["x"], "y")],
                ..Default::default()
            };
            let mut model = model(opset, graph);
            rewrite(&mut model, &rules);
            assert_eq!(model.graph.unwrap().node[0].op_type, expected);
        }
    }
}
