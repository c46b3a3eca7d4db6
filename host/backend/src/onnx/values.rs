//! The types, shapes and constants of the values in a graph, as far as they follow from its file.
//!
//! [`Values`] serves the checks and rewrites before an embedded backend loads a model. An inner graph also uses the values
//! of the graphs around it, which are found without copying them. A missing type or shape means that the
//! file does not determine it, and each use of this module must handle that.

use super::external_tensor::is_external;
use super::node_parts::{MICROSOFT, attribute, inner_graphs, is_onnx, is_onnx_domain};
use super::operator_types;
use crate::pb::tensor_proto::DataType;
use crate::pb::tensor_shape_proto::dimension;
use crate::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto};
use std::collections::HashMap;

/// The values of a graph, and those of the graphs around it. Lifetime: the loading of a model.
pub(crate) struct Values<'a> {
    graph: &'a GraphProto,
    outer: Option<&'a Values<'a>>,
    own: HashMap<&'a str, Value<'a>>,
}

/// A value of a graph.
#[derive(Default)]
struct Value<'a> {
    data_type: Option<DataType>,
    /// The sizes of the axes, some of which may be variable.
    shape: Option<Vec<Option<u64>>>,
    tensor: Option<&'a TensorProto>,
    producer: Option<&'a NodeProto>,
}

/// A node, the values around it, and the version of its operators.
pub(crate) struct Site<'a> {
    pub(crate) node: &'a NodeProto,
    pub(crate) values: &'a Values<'a>,
    pub(crate) opset: i64,
}

// === impl Values ===

impl<'a> Values<'a> {
    /// Collects the values of `graph`, which is inside the graph of `outer`.
    pub(crate) fn of(graph: &'a GraphProto, outer: Option<&'a Values<'a>>) -> Values<'a> {
        let mut values = Values {
            graph,
            outer,
            own: HashMap::new(),
        };
        for value in graph
            .value_info
            .iter()
            .chain(&graph.output)
            .chain(&graph.input)
        {
            let (data_type, shape) = declared(value);
            let known = Value {
                data_type,
                shape,
                ..Value::default()
            };
            values.own.insert(value.name.as_str(), known);
        }
        for tensor in &graph.initializer {
            let value = values.own.entry(tensor.name.as_str()).or_default();
            value.set_tensor(tensor);
        }
        for node in &graph.node {
            values.add_outputs(node);
        }
        values
    }

    fn add_outputs(&mut self, node: &'a NodeProto) {
        for (position, name) in node.output.iter().enumerate() {
            if name.is_empty() {
                continue;
            }
            let derived = self.output_type(node, position);
            let value = self.own.entry(name.as_str()).or_default();
            // Some exporters leave wrong declarations of intermediate values behind.
            value.data_type = derived.or(value.data_type);
            value.producer = Some(node);
            if is_onnx(node, &["Constant"])
                && let Some(tensor) = attribute(node, "value").and_then(|found| found.t.as_ref())
            {
                value.set_tensor(tensor);
            }
        }
    }

    fn find(&self, name: &str) -> Option<&Value<'a>> {
        if name.is_empty() {
            return None;
        }
        match self.own.get(name) {
            Some(value) => Some(value),
            None => self.outer?.find(name),
        }
    }

    /// Returns whether this graph or one around it has the value.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Returns whether the graph returns one of its own values, or a node in it reads the value.
    pub(crate) fn is_read(&self, name: &str) -> bool {
        reads(self.graph, name)
    }

    /// Returns the element type of a value.
    pub(crate) fn data_type(&self, name: &str) -> Option<DataType> {
        self.find(name)?.data_type
    }

    /// Returns the sizes of a value's axes.
    pub(crate) fn shape(&self, name: &str) -> Option<&[Option<u64>]> {
        self.find(name)?.shape.as_deref()
    }

    /// Returns the number of a value's axes.
    pub(crate) fn rank(&self, name: &str) -> Option<usize> {
        Some(self.shape(name)?.len())
    }

    /// Returns the node that computes a value.
    pub(crate) fn producer(&self, name: &str) -> Option<&NodeProto> {
        self.find(name)?.producer
    }

