//! Encodes a model in the format that rten reads.
//!
//! ONNX files are proto2. The types of prost are proto3: they pack lists that rten reads only unpacked,
//! and omit zeros, which rten takes for missing attributes. So the model is written with rten's own types.

use crate::onnx::is_external;
use crate::pb as from;
use crate::pb::attribute_proto::AttributeType;
use crate::pb::tensor_shape_proto::dimension;
use crate::pb::type_proto;
use rten_onnx::onnx as to;
use std::cell::RefCell;

/// The name of the external data of a split model. rten accepts few endings.
pub(super) const WEIGHTS_NAME: &str = "weights.data";

/// Returns the bytes of a file with `model`. Errors contain the name of the attribute that rten cannot read.
pub(super) fn encode(model: from::ModelProto) -> Result<Vec<u8>, String> {
    let opsets = model.opset_import.into_iter();
    let opset_import = opsets.map(|opset| to::OperatorSetIdProto {
        domain: text(opset.domain),
        version: Some(opset.version),
    });
    let written = to::ModelProto {
        ir_version: Some(model.ir_version),
        graph: model.graph.map(graph).transpose()?,
        opset_import: opset_import.collect(),
        metadata_props: model.metadata_props.into_iter().map(entry).collect(),
        ..Default::default()
    };
    written.write_buf().map_err(|error| error.to_string())
}

fn graph(graph: from::GraphProto) -> Result<to::GraphProto, String> {
    let node = graph.node.into_iter().map(node);
    Ok(to::GraphProto {
        node: node.collect::<Result<_, String>>()?,
        initializer: graph.initializer.into_iter().map(tensor).collect(),
        input: graph.input.into_iter().map(value).collect(),
        output: graph.output.into_iter().map(value).collect(),
        value_info: graph.value_info.into_iter().map(value).collect(),
    })
}

fn node(node: from::NodeProto) -> Result<to::NodeProto, String> {
    let attributes = node.attribute.into_iter().map(attribute);
    Ok(to::NodeProto {
        domain: text(node.domain),
        name: text(node.name),
        input: node.input,
        output: node.output,
        op_type: text(node.op_type),
        attribute: attributes.collect::<Result<_, String>>()?,
    })
}

/// Returns the attribute with the value of its type. Without a type, as in old files, every value that is
/// not zero is kept.
fn attribute(attribute: from::AttributeProto) -> Result<to::AttributeProto, String> {
    let utf8 = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| format!("attribute `{}` is not UTF-8", attribute.name))
    };
    let kind = attribute.r#type();
    let untyped = kind == AttributeType::Undefined;
    let has = |expected: AttributeType, is_set: bool| kind == expected || (untyped && is_set);
    let strings = attribute.strings.into_iter().map(utf8);
    Ok(to::AttributeProto {
        f: has(AttributeType::Float, attribute.f != 0.0).then_some(attribute.f),
        i: has(AttributeType::Int, attribute.i != 0).then_some(attribute.i),
        s: match has(AttributeType::String, !attribute.s.is_empty()) {
            true => Some(utf8(attribute.s)?),
            false => None,
        },
        t: attribute.t.map(tensor),
        g: attribute.g.map(graph).transpose()?,
        floats: attribute.floats,
        ints: attribute.ints,
        strings: strings.collect::<Result<_, String>>()?,
        r#type: (!untyped).then_some(to::AttributeType(kind as i32)),
        name: text(attribute.name),
    })
}

/// Returns the tensor. External data has been read by now, unless the model is split.
fn tensor(tensor: from::TensorProto) -> to::TensorProto {
    if is_external(&tensor) {
        return to::TensorProto {
            dims: tensor.dims,
            data_type: Some(to::DataType(tensor.data_type)),
            name: text(tensor.name),
            external_data: tensor.external_data.into_iter().map(entry).collect(),
            data_location: Some(to::DataLocation::EXTERNAL),
            ..Default::default()
        };
    }
    let lists_are_empty = tensor.float_data.is_empty()
        && tensor.int32_data.is_empty()
        && tensor.int64_data.is_empty()
        && tensor.double_data.is_empty();
    to::TensorProto {
        raw_data: lists_are_empty.then(|| RefCell::new(tensor.raw_data)),
        dims: tensor.dims,
        data_type: Some(to::DataType(tensor.data_type)),
        float_data: tensor.float_data,
        int32_data: tensor.int32_data,
        int64_data: tensor.int64_data,
        double_data: tensor.double_data,
        name: text(tensor.name),
        ..Default::default()
    }
}

fn entry(entry: from::StringStringEntryProto) -> to::StringStringEntryProto {
    to::StringStringEntryProto {
        key: Some(entry.key),
        value: Some(entry.value),
    }
}

fn value(value: from::ValueInfoProto) -> to::ValueInfoProto {
    let tensor_type = match value.r#type.and_then(|declared| declared.value) {
        Some(type_proto::Value::TensorType(tensor)) => Some(to::TypeProtoTensor {
            elem_type: Some(to::DataType(tensor.elem_type)),
            shape: tensor.shape.map(shape),
        }),
        None => None,
    };
    to::ValueInfoProto {
        name: text(value.name),
        r#type: tensor_type.map(|tensor| to::TypeProto {
            tensor_type: Some(tensor),
            sequence: None,
        }),
    }
}

fn shape(shape: from::TensorShapeProto) -> to::TensorShapeProto {
    let dim = shape.dim.into_iter().map(|axis| match axis.value {
        Some(dimension::Value::DimValue(size)) => to::Dimension {
            dim_value: Some(size),
            dim_param: None,
        },
        Some(dimension::Value::DimParam(name)) => to::Dimension {
            dim_value: None,
            dim_param: Some(name),
        },
        None => to::Dimension::default(),
    });
    to::TensorShapeProto { dim: dim.collect() }
}

/// Returns the text, or `None` if it is empty, which proto3 does not tell from a missing one.
fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::test_graphs::{model, node, number, numbers, tensor, value};
    use crate::pb::GraphProto;
    use crate::pb::tensor_proto::DataType;

    #[test]
    fn zeros_and_lists_are_read_as_they_were() -> anyhow::Result<()> {
        let graph = GraphProto {
            node: vec![number(
                numbers(node("Slice", &["x"], "y"), "axes", &[0, 1]),
                "zero",
                0,
            )],
            initializer: vec![tensor("w", DataType::Float, &[1, 2, 3])],
            input: vec![value("x", DataType::Float, &[-1, 0])],
            ..Default::default()
        };
        let content = encode(model(17, graph)).map_err(anyhow::Error::msg)?;
        let read = to::ModelProto::parse_buf(&content)?;
        let graph = read.graph.unwrap_or_default();
        assert_eq!(graph.node[0].attribute[0].ints, [0, 1]);
        assert_eq!(graph.node[0].attribute[1].i, Some(0));
        assert_eq!(graph.initializer[0].dims, [3]);
        let declared = graph.input[0].r#type.clone().unwrap_or_default();
        let shape = declared.tensor_type.unwrap_or_default().shape;
        assert_eq!(shape.unwrap_or_default().dim[1].dim_value, Some(0));
        Ok(())
    }
}
