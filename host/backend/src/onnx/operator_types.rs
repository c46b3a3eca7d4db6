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
        ("Dropout", 1) | ("OptionalHasElement", _) => Some(DataType::Bool),
        (
            "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or" | "Not"
            | "Xor" | "IsNaN" | "IsInf",
            _,
        ) => Some(DataType::Bool),
        ("BitCast" | "Cast", _) => number("to"),
        ("CastLike" | "Where" | "RMSNormalization", _) => input(1),
        ("DequantizeLinear", _) => number("output_dtype").or_else(|| input(1)),
        ("OneHot", _) | ("Attention", 2) => input(2),
        ("BatchNormalization", 1..) | ("LinearAttention", 1) => input(3),
        ("LayerNormalization", 1..) => or_float(number("stash_type")),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::node_builder::{operator, with_integer};

    #[test]
    fn outputs_have_the_type_of_the_input_or_the_attribute_that_determines_it() {
        const TYPES: [DataType; 4] = [
            DataType::Float16,
            DataType::Float,
            DataType::Double,
            DataType::Bfloat16,
        ];
        let output = |node: &NodeProto, position: usize| {
            output_type(node, position, &|input| TYPES.get(input).copied())
        };
        for (op_type, position, expected) in [
            ("Relu", 0, DataType::Float16),
            ("TopK", 1, DataType::Int64),
            ("OptionalHasElement", 0, DataType::Bool),
            ("RMSNormalization", 0, DataType::Float),
            ("DequantizeLinear", 0, DataType::Float),
            ("Attention", 0, DataType::Float16),
            ("Attention", 1, DataType::Float16),
            ("Attention", 2, DataType::Double),
            ("BatchNormalization", 0, DataType::Float16),
            ("BatchNormalization", 1, DataType::Bfloat16),
            ("LinearAttention", 1, DataType::Bfloat16),
            ("LayerNormalization", 0, DataType::Float16),
            ("LayerNormalization", 2, DataType::Float),
        ] {
            let node = operator(op_type, &[], "y");
            assert_eq!(output(&node, position), Some(expected), "{op_type}");
        }
        for (op_type, attribute, position) in [
            ("Cast", "to", 0),
            ("DequantizeLinear", "output_dtype", 0),
            ("LayerNormalization", "stash_type", 1),
        ] {
            let node = operator(op_type, &[], "y");
            let node = with_integer(node, attribute, DataType::Double as i64);
            assert_eq!(output(&node, position), Some(DataType::Double), "{op_type}");
        }
    }
}