    /// Returns the tensor of a constant that is stored as one.
    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.find(name)?.tensor
    }

    /// Returns the numbers of a constant of integers.
    pub(crate) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        if let Some(tensor) = self.tensor(name) {
            return integers(tensor);
        }
        let node = self.constant(name)?;
        match attribute(node, "value_int") {
            Some(number) => Some(vec![number.i]),
            None => Some(attribute(node, "value_ints")?.ints.clone()),
        }
    }

    /// Returns the numbers of a constant of floats.
    pub(crate) fn floats(&self, name: &str) -> Option<Vec<f32>> {
        if let Some(tensor) = self.tensor(name) {
            return floats(tensor);
        }
        let node = self.constant(name)?;
        match attribute(node, "value_float") {
            Some(number) => Some(vec![number.f]),
            None => Some(attribute(node, "value_floats")?.floats.clone()),
        }
    }

    fn constant(&self, name: &str) -> Option<&NodeProto> {
        self.producer(name)
            .filter(|node| is_onnx(node, &["Constant"]))
    }

    /// Returns the type of an output of `node`, whose inputs are known.
    fn output_type(&self, node: &NodeProto, position: usize) -> Option<DataType> {
        let input = |position: usize| self.data_type(node.input.get(position)?);
        if !is_onnx_domain(&node.domain) {
            // Those of ONNX Runtime's operators that rten has compute floats.
            let float = input(0).filter(|&found| is_float(found));
            return float.filter(|_| node.domain == MICROSOFT);
        }
        match node.op_type.as_str() {
            "If" => inner_type(node, "then_branch", position),
            // The carried values of a loop come after its condition; those of a scan come first.
            "Loop" => inner_type(node, "body", position + 1),
            "Scan" => inner_type(node, "body", position),
            _ => operator_types::output_type(node, position, &input),
        }
    }
}

// === impl Value ===

impl<'a> Value<'a> {
    fn set_tensor(&mut self, tensor: &'a TensorProto) {
        self.data_type = DataType::try_from(tensor.data_type).ok();
        let sizes = tensor.dims.iter().map(|&size| u64::try_from(size).ok());
        self.shape = Some(sizes.collect());
        self.tensor = Some(tensor);
    }
}

// === impl Site ===

impl Site<'_> {
    /// Returns the name of an input, or an empty one if the node has it not.
    pub(crate) fn input(&self, position: usize) -> &str {
        self.node.input.get(position).map_or("", String::as_str)
    }

    /// Returns the name of an output, or an empty one if the node has it not.
    pub(crate) fn output(&self, position: usize) -> &str {
        self.node.output.get(position).map_or("", String::as_str)
    }

    /// Returns the element type of an input.
    pub(crate) fn input_type(&self, position: usize) -> Option<DataType> {
        self.values.data_type(self.input(position))
    }

    /// Returns the value of an attribute that is a number, or the default.
    pub(crate) fn integer(&self, name: &str, default: i64) -> i64 {
        attribute(self.node, name).map_or(default, |found| found.i)
    }

    /// Returns the value of an attribute that is a text, or an empty one.
    pub(crate) fn text(&self, name: &str) -> &[u8] {
        match attribute(self.node, name) {
            Some(found) => &found.s,
            None => &[],
        }
    }
}

pub(crate) fn is_float(data_type: DataType) -> bool {
    matches!(data_type, DataType::Float | DataType::Float16)
}

pub(crate) fn is_integer(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::Int64 | DataType::Int32 | DataType::Int8 | DataType::Uint8
    )
}

/// Returns the numbers of a tensor of integers or bools, if it is one and stored in the file itself.
pub(crate) fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    if is_external(tensor) {
        return None;
    }
    let raw = tensor.raw_data.as_slice();
    let stored = tensor.int32_data.iter().copied().map(i64::from);
    let data_type = DataType::try_from(tensor.data_type).ok()?;
    Some(match data_type {
        DataType::Int64 if raw.is_empty() => tensor.int64_data.clone(),
        DataType::Int64 => elements(raw, i64::from_le_bytes),
        DataType::Int32 | DataType::Int8 | DataType::Uint8 | DataType::Bool if raw.is_empty() => {
            stored.collect()
        }
        DataType::Int32 => elements(raw, |bytes| i64::from(i32::from_le_bytes(bytes))),
        DataType::Int8 => elements(raw, |bytes| i64::from(i8::from_le_bytes(bytes))),
        DataType::Uint8 | DataType::Bool => raw.iter().copied().map(i64::from).collect(),
        _ => return None,
    })
}

/// Returns the numbers of a tensor of floats, if it is one and stored in the file itself.
pub(crate) fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let is_stored = tensor.data_type == DataType::Float as i32 && !is_external(tensor);
    match is_stored {
        true if tensor.raw_data.is_empty() => Some(tensor.float_data.clone()),
        true => Some(elements(&tensor.raw_data, f32::from_le_bytes)),
        false => None,
    }
}

