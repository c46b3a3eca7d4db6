//! The operators that tract computes, including those of [`super::ml`] and [`super::branches`], and checks of a file before it is typed.
//!
//! Errors from here name the part of the model to change.

use super::convert::element_type;
use crate::onnx::node_parts::inner_graphs;
use std::collections::BTreeSet;
use tract_onnx::Onnx;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ValueInfoProto, type_proto};
use tract_onnx::prelude::DatumType;

/// Returns the reader of ONNX files with all supported operators.
pub(super) fn framework() -> Onnx {
    let mut onnx = tract_onnx::onnx();
    super::ml::register(&mut onnx);
    super::cast::register(&mut onnx);
    super::float_function::register(&mut onnx);
    super::global_norm::register(&mut onnx);
    super::reduce::register(&mut onnx);
    super::sized_condition::register(&mut onnx);
    super::sized_deconvolution::register(&mut onnx);
    super::softmax::register(&mut onnx);
    super::integer_math::register(&mut onnx);
    super::inner_gather::register(&mut onnx);
    super::symbolic_equal::register(&mut onnx);
    onnx
}

/// Checks that each input which a request must contain is a tensor of a type that tract computes.
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
                "input `{name}` is {found}, which tract does not support"
            ));
        }
    }
    Ok(())
}

/// Returns the operators that tract does not implement.
pub(super) fn unknown_operators(onnx: &Onnx, graph: &GraphProto) -> BTreeSet<String> {
    let mut unknown = BTreeSet::new();
    for node in &graph.node {
        if !onnx.op_register.0.contains_key(&node.op_type) {
            unknown.insert(match node.domain.as_str() {
                "" => node.op_type.clone(),
                domain => format!("{} ({domain})", node.op_type),
            });
        }
        for inner in inner_graphs(node) {
            unknown.append(&mut unknown_operators(onnx, inner));
        }
    }
    unknown
}
