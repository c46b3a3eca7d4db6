//! Operators, attributes and inputs that this release of rten computes differently from the specification.
//!
//! Each entry is a fact about rten's code; an entry is removed once a release no longer needs it.

use crate::onnx::node_parts::{MICROSOFT, attribute, is_onnx};
use crate::onnx::values::{Site, is_float, is_integer};
use crate::pb::NodeProto;
use crate::pb::tensor_proto::DataType;
use crate::rten::equivalents;
use crate::rten::saturation;
use crate::rten::softmax;

/// Some operators and the nodes of them that rten computes wrongly.
struct WrongResult {
    operators: &'static [&'static str],
    is_wrong: fn(&Site<'_>) -> bool,
    /// The end of a sentence that begins with the name of the operator.
    reason: &'static str,
}

const REDUCTIONS: &[&str] = &[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
];

/// Operators of ONNX.
const WRONG_RESULTS: &[WrongResult] = &[
    WrongResult {
        operators: &["Acosh", "Asinh"],
        is_wrong: |_| true,
        reason: "rten computes infinity for large numbers",
    },
    WrongResult {
        operators: &["ArgMax", "ArgMin"],
        is_wrong: |_| true,
        reason: "rten returns the last of several equal elements",
    },
    WrongResult {
        operators: &[
            "AveragePool",
            "Conv",
            "ConvInteger",
            "ConvTranspose",
            "MaxPool",
        ],
        is_wrong: |site| site.text("auto_pad") == b"SAME_LOWER",
        reason: "rten computes `auto_pad` SAME_LOWER as SAME_UPPER",
    },
    WrongResult {
        operators: &["BatchNormalization"],
        is_wrong: |site| has_outputs(site, 1..5),
        reason: "rten computes only its first output",
    },
    // Types that rten narrows have other bits.
    WrongResult {
        operators: &["BitCast"],
        is_wrong: |_| true,
        reason: "rten has another representation of INT64, BOOL and FLOAT16",
    },
    WrongResult {
        operators: &["Cast", "CastLike"],
        is_wrong: is_unclean_bool,
        reason: "rten keeps numbers other than 0 and 1 in a cast to BOOL, and the type cast is unknown",
    },
    WrongResult {
        operators: &["Cast", "CastLike"],
        is_wrong: is_saturated,
        reason: "rten saturates floats that are cast to 8 bits, where ONNX Runtime wraps around",
    },
    // The int8 kernels add two products in 16 bits on x86 without AVX-512 VNNI. Most nodes with constant
    // weights have been rewritten.
    WrongResult {
        operators: &["ConvInteger", "MatMulInteger"],
        is_wrong: |_| true,
        reason: "rten saturates sums of products on many processors",
    },
    WrongResult {
        operators: &["Ceil", "Floor"],
        is_wrong: rounds_inexact_quotient,
        reason: "rten multiplies by the reciprocal of a divisor, and the quotient is then rounded",
    },
    WrongResult {
        operators: &["Cast"],
        is_wrong: |site| casts_to_integer(site) && rounds_inexact_quotient(site),
        reason: "rten multiplies by the reciprocal of a divisor, and the quotient is then rounded",
    },
    WrongResult {
        operators: &["GRU", "LSTM"],
        is_wrong: |site| !site.input(4).is_empty(),
        reason: "rten ignores the lengths of the sequences",
    },
    WrongResult {
        operators: &["GRU"],
        is_wrong: |site| site.integer("linear_before_reset", 0) == 0,
        reason: "rten supports only `linear_before_reset` 1",
    },
    WrongResult {
        operators: &["LayerNormalization"],
        is_wrong: |site| has_outputs(site, 1..3),
        reason: "rten computes only its first output",
    },
    WrongResult {
        operators: &["LogSoftmax", "Softmax"],
        is_wrong: softmax::is_flattened,
        reason: "rten normalises over one axis, unlike this version of the operator",
    },
    WrongResult {
        operators: &["MatMul"],
        is_wrong: multiplies_vector,
        reason: "rten keeps the last axis of a product of many matrices with a vector",
    },
    WrongResult {
        operators: &["MaxPool", "SimplifiedLayerNormalization"],
        is_wrong: |site| has_outputs(site, 1..2),
        reason: "rten computes only its first output",
    },
    // Only the best class of a box is considered, and boxes of all classes and images suppress each other.
    WrongResult {
        operators: &["NonMaxSuppression"],
        is_wrong: |_| true,
        reason: "rten selects boxes for all classes together",
    },
    WrongResult {
        operators: &["Pad"],
        is_wrong: |site| !site.input(3).is_empty(),
        reason: "rten does not support the input `axes`",
    },
    WrongResult {
        operators: &["Pow"],
        is_wrong: |site| {
            let is_exact = site.input_type(0).is_some_and(is_integer);
            is_exact && !site.input_type(1).is_some_and(is_integer)
        },
        reason: "rten computes powers of integers with exponents that are floats in 32 bits",
    },
    WrongResult {
        operators: &["QuantizeLinear"],
        is_wrong: |site| attribute(site.node, "axis").is_none() && !has_one_element(site, 1),
        reason: "rten has another default for attribute `axis`",
    },
    WrongResult {
        operators: &["Range"],
        is_wrong: is_fractional_range,
        reason: "rten may compute another number of elements for floats",
    },
    WrongResult {
        operators: &["ReduceMax", "ReduceMin"],
        is_wrong: |site| !reduces_all_values(site),
        reason: "rten has other extremes of an empty set for this type",
    },
    WrongResult {
        operators: REDUCTIONS,
        is_wrong: |site| site.integer("noop_with_empty_axes", 0) != 0 && !has_axes(site),
        reason: "rten does not support attribute `noop_with_empty_axes` in all cases",
    },
    WrongResult {
        operators: &["Resize"],
        is_wrong: |site| site.text("mode") == b"cubic",
        reason: "rten computes `mode` cubic as linear",
    },
    WrongResult {
        operators: &["Scatter", "ScatterElements"],
        is_wrong: scatters_into_part,
        reason: "rten misplaces updates if they have fewer rows than the data, which may be so here",
    },
    WrongResult {
        operators: &["Sign"],
        is_wrong: |site| !site.input_type(0).is_some_and(is_integer),
        reason: "rten computes 1 for zero",
    },
    WrongResult {
        operators: &["Softplus"],
        is_wrong: |site| !equivalents::is_bounded(site),
        reason: "rten computes infinity from 89 on",
    },
];

