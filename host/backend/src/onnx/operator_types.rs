//! The element types of the outputs of operators, as they follow from the types of the inputs.

use super::node_parts::attribute;
use crate::pb::NodeProto;
use crate::pb::tensor_proto::DataType;

/// Returns the type of an output of an operator of ONNX without inner graphs; `input` has the types of its inputs.
pub(super) fn output_type(
    node: &NodeProto,
    position: usize,
    input: &dyn Fn(usize) -> Option<DataType>,
) -> Option<DataType> {
    // The value of such an attribute depends on the call of the function that contains the node.
    let mut attributes = node.attribute.iter();
    if attributes.any(|attribute| !attribute.ref_attr_name.is_empty()) {
        return None;
    }
    let number = |name: &str| {
        let found = attribute(node, name).filter(|found| found.i != 0)?;
        DataType::try_from(i32::try_from(found.i).ok()?).ok()
    };
    let or_float = |found: Option<DataType>| found.or(Some(DataType::Float));
    match (node.op_type.as_str(), position) {
        ("Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" | "NonMaxSuppression", _)
        | ("TopK" | "MaxPool", 1)
        | ("Unique", 1..)
        | ("SequenceLength", _) => Some(DataType::Int64),
        ("Dropout", 1) => Some(DataType::Bool),
        (
            "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or" | "Not"
            | "Xor" | "IsNaN" | "IsInf",
            _,
        ) => Some(DataType::Bool),
        ("BitCast" | "Cast", _) => number("to"),
        ("CastLike" | "Where" | "DequantizeLinear", _) => input(1),
        ("OneHot", _) => input(2),
        ("QuantizeLinear", _) => input(2).or_else(|| number("output_dtype")),
        ("MatMulInteger" | "ConvInteger", _) => Some(DataType::Int32),
        ("QLinearMatMul" | "QLinearConv", _) => input(7),
        ("DynamicQuantizeLinear", 0 | 2) => Some(DataType::Uint8),
        ("DynamicQuantizeLinear", _) => Some(DataType::Float),
        ("ConstantOfShape", _) => {
            match attribute(node, "value").and_then(|found| found.t.as_ref()) {
                Some(tensor) => DataType::try_from(tensor.data_type).ok(),
                None => Some(DataType::Float),
            }
        }
        ("Constant", _) => constant_type(node),
        ("RandomNormal" | "RandomUniform", _) => or_float(number("dtype")),
        ("BlackmanWindow" | "HammingWindow" | "HannWindow" | "MelWeightMatrix", _) => {
            or_float(number("output_datatype"))
        }
        ("RandomNormalLike" | "RandomUniformLike" | "EyeLike" | "Bernoulli", _) => {
            number("dtype").or_else(|| input(0))
        }
        ("Multinomial", _) => number("dtype").or(Some(DataType::Int32)),
        ("SequenceAt" | "SplitToSequence" | "ConcatFromSequence" | "Optional", _)
        | ("OptionalGetElement" | "SequenceConstruct" | "SequenceErase" | "SequenceInsert", _)
        | ("SequenceEmpty" | "SequenceMap" | "TfIdfVectorizer" | "StringSplit", _)
        | ("StringConcat" | "StringNormalizer" | "RegexFullMatch" | "ImageDecoder", _) => None,
        // For all others, the output has the type of the first input.
        _ => input(0),
    }
}

fn constant_type(node: &NodeProto) -> Option<DataType> {
    let mut attributes = node.attribute.iter();
    attributes.find_map(|attribute| match attribute.name.as_str() {
        "value" => DataType::try_from(attribute.t.as_ref()?.data_type).ok(),
        "value_int" | "value_ints" => Some(DataType::Int64),
        "value_float" | "value_floats" => Some(DataType::Float),
        "value_string" | "value_strings" => Some(DataType::String),
        _ => None,
    })
}
