//! The element types of the values in a graph, as far as they follow from the file.
//!
//! Files declare the types of inputs, outputs and initializers, and rarely of other values, which follow
//! from the operators. A value whose type cannot be derived is missing here, and a rewrite must handle that.

use super::node_parts::{attribute, is_onnx_domain};
use crate::pb::tensor_proto::DataType;
use crate::pb::{AttributeProto, GraphProto, NodeProto, ValueInfoProto, type_proto};
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
    // The value of such an attribute depends on the call of the function that contains the node.
    let mut attributes = node.attribute.iter();
    if attributes.any(|attribute| !attribute.ref_attr_name.is_empty()) {
        return None;
    }
    let input = |position: usize| types.get(node.input.get(position)?).copied();
    let attribute = |name: &str| attribute(node, name);
    let number = |name: &str| attribute(name).and_then(|found| i32::try_from(found.i).ok());
    const INT64: Option<i32> = Some(DataType::Int64 as i32);
    const FLOAT: Option<i32> = Some(DataType::Float as i32);
    const BOOL: Option<i32> = Some(DataType::Bool as i32);
    match (node.op_type.as_str(), position) {
        ("Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" | "NonMaxSuppression", _) => INT64,
        ("TopK" | "MaxPool", 1) | ("Unique", 1..) => INT64,
        ("Dropout", 1) => BOOL,
        (
            "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or" | "Not"
            | "Xor" | "IsNaN" | "IsInf",
            _,
        ) => BOOL,
        ("BitCast" | "Cast", _) => number("to"),
        ("CastLike" | "Where" | "DequantizeLinear", _) => input(1),
        ("OneHot", _) => input(2),
        ("QuantizeLinear", _) => input(2),
        ("MatMulInteger" | "ConvInteger", _) => Some(DataType::Int32 as i32),
        ("QLinearMatMul" | "QLinearConv", _) => input(7),
        ("DynamicQuantizeLinear", 0 | 2) => Some(DataType::Uint8 as i32),
        ("DynamicQuantizeLinear", _) => FLOAT,
        ("ConstantOfShape", _) => match attribute("value").and_then(|found| found.t.as_ref()) {
            Some(tensor) => Some(tensor.data_type),
            None => FLOAT,
        },
        ("Constant", _) => constant_type(&node.attribute),
        ("RandomNormal" | "RandomUniform", _) => number("dtype").or(FLOAT),
        ("BlackmanWindow" | "HammingWindow" | "HannWindow" | "MelWeightMatrix", _) => {
            number("output_datatype").or(FLOAT)
        }
        ("RandomNormalLike" | "RandomUniformLike" | "EyeLike" | "Bernoulli", _) => {
            number("dtype").or_else(|| input(0))
        }
        ("Multinomial", _) => number("dtype").or(Some(DataType::Int32 as i32)),
        ("If", _) => {
            let branch = attribute("then_branch")?.g.as_ref()?;
            inner_type(branch, position, types)
        }
        // The carried values of a loop come after its condition; those of a scan come first.
        ("Loop", _) => inner_type(attribute("body")?.g.as_ref()?, position + 1, types),
        ("Scan", _) => inner_type(attribute("body")?.g.as_ref()?, position, types),
        ("SequenceAt" | "SplitToSequence" | "ConcatFromSequence" | "Optional", _)
        | ("OptionalGetElement" | "SequenceConstruct" | "SequenceMap" | "TfIdfVectorizer", _)
        | ("StringSplit" | "StringConcat" | "StringNormalizer" | "RegexFullMatch", _)
        | ("ImageDecoder", _) => None,
        // For all others, the output has the type of the first input.
        _ => input(0),
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

fn constant_type(attributes: &[AttributeProto]) -> Option<i32> {
    attributes
        .iter()
        .find_map(|attribute| match attribute.name.as_str() {
            "value" => Some(attribute.t.as_ref()?.data_type),
            "value_int" | "value_ints" => Some(DataType::Int64 as i32),
            "value_float" | "value_floats" => Some(DataType::Float as i32),
            "value_string" | "value_strings" => Some(DataType::String as i32),
            _ => None,
        })
}