/// The score of a masked position in ONNX Runtime.
const DEFAULT_MASK: f32 = -10_000.0;

/// Operators of ONNX Runtime.
const MICROSOFT_WRONG_RESULTS: &[WrongResult] = &[
    WrongResult {
        operators: &["DynamicQuantizeLSTM"],
        is_wrong: |site| !site.input(4).is_empty(),
        reason: "rten ignores the lengths of the sequences",
    },
    WrongResult {
        operators: &["DynamicQuantizeLSTM"],
        is_wrong: |site| !site.input(7).is_empty(),
        reason: "rten does not support peepholes",
    },
    WrongResult {
        operators: &["DynamicQuantizeLSTM"],
        is_wrong: |site| saturation::is_possible(site, [1, 2]),
        reason: "rten saturates sums of products on this processor, which has no AVX-512 VNNI",
    },
    WrongResult {
        operators: &["GroupQueryAttention", "MultiHeadAttention"],
        is_wrong: |site| attribute(site.node, "scale").is_some_and(|scale| scale.f == 0.0),
        reason: "rten computes with a `scale` of 0, which stands for the default",
    },
    WrongResult {
        operators: &["MultiHeadAttention"],
        is_wrong: |site| {
            let value = attribute(site.node, "mask_filter_value");
            value.is_some_and(|value| value.f != DEFAULT_MASK)
        },
        reason: "rten ignores attribute `mask_filter_value`",
    },
    WrongResult {
        operators: &["GroupQueryAttention", "MultiHeadAttention"],
        is_wrong: |site| has_outputs(site, 3..4),
        reason: "rten computes only its first three outputs",
    },
    WrongResult {
        operators: &["SkipLayerNormalization", "SkipSimplifiedLayerNormalization"],
        is_wrong: |site| has_outputs(site, 1..3),
        reason: "rten computes neither the mean nor the deviation",
    },
];

/// Refuses a node that rten computes wrongly.
pub(super) fn check_node(site: &Site<'_>) -> Result<(), String> {
    let NodeProto {
        op_type, domain, ..
    } = site.node;
    let table = match domain.as_str() {
        MICROSOFT => MICROSOFT_WRONG_RESULTS,
        _ => WRONG_RESULTS,
    };
    for WrongResult {
        operators,
        is_wrong,
        reason,
    } in table
    {
        if operators.contains(&op_type.as_str()) && is_wrong(site) {
            let output = site.output(0);
            return Err(format!("operator {op_type} of `{output}`: {reason}"));
        }
    }
    Ok(())
}

/// Returns whether the node has one of these outputs.
fn has_outputs(site: &Site<'_>, mut positions: std::ops::Range<usize>) -> bool {
    positions.any(|position| !site.output(position).is_empty())
}

/// Returns whether an input is known to have one element.
fn has_one_element(site: &Site<'_>, position: usize) -> bool {
    let shape = site.values.shape(site.input(position));
    shape.is_some_and(|shape| shape.iter().all(|&size| size == Some(1)))
}

/// Returns whether a reduction is along axes that the file states.
fn has_axes(site: &Site<'_>) -> bool {
    let axes = site.values.integers(site.input(1));
    axes.is_some_and(|axes| !axes.is_empty())
}

/// Returns whether the type reduced is one whose smallest and largest value rten has.
fn reduces_all_values(site: &Site<'_>) -> bool {
    let found = site.input_type(0);
    found.is_some_and(|found| found != DataType::Bool)
}

