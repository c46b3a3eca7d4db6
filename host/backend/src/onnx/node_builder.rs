//! Nodes, constants and attributes for rewritten graphs.

use crate::pb::attribute_proto::AttributeType;
use crate::pb::tensor_proto::DataType;
use crate::pb::{AttributeProto, NodeProto, TensorProto};

/// Returns a node of ONNX with one output, which is also its name.
pub(crate) fn operator(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op_type.to_owned(),
        name: output.to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

/// Returns an attribute with an integer.
pub(super) fn integer(name: &str, number: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: number,
        ..Default::default()
    }
}

/// Returns a node whose output is `tensor`.
pub(crate) fn tensor_constant(output: &str, tensor: TensorProto) -> NodeProto {
    let mut node = operator("Constant", &[], output);
    node.attribute.push(AttributeProto {
        name: "value".to_owned(),
        r#type: AttributeType::Tensor as i32,
        t: Some(tensor),
        ..Default::default()
    });
    node
}

/// Returns a vector of INT64.
pub(super) fn int64s(numbers: &[i64]) -> TensorProto {
    TensorProto {
        data_type: DataType::Int64 as i32,
        dims: vec![i64::try_from(numbers.len()).unwrap_or(i64::MAX)],
        raw_data: numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
        ..Default::default()
    }
}
