//! What an ONNX file says of itself before tract types it: inputs, tensors, operators.
//!
//! Refusals from here name what to change in the model, and no path of this machine.

use super::convert::element_type;
use std::collections::BTreeSet;
use tract_onnx::Onnx;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::DatumType;

/// Check that each input a request must bring is a tensor of a type that tract computes with.
pub(super) fn check_inputs(graph: &GraphProto) -> Result<(), String> {
    let initialised: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    for ValueInfoProto { name, r#type, .. } in &graph.input {
        if initialised.contains(name.as_str()) {
            continue;
        }
        let Some(type_proto::Value::TensorType(tensor)) =
            r#type.as_ref().and_then(|r#type| r#type.value.as_ref())
        else {
            return Err(format!("input `{name}` is not a tensor"));
        };
        let served = DataType::try_from(tensor.elem_type)
            .ok()
            .and_then(|data_type| DatumType::try_from(data_type).ok())
            .is_some_and(|datum_type| element_type(datum_type).is_some());
        if !served {
            let found = DataType::try_from(tensor.elem_type)
                .map_or("of unknown type", |data_type| data_type.as_str_name());
            return Err(format!(
                "input `{name}` is {found}, which tract does not compute with"
            ));
        }
    }
    Ok(())
}

/// Call `visit` for every tensor stored in `graph` and in the graphs inside it.
///
/// The depth is bounded by the decoder's limit on nested messages.
pub(super) fn visit_tensors(graph: &GraphProto, visit: &mut dyn FnMut(&TensorProto)) {
    graph.initializer.iter().for_each(&mut *visit);
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        let tensors = attribute.t.iter().chain(&attribute.tensors);
        tensors.for_each(&mut *visit);
        for inner in attribute.g.iter().chain(&attribute.graphs) {
            visit_tensors(inner, visit);
        }
    }
}

/// The operators that tract has no implementation of at all.
pub(super) fn unknown_operators(onnx: &Onnx, graph: &GraphProto) -> BTreeSet<String> {
    let mut unknown = BTreeSet::new();
    for node in &graph.node {
        if !onnx.op_register.0.contains_key(&node.op_type) {
            unknown.insert(match node.domain.as_str() {
                "" => node.op_type.clone(),
                domain => format!("{} ({domain})", node.op_type),
            });
        }
        for attribute in &node.attribute {
            for inner in attribute.g.iter().chain(&attribute.graphs) {
                unknown.append(&mut unknown_operators(onnx, inner));
            }
        }
    }
    unknown
}
