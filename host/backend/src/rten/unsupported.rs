//! Refuses files that this release of rten would not compute as ONNX Runtime does.
//!
//! rten has fewer types than ONNX and narrows the others silently, and some of its operators differ from
//! the specification ([`wrong_results`]). An error that names the operator or value is better than a wrong
//! result. The rewrites of [`super::softmax`] and [`super::equivalents`] come before and leave less to
//! refuse. Attributes that rten does not read need no entry here: it refuses them when it loads the model.
//!
//! FLOAT16 is computed as f32, which has all its values: a result is at least as close to the exact one as
//! that of ONNX Runtime, which rounds after each operator, and is rounded when it leaves.

mod wrong_results;

use self::wrong_results::check_node;
use crate::error::MISSING_OPERATORS;
use crate::onnx::node_parts::{MICROSOFT, attribute, inner_graphs, is_onnx, opset};
use crate::onnx::values::{Site, Values};
use crate::pb::tensor_proto::DataType;
use crate::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};
use std::collections::{BTreeSet, HashMap};

/// The first version of ONNX's operators that rten follows. Before, operands were broadcast differently.
const MIN_OPSET: i64 = 7;

/// The operators of ONNX that rten has without its optional features, which are randomness and FFT.
///
/// They are listed in `op_registry/onnx_registry.rs` in rten, and `Constant`, which its loader reads.
const OPERATORS: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Attention",
    "AveragePool",
    "BatchNormalization",
    "BitCast",
    "Cast",
    "CastLike",
    "Ceil",
    "Clip",
    "Concat",
    "ConcatFromSequence",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "DequantizeLinear",
    "Div",
    "DynamicQuantizeLinear",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "EyeLike",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "GridSample",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "If",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "Loop",
    "LpNormalization",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "NonMaxSuppression",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QuantizeLinear",
    "RMSNormalization",
    "Range",
    "Reciprocal",
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
    "Relu",
    "Reshape",
    "Resize",
    "ReverseSequence",
    "RotaryEmbedding",
    "Round",
    "Scatter",
    "ScatterElements",
    "ScatterND",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "Shape",
    "Sigmoid",
    "Sign",
    "SimplifiedLayerNormalization",
    "Sin",
    "Sinh",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "SplitToSequence",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Upsample",
    "Where",
    "Xor",
];

/// The operators of ONNX Runtime's domain that rten has.
const MICROSOFT_OPERATORS: &[&str] = &[
    "BiasGelu",
    "DynamicQuantizeLSTM",
    "FastGelu",
    "Gelu",
    "GroupQueryAttention",
    "MatMulNBits",
    "MultiHeadAttention",
    "QuickGelu",
    "RotaryEmbedding",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
];

/// The maximum number of nodes in a chain: rten's planner recurses along it. The stack of [`super::STACK_BYTES`]
/// is enough for these, as a test shows.
const MAX_DEPTH: usize = 4096;

/// The attributes that name an element type.
const TYPE_ATTRIBUTES: [(&str, &str); 5] = [
    ("Cast", "to"),
    ("DequantizeLinear", "output_dtype"),
    ("EyeLike", "dtype"),
    ("QuantizeLinear", "output_dtype"),
    ("SequenceEmpty", "dtype"),
];

/// Refuses a model that rten is known to compute wrongly, or not at all.
pub(super) fn check(model: &ModelProto) -> Result<(), String> {
    let graph = (model.graph.as_ref()).ok_or("the file contains no graph")?;
    let opset = opset(&model.opset_import)
        .ok_or("the file does not declare the version of ONNX's operators that it uses")?;
    let mut unknown = BTreeSet::new();
    add_unknown(graph, &mut unknown);
    if !unknown.is_empty() {
        let unknown: Vec<String> = unknown.into_iter().collect();
        return Err(format!("{MISSING_OPERATORS}: {}", unknown.join(", ")));
    }
    if opset < MIN_OPSET {
        return Err(format!(
            "the file uses version {opset} of ONNX's operators, and rten computes version \
             {MIN_OPSET} and later ones"
        ));
    }
    check_functions(model)?;
    check_graph(graph, opset, None)
}

/// Refuses functions with the name of an operator, since rten ignores functions.
fn check_functions(model: &ModelProto) -> Result<(), String> {
    for function in &model.functions {
        let (domain, name) = (
            function.domain.as_deref().unwrap_or_default(),
            function.name.as_deref().unwrap_or_default(),
        );
        if is_known(domain, name) {
            return Err(format!(
                "the file replaces operator {name} by a function, which rten ignores"
            ));
        }
    }
    Ok(())
}

/// Adds the operators that rten does not have.
fn add_unknown(graph: &GraphProto, unknown: &mut BTreeSet<String>) {
    for node in &graph.node {
        let NodeProto {
            op_type, domain, ..
        } = node;
        if !is_known(domain, op_type) {
            unknown.insert(match domain.as_str() {
                "" => op_type.clone(),
                domain => format!("{op_type} ({domain})"),
            });
        }
        for inner in inner_graphs(node) {
            add_unknown(inner, unknown);
        }
    }
}

