//! Operators and attributes that this release of tract computes differently from the ONNX specification.
//!
//! A model that uses one is refused by its name, since an error is better than a wrong result. Most entries are
//! attributes that tract does not read. Each entry names the case of the onnx package that shows it, if
//! there is one (`tests/onnx_nodes.rs` runs them all). An entry is removed once its case passes without it.

use crate::onnx::node_parts::{MICROSOFT, attribute, inner_graphs, is_onnx_domain};
use tract_onnx::Onnx;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, type_proto};

/// Some operators with an attribute whose value tract computes wrongly.
struct UnsupportedOp {
    operators: &'static [&'static str],
    /// The name of the attribute.
    attribute: &'static str,
    /// Returns whether tract computes wrongly with the value of the attribute in a node.
    is_wrong: fn(&GraphProto, &NodeProto, &AttributeProto) -> bool,
    /// The case that shows it; empty if the onnx package has none.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is for the reader"))]
    shown_by: &'static str,
}

const RECURRENT: &[&str] = &["GRU", "LSTM", "RNN"];

/// Operators that had an explicit axis for broadcasting before version 7.
const BINARY: &[&str] = &[
    "Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor",
];

const UNSUPPORTED_OPS: [UnsupportedOp; 16] = [
    // Of these, `recurrence` and `equivalents` have rewritten most. A single direction is always computed forwards.
    UnsupportedOp {
        operators: RECURRENT,
        attribute: "direction",
        is_wrong: |_, _, direction| direction.s == b"reverse",
        shown_by: "",
    },
    UnsupportedOp {
        operators: RECURRENT,
        attribute: "activations",
        is_wrong: other_activations,
        shown_by: "",
    },
    UnsupportedOp {
        operators: RECURRENT,
        attribute: "clip",
        is_wrong: |_, _, _| true,
        shown_by: "",
    },
    UnsupportedOp {
        operators: &["LSTM"],
        attribute: "input_forget",
        is_wrong: |_, _, input_forget| input_forget.i != 0,
        shown_by: "",
    },
    // The negative half is not multiplied by it. Positive ones have been rewritten.
    UnsupportedOp {
        operators: &["Celu"],
        attribute: "alpha",
        is_wrong: |_, _, alpha| alpha.f != 1.0,
        shown_by: "",
    },
    // Those of floats have been rewritten.
    UnsupportedOp {
        operators: &["Swish"],
        attribute: "alpha",
        is_wrong: |_, _, alpha| alpha.f != 1.0,
        shown_by: "",
    },
    // The output has the size that it would have without it.
    UnsupportedOp {
        operators: &["ConvTranspose"],
        attribute: "output_padding",
        is_wrong: |_, node, padding| {
            let is_sized = attribute(node, "output_shape").is_some();
            let is_padded = padding.ints.iter().any(|&size| size != 0);
            is_padded && !is_sized && is_same(node)
        },
        shown_by: "",
    },
    // ONNX Runtime counts other windows.
    UnsupportedOp {
        operators: &["AveragePool", "MaxPool"],
        attribute: "dilations",
        is_wrong: |_, node, dilations| {
            dilations.ints.iter().any(|&dilation| dilation != 1) && is_same(node)
        },
        shown_by: "",
    },
    // The nearest element is repeated for each of the 16 that a cubic interpolation takes.
    UnsupportedOp {
        operators: &["GridSample"],
        attribute: "padding_mode",
        is_wrong: |_, node, padding_mode| {
            let mode = attribute(node, "mode").map_or(b"".as_slice(), |mode| &mode.s);
            padding_mode.s == b"border" && matches!(mode, b"cubic" | b"bicubic")
        },
        shown_by: "",
    },
    UnsupportedOp {
        operators: &["SpaceToDepth"],
        attribute: "mode",
        is_wrong: |_, _, mode| mode.s == b"CRD",
        shown_by: "node/test_spacetodepth_crd_mode_example",
    },
    UnsupportedOp {
        operators: &["BatchNormalization"],
        attribute: "training_mode",
        is_wrong: |_, _, training_mode| training_mode.i != 0,
        shown_by: "",
    },
    // Without a zero point, the attribute determines the type, which tract assumes to be UINT8.
    UnsupportedOp {
        operators: &["QuantizeLinear"],
        attribute: "output_dtype",
        is_wrong: |_, node, output_dtype| {
            let open = node.input.get(2).is_none_or(String::is_empty);
            open && ![0, DataType::Uint8 as i64].contains(&output_dtype.i)
        },
        shown_by: "",
    },
    UnsupportedOp {
        operators: &["DequantizeLinear"],
        attribute: "output_dtype",
        is_wrong: |_, _, output_dtype| ![0, DataType::Float as i64].contains(&output_dtype.i),
        shown_by: "",
    },
    UnsupportedOp {
        operators: &["Scan"],
        attribute: "directions",
        is_wrong: |_, _, directions| directions.ints.iter().any(|&direction| direction != 0),
        shown_by: "",
    },
    UnsupportedOp {
        operators: BINARY,
        attribute: "axis",
        is_wrong: other_axes,
        shown_by: "",
    },
    // An axis that occurs twice makes tract loop without end and allocate memory.
    UnsupportedOp {
        operators: &["Transpose"],
        attribute: "perm",
        is_wrong: |_, _, perm| !is_permutation(&perm.ints),
        shown_by: "",
    },
];