/// Returns the type to which the node casts.
fn cast_type(site: &Site<'_>) -> Option<DataType> {
    match is_onnx(site.node, &["Cast"]) {
        true => site.values.data_type(site.output(0)),
        false => site.input_type(1),
    }
}

/// Returns whether a cast to BOOL, or possibly to BOOL, remains after the rewrites.
fn is_unclean_bool(site: &Site<'_>) -> bool {
    let may_be_bool = cast_type(site).is_none_or(|found| found == DataType::Bool);
    may_be_bool && site.input_type(0) != Some(DataType::Bool)
}

/// Returns whether floats that need not fit are cast to 8 bits. What was clipped fits.
fn is_saturated(site: &Site<'_>) -> bool {
    let is_narrow = matches!(cast_type(site), Some(DataType::Int8 | DataType::Uint8));
    let mut name = site.input(0);
    // Clipped numbers are often rounded before the cast.
    let mut producer = site.values.producer(name);
    while let Some(rounding) = producer
        && is_onnx(rounding, &["Ceil", "Floor", "Round"])
    {
        name = rounding.input.first().map_or("", String::as_str);
        producer = site.values.producer(name);
    }
    let is_clipped = producer.is_some_and(|node| is_clip(node, site));
    is_narrow && !is_clipped && !site.input_type(0).is_some_and(is_exact)
}

/// Returns whether the node bounds its input. `inner_nan` writes such nodes in two steps.
fn is_clip(node: &NodeProto, site: &Site<'_>) -> bool {
    let raised = node
        .input
        .first()
        .and_then(|name| site.values.producer(name));
    let is_raised = raised.is_some_and(|node| is_onnx(node, &["Max"]));
    is_onnx(node, &["Clip"]) || (is_onnx(node, &["Min"]) && is_raised)
}

fn is_exact(data_type: DataType) -> bool {
    is_integer(data_type) || data_type == DataType::Bool
}

fn casts_to_integer(site: &Site<'_>) -> bool {
    cast_type(site).is_none_or(is_integer) && !site.input_type(0).is_some_and(is_exact)
}

/// Returns whether the input may be a quotient by one float whose reciprocal is rounded.
fn rounds_inexact_quotient(site: &Site<'_>) -> bool {
    let quotient = site.values.producer(site.input(0));
    let Some(division) = quotient.filter(|node| is_onnx(node, &["Div"])) else {
        return false;
    };
    let division = Site {
        node: division,
        values: site.values,
        opset: site.opset,
    };
    let divisor = division.input(1);
    if let Some(numbers) = site.values.floats(divisor) {
        return matches!(numbers.as_slice(), [number] if !is_power_of_two(*number));
    }
    // A divisor with several elements is not inverted.
    let shape = site.values.shape(divisor).unwrap_or_default();
    let has_several = shape.iter().any(|&size| size.is_some_and(|size| size > 1));
    let is_integer_division = division.input_type(0).is_some_and(is_integer);
    !has_several && !is_integer_division
}

/// Returns whether the reciprocal is exact.
fn is_power_of_two(number: f32) -> bool {
    const FRACTION_BITS: u32 = 0x007f_ffff;
    number.is_normal() && number.to_bits() & FRACTION_BITS == 0
}

/// Returns whether the second operand is a vector and the first may have more than two axes.
fn multiplies_vector(site: &Site<'_>) -> bool {
    let rank = |position| site.values.rank(site.input(position));
    rank(1) == Some(1) && rank(0).is_none_or(|rank| rank > 2)
}

/// Returns whether a range of floats may not consist of whole numbers.
fn is_fractional_range(site: &Site<'_>) -> bool {
    let is_whole = |position| {
        let numbers = site.values.floats(site.input(position));
        numbers.is_some_and(|numbers| numbers.iter().all(|number| number.fract() == 0.0))
    };
    site.input_type(0).is_some_and(is_float) && !(is_whole(0) && is_whole(2))
}

/// Returns whether the updates may be smaller than the data along another axis than the operator's.
fn scatters_into_part(site: &Site<'_>) -> bool {
    let shapes = [0, 1].map(|position| site.values.shape(site.input(position)));
    // With two axes, the updates are a prefix of the rows or columns.
    if shapes.iter().flatten().any(|shape| shape.len() <= 2) {
        return false;
    }
    let [Some(data), Some(indices)] = shapes else {
        return true;
    };
    let rank = i64::try_from(data.len()).unwrap_or(i64::MAX);
    let axis = site.integer("axis", 0);
    let axis = if axis < 0 {
        axis.saturating_add(rank)
    } else {
        axis
    };
    let mut sizes = data.iter().zip(indices).enumerate();
    sizes.any(|(position, (data, index))| {
        let is_axis = usize::try_from(axis).is_ok_and(|axis| axis == position);
        !is_axis && (data.is_none() || data != index)
    })
}