fn is_known(domain: &str, op_type: &str) -> bool {
    match domain {
        "" | "ai.onnx" => OPERATORS.contains(&op_type),
        MICROSOFT => MICROSOFT_OPERATORS.contains(&op_type),
        _ => false,
    }
}

/// Checks a graph and those inside it. The recursion depth is bounded by the decoder's limit on nested
/// messages.
fn check_graph<'a>(
    graph: &'a GraphProto,
    opset: i64,
    outer: Option<&'a Values<'a>>,
) -> Result<(), String> {
    check_types(graph)?;
    check_names(graph, outer)?;
    check_depth(graph)?;
    let values = Values::of(graph, outer);
    for node in &graph.node {
        let site = Site {
            node,
            values: &values,
            opset,
        };
        check_node_types(&site)?;
        check_node(&site)?;
        for inner in inner_graphs(node) {
            check_graph(inner, opset, Some(&values))?;
        }
    }
    Ok(())
}

/// Refuses values of types that rten does not have.
fn check_types(graph: &GraphProto) -> Result<(), String> {
    let declared = [
        ("input", &graph.input),
        ("output", &graph.output),
        ("value", &graph.value_info),
    ];
    for (role, values) in declared {
        for ValueInfoProto { name, r#type, .. } in values {
            let declared = r#type.as_ref().and_then(|found| found.value.as_ref());
            if let Some(type_proto::Value::TensorType(tensor)) = declared {
                check_type(tensor.elem_type, || format!("{role} `{name}`"))?;
            }
        }
    }
    for TensorProto {
        name, data_type, ..
    } in &graph.initializer
    {
        check_type(*data_type, || format!("initializer `{name}`"))?;
    }
    match graph.sparse_initializer.first() {
        Some(sparse) => {
            let name = sparse
                .values
                .as_ref()
                .map_or("", |values| values.name.as_str());
            Err(format!(
                "initializer `{name}` is sparse, which rten does not support"
            ))
        }
        None => Ok(()),
    }
}

/// Refuses a node whose attributes contain or name a type that rten does not have.
fn check_node_types(site: &Site<'_>) -> Result<(), String> {
    let node = site.node;
    let named = || format!("operator {} of `{}`", node.op_type, site.output(0));
    for found in &node.attribute {
        for tensor in found.t.iter().chain(&found.tensors) {
            check_type(tensor.data_type, named)?;
        }
    }
    if is_onnx(node, &["Constant"]) {
        let unread = ["value_string", "value_strings", "sparse_value"];
        let unread = unread.iter().find(|name| attribute(node, name).is_some());
        if let Some(name) = unread {
            return Err(format!(
                "{}: rten does not support attribute `{name}`",
                named()
            ));
        }
    }
    for (op_type, name) in TYPE_ATTRIBUTES {
        if is_onnx(node, &[op_type]) {
            let data_type = i32::try_from(site.integer(name, 0)).unwrap_or(i32::MAX);
            check_type(data_type, named)?;
        }
    }
    Ok(())
}

/// Refuses a type that rten does not have. A type that the file leaves open follows from others.
fn check_type(data_type: i32, what: impl Fn() -> String) -> Result<(), String> {
    let found = match DataType::try_from(data_type) {
        Ok(
            DataType::Undefined
            | DataType::Float
            | DataType::Float16
            | DataType::Int8
            | DataType::Uint8
            | DataType::Int32
            | DataType::Int64
            | DataType::Bool,
        ) => return Ok(()),
        Ok(other) => other.as_str_name(),
        Err(_) => "an unknown type",
    };
    Err(format!(
        "{} has {found}, which rten does not support",
        what()
    ))
}

/// Refuses names that rten resolves differently: it expects sorted nodes, and in an inner graph it takes a
/// value for the one of the same name in an outer graph.
fn check_names(graph: &GraphProto, outer: Option<&Values<'_>>) -> Result<(), String> {
    let mut producers = HashMap::new();
    for (position, node) in graph.node.iter().enumerate() {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if outer.is_some_and(|outer| outer.contains(output)) {
                return Err(format!(
                    "value `{output}` of an inner graph has the name of an outer one, which rten \
                     does not support"
                ));
            }
            producers.insert(output.as_str(), position);
        }
    }
    for (position, node) in graph.node.iter().enumerate() {
        for input in &node.input {
            if producers
                .get(input.as_str())
                .is_some_and(|&producer| producer >= position)
            {
                return Err(format!("value `{input}` is used before it is computed"));
            }
        }
    }
    Ok(())
}

/// Refuses a graph with a longer chain of nodes than rten can plan. Its nodes are sorted.
fn check_depth(graph: &GraphProto) -> Result<(), String> {
    let mut depths: HashMap<&str, usize> = HashMap::new();
    for node in &graph.node {
        let inputs = node.input.iter();
        let before = inputs.filter_map(|input| depths.get(input.as_str()));
        let depth = before.max().map_or(1, |depth| depth + 1);
        if depth > MAX_DEPTH {
            return Err(format!(
                "the graph has a chain of more than {MAX_DEPTH} nodes, which rten cannot plan"
            ));
        }
        for output in &node.output {
            depths.insert(output, depth);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