/// An operator that tract computes wrongly with some inputs or outputs.
struct WrongInputs {
    operator: &'static str,
    /// Returns whether tract computes a node wrongly.
    is_wrong: fn(&GraphProto, &NodeProto) -> bool,
    /// The end of a sentence that begins with the name of the operator.
    reason: &'static str,
}

const WRONG_INPUTS: [WrongInputs; 4] = [
    WrongInputs {
        operator: "NonMaxSuppression",
        is_wrong: |_, node| !has(&node.input, 2),
        reason: "tract selects all boxes without a maximum number, which is 0 by default",
    },
    // The version before 11 rounds to the nearest element in another way, which depends on the scales.
    WrongInputs {
        operator: "Resize",
        is_wrong: |_, node| {
            let mode = attribute(node, "mode").map_or(b"".as_slice(), |mode| &mode.s);
            let is_nearest = matches!(mode, b"" | b"nearest");
            node.input.len() == 2 && is_nearest && attribute(node, "nearest_mode").is_none()
        },
        reason: "tract supports this version only with scales that are constant",
    },
    // A position for the whole sequence is that of its first element.
    WrongInputs {
        operator: "RotaryEmbedding",
        is_wrong: |graph, node| {
            let positions = node.input.get(1).and_then(|name| rank(graph, name));
            node.domain == MICROSOFT && positions.is_some_and(|rank| rank != 2)
        },
        reason: "tract supports only a position for each element",
    },
    WrongInputs {
        operator: "SkipSimplifiedLayerNormalization",
        is_wrong: |_, node| has(&node.input, 3),
        reason: "tract ignores its bias",
    },
];

/// The domain of models on tables, whose operators tract identifies by the names that it supports, as ONNX's own.
const TABLE_DOMAIN: &str = "ai.onnx.ml";

/// The operators of ONNX Runtime's domain in tract, which has ONNX's own operators of the same names as well.
const MICROSOFT_OPERATORS: &[&str] = &[
    "BiasGelu",
    "DequantizeLinear",
    "FastGelu",
    "GatherBlockQuantized",
    "Gelu",
    "GroupQueryAttention",
    "MatMulNBits",
    "MultiHeadAttention",
    "QuantizeLinear",
    "QuickGelu",
    "RotaryEmbedding",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
    "Tokenizer",
];

