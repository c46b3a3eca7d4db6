//! The element types of the values in a graph, as far as they follow from the file.
//!
//! Files declare the types of inputs, outputs and initializers, and rarely of other values, which follow
//! from the operators. A value whose type cannot be derived is missing here, and a rewrite must handle that.

use super::node_parts::{attribute, is_onnx_domain};
use super::operator_types;
use crate::pb::tensor_proto::DataType;
use crate::pb::{GraphProto, NodeProto, ValueInfoProto, type_proto};
use std::collections::HashMap;

/// Element types by the names of values. An inner graph also uses the values of the graphs around it.
pub(super) type ValueTypes = HashMap<String, i32>;

/// Adds the types of the values in `graph`. The map already contains the outer values.
pub(super) fn add_types(graph: &GraphProto, types: &mut ValueTypes) {
    let declared = graph.input.iter().chain(&graph.output);
    for value in declared.chain(&graph.value_info) {
        if let Some(element_type) = declared_type(value) {
            types.insert(value.name.clone(), element_type);
        }
    }
    for tensor in &graph.initializer {
        types.insert(tensor.name.clone(), tensor.data_type);
    }
    for node in &graph.node {
        add_node_types(node, types);
    }
}

/// Adds the types of the outputs of `node`.
pub(super) fn add_node_types(node: &NodeProto, types: &mut ValueTypes) {
    for (position, name) in node.output.iter().enumerate() {
        if name.is_empty() || types.contains_key(name) {
            continue;
        }
        if let Some(element_type) = output_type(node, position, types) {
            types.insert(name.clone(), element_type);
        }
    }
}

fn declared_type(value: &ValueInfoProto) -> Option<i32> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) if tensor.elem_type != 0 => Some(tensor.elem_type),
        _ => None,
    }
}

fn output_type(node: &NodeProto, position: usize, types: &ValueTypes) -> Option<i32> {
    if !is_onnx_domain(&node.domain) {
        return None;
    }
    let inner = |name: &str| attribute(node, name)?.g.as_ref();
    match node.op_type.as_str() {
        "If" => inner_type(inner("then_branch")?, position, types),
        // The carried values of a loop come after its condition; those of a scan come first.
        "Loop" => inner_type(inner("body")?, position + 1, types),
        "Scan" => inner_type(inner("body")?, position, types),
        _ => {
            let input = |position: usize| {
                let found = types.get(node.input.get(position)?)?;
                DataType::try_from(*found).ok()
            };
            let found = operator_types::output_type(node, position, &input)?;
            Some(found as i32)
        }
    }
}

fn inner_type(graph: &GraphProto, position: usize, types: &ValueTypes) -> Option<i32> {
    let output = graph.output.get(position)?;
    if let Some(element_type) = declared_type(output) {
        return Some(element_type);
    }
    let mut inner = types.clone();
    add_types(graph, &mut inner);
    inner.get(&output.name).copied()
}