fn elements<T, const N: usize>(bytes: &[u8], element: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| element(*chunk)).collect()
}

fn reads(graph: &GraphProto, name: &str) -> bool {
    let is_returned = graph.output.iter().any(|output| output.name == name);
    let mut nodes = graph.node.iter();
    is_returned
        || nodes.any(|node| {
            node.input.iter().any(|input| input == name)
                || inner_graphs(node).any(|inner| reads(inner, name))
        })
}

fn declared(value: &ValueInfoProto) -> (Option<DataType>, Option<Vec<Option<u64>>>) {
    let found = value.r#type.as_ref().and_then(|found| found.value.as_ref());
    let Some(type_proto::Value::TensorType(tensor)) = found else {
        return (None, None);
    };
    let data_type = DataType::try_from(tensor.elem_type).ok();
    let sizes = tensor.shape.as_ref().map(|shape| {
        let sizes = shape.dim.iter().map(|dimension| match &dimension.value {
            Some(dimension::Value::DimValue(size)) => u64::try_from(*size).ok(),
            _ => None,
        });
        sizes.collect()
    });
    (
        data_type.filter(|&found| found != DataType::Undefined),
        sizes,
    )
}

/// Returns the type that an inner graph declares for one of its outputs.
fn inner_type(node: &NodeProto, name: &str, position: usize) -> Option<DataType> {
    let graph = attribute(node, name)?.g.as_ref()?;
    declared(graph.output.get(position)?).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{inner, node, number, tensor, value};

    #[test]
    fn types_follow_from_declarations_and_operators() {
        let graph = GraphProto {
            input: vec![value("x", DataType::Float, &[2, -1])],
            initializer: vec![tensor("w", DataType::Int64, &[3, -4])],
            node: vec![
                node("Shape", &["x"], "s"),
                node("Gather", &["s", "w"], "g"),
                node("Greater", &["x", "x"], "b"),
                number(node("Cast", &["b"], "c"), "to", DataType::Int32 as i64),
                node("Mystery", &[], "m"),
            ],
            ..Default::default()
        };
        let values = Values::of(&graph, None);
        for (name, expected) in [
            ("x", Some(DataType::Float)),
            ("s", Some(DataType::Int64)),
            ("g", Some(DataType::Int64)),
            ("b", Some(DataType::Bool)),
            ("c", Some(DataType::Int32)),
            ("m", None),
            ("", None),
        ] {
            assert_eq!(values.data_type(name), expected, "{name}");
        }
        assert_eq!(values.shape("x"), Some([Some(2), None].as_slice()));
        assert_eq!(values.integers("w"), Some(vec![3, -4]));
        assert_eq!(values.integers("s"), None);
    }

    #[test]
    fn an_inner_graph_has_the_outer_values_too() {
        let outer = GraphProto {
            input: vec![value("x", DataType::Float, &[1])],
            ..Default::default()
        };
        let inner = GraphProto {
            node: vec![node("Relu", &["x"], "y")],
            ..Default::default()
        };
        let outer = Values::of(&outer, None);
        let inner = Values::of(&inner, Some(&outer));
        assert_eq!(inner.data_type("y"), Some(DataType::Float));
        assert!(inner.contains("x") && !outer.contains("y"));
    }

    #[test]
    fn a_value_is_read_by_nodes_of_inner_graphs_and_by_those_who_run_the_graph() {
        let body = GraphProto {
            node: vec![node("Relu", &["b"], "inside")],
            ..Default::default()
        };
        let graph = GraphProto {
            output: vec![value("c", DataType::Float, &[1])],
            node: vec![
                node("Relu", &["a"], "b"),
                inner(node("If", &["b"], "c"), "then_branch", body),
                node("Relu", &["a"], "d"),
            ],
            ..Default::default()
        };
        let values = Values::of(&graph, None);
        let read = ["a", "b", "c", "d"].map(|name| values.is_read(name));
        assert_eq!(read, [true, true, true, false]);
    }

    #[test]
    fn numbers_are_read_from_either_field_of_a_tensor() {
        let mut stored = tensor("w", DataType::Uint8, &[200]);
        assert_eq!(integers(&stored), Some(vec![200]));
        stored.raw_data.clear();
        stored.int32_data = vec![7];
        assert_eq!(integers(&stored), Some(vec![7]));
        assert_eq!(floats(&stored), None);
        let bytes = 1.5_f32.to_le_bytes().to_vec();
        let float = TensorProto {
            data_type: DataType::Float as i32,
            raw_data: bytes,
            ..Default::default()
        };
        assert_eq!(floats(&float), Some(vec![1.5]));
    }
}