/// Refuses a graph that tract is known to compute wrongly.
pub(super) fn check(onnx: &Onnx, graph: &GraphProto) -> Result<(), String> {
    for node in &graph.node {
        let NodeProto {
            op_type, domain, ..
        } = node;
        let known = match domain.as_str() {
            MICROSOFT => MICROSOFT_OPERATORS.contains(&op_type.as_str()),
            domain => is_onnx_domain(domain) || domain == TABLE_DOMAIN,
        };
        // tract compares only names.
        if !known && onnx.op_register.0.contains_key(op_type) {
            return Err(format!("operators not implemented: {op_type} ({domain})"));
        }
        for unsupported in &UNSUPPORTED_OPS {
            let UnsupportedOp {
                operators,
                attribute: name,
                is_wrong,
                ..
            } = unsupported;
            if operators.contains(&op_type.as_str())
                && attribute(node, name).is_some_and(|attribute| is_wrong(graph, node, attribute))
            {
                let shown = node.output.first().map_or("", String::as_str);
                return Err(format!(
                    "operator {op_type} of `{shown}`: tract does not support this value of \
                     attribute `{name}`"
                ));
            }
        }
        for WrongInputs {
            operator,
            is_wrong,
            reason,
        } in &WRONG_INPUTS
        {
            if op_type == operator && is_wrong(graph, node) {
                let shown = node.output.first().map_or("", String::as_str);
                return Err(format!("operator {op_type} of `{shown}`: {reason}"));
            }
        }
        for inner in inner_graphs(node) {
            check(onnx, inner)?;
        }
    }
    Ok(())
}

/// Returns whether there is a name at this position of a node's inputs or outputs.
fn has(names: &[String], position: usize) -> bool {
    names.get(position).is_some_and(|name| !name.is_empty())
}

/// Returns whether the output of a node has the size of its input, divided by the stride.
fn is_same(node: &NodeProto) -> bool {
    let auto_pad = attribute(node, "auto_pad").map_or(b"".as_slice(), |auto_pad| &auto_pad.s);
    matches!(auto_pad, b"SAME_UPPER" | b"SAME_LOWER")
}

/// Returns whether each axis occurs once.
fn is_permutation(axes: &[i64]) -> bool {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    sorted.iter().copied().eq((0..).take(axes.len()))
}

/// Returns whether the second operand may be broadcast along other axes than the last ones, which tract uses.
fn other_axes(graph: &GraphProto, node: &NodeProto, axis: &AttributeProto) -> bool {
    let broadcast = attribute(node, "broadcast").is_some_and(|broadcast| broadcast.i != 0);
    let rank = |input: usize| rank(graph, node.input.get(input)?);
    let last = match (rank(0), rank(1)) {
        (Some(first), Some(second)) => i64::try_from(first)
            .and_then(|first| Ok(first - i64::try_from(second)?))
            .is_ok_and(|last| last == axis.i),
        _ => false,
    };
    broadcast && !last
}

/// Returns the number of axes that the graph declares for one of its inputs or initializers.
fn rank(graph: &GraphProto, name: &str) -> Option<usize> {
    if let Some(tensor) = graph.initializer.iter().find(|tensor| tensor.name == name) {
        return Some(tensor.dims.len());
    }
    let input = graph.input.iter().find(|input| input.name == name)?;
    let type_proto::Value::TensorType(tensor) = input.r#type.as_ref()?.value.as_ref()?;
    Some(tensor.shape.as_ref()?.dim.len())
}

/// Returns whether the activations differ from the defaults of the operator, which are the same for each direction.
fn other_activations(_: &GraphProto, node: &NodeProto, activations: &AttributeProto) -> bool {
    let usual: &[&[u8]] = match node.op_type.as_str() {
        "GRU" => &[b"Sigmoid", b"Tanh"],
        "LSTM" => &[b"Sigmoid", b"Tanh", b"Tanh"],
        _ => &[b"Tanh"],
    };
    let given = activations.strings.iter().map(Vec::as_slice);
    !given.eq(usual
        .iter()
        .copied()
        .cycle()
        .take(activations.strings.len()))
}

#[cfg(test)]
mod tests;
