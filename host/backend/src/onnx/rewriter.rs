//! Replaces nodes in a graph and the graphs inside it.
//!
//! All replacements are found first and then made, since they depend on the values around a node.

pub(crate) use super::node_builder::{operator, tensor_constant};
use super::values::{Site, Values, inner_graphs, opset};
use crate::pb::attribute_proto::AttributeType;
use crate::pb::tensor_proto::DataType;
use crate::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use std::collections::HashSet;

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
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                apply(inner, found);
            }
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

// === nodes and attributes ===

/// Returns a constant with the number. Only small numbers occur, which every type has.
pub(crate) fn constant(output: &str, number: u8, data_type: DataType) -> NodeProto {
    let raw_data = match data_type {
        DataType::Float => f32::from(number).to_le_bytes().to_vec(),
        DataType::Int32 => i32::from(number).to_le_bytes().to_vec(),
        _ => i64::from(number).to_le_bytes().to_vec(),
    };
    let data_type = match data_type {
        DataType::Float | DataType::Int32 => data_type,
        _ => DataType::Int64,
    };
    tensor_constant(
        output,
        TensorProto {
            data_type: data_type as i32,
            raw_data,
            ..Default::default()
        },
    )
}

/// Returns a constant with these f32.
pub(crate) fn floats_constant(output: &str, dims: Vec<i64>, numbers: Vec<f32>) -> NodeProto {
    tensor_constant(
        output,
        TensorProto {
            dims,
            data_type: DataType::Float as i32,
            raw_data: numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect(),
            ..Default::default()
        },
    )
}

/// Returns a constant with a vector of INT64.
pub(crate) fn integers_constant(output: &str, numbers: Vec<i64>) -> NodeProto {
    with_integers(operator("Constant", &[], output), "value_ints", numbers)
}

/// Returns the node with an attribute, which replaces one of the same name.
pub(crate) fn with_integer(mut node: NodeProto, name: &str, number: i64) -> NodeProto {
    node.attribute.retain(|attribute| attribute.name != name);
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: number,
        ..Default::default()
    });
    node
}

/// Returns the node with an attribute, which replaces one of the same name.
pub(crate) fn with_integers(mut node: NodeProto, name: &str, numbers: Vec<i64>) -> NodeProto {
    node.attribute.retain(|attribute| attribute.name != name);
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: numbers,
        ..Default::default()
    });
    node
}

/// Returns the node with an attribute, which replaces one of the same name.
pub(crate) fn with_text(mut node: NodeProto, name: &str, text: &str) -> NodeProto {
    node.attribute.retain(|attribute| attribute.name != name);
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::String as i32,
        s: text.as_bytes().to_vec(),
        ..Default::default()
    });
    node
}

#[cfg(test)]
mod tests {
    use super::*;
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
