//! Parts of ONNX files for unit tests.

use crate::pb::attribute_proto::AttributeType;
use crate::pb::tensor_proto::DataType;
use crate::pb::tensor_shape_proto::{Dimension, dimension};
use crate::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

pub(crate) fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op_type.to_owned(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

/// Returns the node with an attribute that is a number.
pub(crate) fn number(node: NodeProto, name: &str, i: i64) -> NodeProto {
    with(node, name, |attribute| {
        attribute.r#type = AttributeType::Int as i32;
        attribute.i = i;
    })
}

/// Returns the node with an attribute that is a float.
pub(crate) fn float(node: NodeProto, name: &str, f: f32) -> NodeProto {
    with(node, name, |attribute| {
        attribute.r#type = AttributeType::Float as i32;
        attribute.f = f;
    })
}

/// Returns the node with an attribute that is a text.
pub(crate) fn text(node: NodeProto, name: &str, s: &str) -> NodeProto {
    with(node, name, |attribute| {
        attribute.r#type = AttributeType::String as i32;
        attribute.s = s.as_bytes().to_vec();
    })
}

/// Returns the node with an attribute that is a list of numbers.
pub(crate) fn numbers(node: NodeProto, name: &str, ints: &[i64]) -> NodeProto {
    with(node, name, |attribute| {
        attribute.r#type = AttributeType::Ints as i32;
        attribute.ints = ints.to_vec();
    })
}

/// Returns the node with an inner graph.
pub(crate) fn inner(node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    with(node, name, |attribute| {
        attribute.r#type = AttributeType::Graph as i32;
        attribute.g = Some(graph);
    })
}

fn with(mut node: NodeProto, name: &str, set: impl FnOnce(&mut AttributeProto)) -> NodeProto {
    let mut attribute = AttributeProto {
        name: name.to_owned(),
        ..Default::default()
    };
    set(&mut attribute);
    node.attribute.push(attribute);
    node
}

/// Returns the declaration of a value; a negative size is variable.
pub(crate) fn value(name: &str, data_type: DataType, shape: &[i64]) -> ValueInfoProto {
    let dimension = |&size: &i64| Dimension {
        value: Some(match size {
            ..0 => dimension::Value::DimParam("n".to_owned()),
            size => dimension::Value::DimValue(size),
        }),
        ..Default::default()
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: data_type as i32,
                shape: Some(TensorShapeProto {
                    dim: shape.iter().map(dimension).collect(),
                }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Returns a vector of integers or, of type FLOAT, of whole numbers.
pub(crate) fn tensor(name: &str, data_type: DataType, numbers: &[i64]) -> TensorProto {
    let bytes = numbers.iter().flat_map(|&number| match data_type {
        DataType::Int64 => number.to_le_bytes().to_vec(),
        DataType::Float => (number as f32).to_le_bytes().to_vec(),
        DataType::Int32 => number.to_le_bytes()[..4].to_vec(),
        _ => number.to_le_bytes()[..1].to_vec(),
    });
    TensorProto {
        name: name.to_owned(),
        data_type: data_type as i32,
        dims: vec![numbers.len() as i64],
        raw_data: bytes.collect(),
        ..Default::default()
    }
}

/// Returns a model with this version of ONNX's operators.
pub(crate) fn model(opset: i64, graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: opset,
        }],
        graph: Some(graph),
        ..Default::default()
    }
}
