//! Nodes, constants and attributes for rewritten graphs.

use crate::pb::attribute_proto::AttributeType;
use crate::pb::tensor_proto::DataType;
use crate::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

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

/// Returns a cast to an element type, which is given by its number.
pub(crate) fn cast(input: &str, output: &str, to: i32) -> NodeProto {
    let node = operator("Cast", &[input], output);
    with_integer(node, "to", i64::from(to))
}

/// Returns a node whose output is `tensor`.
pub(crate) fn tensor_constant(output: &str, tensor: TensorProto) -> NodeProto {
    with_tensor(operator("Constant", &[], output), "value", tensor)
}

/// Returns a vector of INT64.
pub(crate) fn int64s(numbers: &[i64]) -> TensorProto {
    TensorProto {
        data_type: DataType::Int64 as i32,
        dims: vec![i64::try_from(numbers.len()).unwrap_or(i64::MAX)],
        raw_data: numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
        ..Default::default()
    }
}

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
pub(crate) fn with_integer(node: NodeProto, name: &str, number: i64) -> NodeProto {
    let number = AttributeProto {
        r#type: AttributeType::Int as i32,
        i: number,
        ..Default::default()
    };
    with(node, name, number)
}

/// Returns the node with an attribute, which replaces one of the same name.
pub(crate) fn with_integers(node: NodeProto, name: &str, numbers: Vec<i64>) -> NodeProto {
    let numbers = AttributeProto {
        r#type: AttributeType::Ints as i32,
        ints: numbers,
        ..Default::default()
    };
    with(node, name, numbers)
}

/// Returns the node with an attribute, which replaces one of the same name.
pub(crate) fn with_float(node: NodeProto, name: &str, number: f32) -> NodeProto {
    let number = AttributeProto {
        r#type: AttributeType::Float as i32,
        f: number,
        ..Default::default()
    };
    with(node, name, number)
}

/// Returns the node with an attribute, which replaces one of the same name.
pub(crate) fn with_text(node: NodeProto, name: &str, text: &str) -> NodeProto {
    let text = AttributeProto {
        r#type: AttributeType::String as i32,
        s: text.as_bytes().to_vec(),
        ..Default::default()
    };
    with(node, name, text)
}

/// Returns the node with an attribute, which replaces one of the same name.
pub(crate) fn with_tensor(node: NodeProto, name: &str, tensor: TensorProto) -> NodeProto {
    let tensor = AttributeProto {
        r#type: AttributeType::Tensor as i32,
        t: Some(tensor),
        ..Default::default()
    };
    with(node, name, tensor)
}

/// Returns the node with an inner graph, which replaces one of the same name.
pub(crate) fn with_graph(node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    let graph = AttributeProto {
        r#type: AttributeType::Graph as i32,
        g: Some(graph),
        ..Default::default()
    };
    with(node, name, graph)
}

fn with(mut node: NodeProto, name: &str, attribute: AttributeProto) -> NodeProto {
    node.attribute.retain(|attribute| attribute.name != name);
    node.attribute.push(AttributeProto {
        name: name.to_owned(),
        ..attribute
    });
    node
}
