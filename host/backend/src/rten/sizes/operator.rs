//! The operators whose sizes are known: the ones of rten 0.27 without its optional features, and without
//! sequences.

use crate::pb::NodeProto;

/// A group of operators whose outputs have their sizes by the same rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The output has the sizes of the first input.
    Same,
    /// As [`Kind::Same`], and the elements are followed.
    Unary,
    /// The output has the sizes of all inputs broadcast together; the elements are followed.
    Broadcast,
    ArgReduce,
    Attention,
    Cast,
    CastLike,
    Clip,
    Concat,
    ConstantOfShape,
    Conv,
    ConvTranspose,
    DepthToSpace,
    DynamicQuantizeLinear,
    Einsum,
    Expand,
    Flatten,
    Gather,
    GatherElements,
    GatherNd,
    Gemm,
    GlobalPool,
    GridSample,
    GroupQueryAttention,
    Gru,
    Identity,
    If,
    Loop,
    Lstm,
    MatMul,
    MatMulNBits,
    MultiHeadAttention,
    NonMaxSuppression,
    NonZero,
    OneHot,
    Pad,
    Pool,
    QuantizedLstm,
    Range,
    Reduce,
    Reshape,
    Resize,
    Shape,
    Size,
    SkipNormalization,
    Slice,
    Split,
    Squeeze,
    Tile,
    TopK,
    Transpose,
    Unsqueeze,
    Upsample,
}

/// Returns the name of a node's operator, with the domain unless it is the default.
pub(super) fn operator_name(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

impl Kind {
    /// Returns the rule for an operator, or `None` if it is not supported.
    pub(super) fn of(operator: &str) -> Option<Kind> {
        Some(match operator {
            "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "Cos" | "Cosh" | "Sin"
            | "Sinh" | "Tan" | "Tanh" | "Erf" | "Exp" | "Log" | "Reciprocal" => Kind::Same,
            "Elu" | "Gelu" | "HardSigmoid" | "HardSwish" | "LeakyRelu" | "PRelu" | "Relu"
            | "Sigmoid" | "Softplus" | "Softsign" | "Swish" => Kind::Same,
            "LogSoftmax"
            | "Softmax"
            | "BatchNormalization"
            | "InstanceNormalization"
            | "LayerNormalization"
            | "LpNormalization"
            | "RMSNormalization"
            | "SimplifiedLayerNormalization" => Kind::Same,
            "BitCast" | "CumSum" | "DequantizeLinear" | "EyeLike" | "IsInf" | "IsNaN"
            | "QuantizeLinear" | "ReverseSequence" | "RotaryEmbedding" | "Scatter"
            | "ScatterElements" | "ScatterND" | "Trilu" => Kind::Same,
            "com.microsoft.BiasGelu"
            | "com.microsoft.FastGelu"
            | "com.microsoft.Gelu"
            | "com.microsoft.QuickGelu"
            | "com.microsoft.RotaryEmbedding" => Kind::Same,
            "Abs" | "Ceil" | "Floor" | "Neg" | "Not" | "Round" | "Sign" | "Sqrt" => Kind::Unary,
            "Add" | "And" | "Div" | "Equal" | "Greater" | "GreaterOrEqual" | "Less"
            | "LessOrEqual" | "Max" | "Mean" | "Min" | "Mod" | "Mul" | "Or" | "Pow" | "Sub"
            | "Sum" | "Where" | "Xor" => Kind::Broadcast,
            "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
            | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
                Kind::Reduce
            }
            "ArgMax" | "ArgMin" => Kind::ArgReduce,
            "Attention" => Kind::Attention,
            "AveragePool" | "MaxPool" => Kind::Pool,
            "Cast" => Kind::Cast,
            "CastLike" => Kind::CastLike,
            "Clip" => Kind::Clip,
            "Concat" => Kind::Concat,
            "ConstantOfShape" => Kind::ConstantOfShape,
            "Conv" | "ConvInteger" => Kind::Conv,
            "ConvTranspose" => Kind::ConvTranspose,
            "DepthToSpace" => Kind::DepthToSpace,
            "DynamicQuantizeLinear" => Kind::DynamicQuantizeLinear,
            "Einsum" => Kind::Einsum,
            "Expand" => Kind::Expand,
            "Flatten" => Kind::Flatten,
            "GRU" => Kind::Gru,
            "Gather" => Kind::Gather,
            "GatherElements" => Kind::GatherElements,
            "GatherND" => Kind::GatherNd,
            "Gemm" => Kind::Gemm,
            "GlobalAveragePool" | "GlobalMaxPool" => Kind::GlobalPool,
            "GridSample" => Kind::GridSample,
            "Identity" => Kind::Identity,
            "If" => Kind::If,
            "LSTM" => Kind::Lstm,
            "Loop" => Kind::Loop,
            "MatMul" | "MatMulInteger" => Kind::MatMul,
            "NonMaxSuppression" => Kind::NonMaxSuppression,
            "NonZero" => Kind::NonZero,
            "OneHot" => Kind::OneHot,
            "Pad" => Kind::Pad,
            "Range" => Kind::Range,
            "Reshape" => Kind::Reshape,
            "Resize" => Kind::Resize,
            "Shape" => Kind::Shape,
            "Size" => Kind::Size,
            "Slice" => Kind::Slice,
            "Split" => Kind::Split,
            "Squeeze" => Kind::Squeeze,
            "Tile" => Kind::Tile,
            "TopK" => Kind::TopK,
            "Transpose" => Kind::Transpose,
            "Unsqueeze" => Kind::Unsqueeze,
            "Upsample" => Kind::Upsample,
            "com.microsoft.DynamicQuantizeLSTM" => Kind::QuantizedLstm,
            "com.microsoft.GroupQueryAttention" => Kind::GroupQueryAttention,
            "com.microsoft.MatMulNBits" => Kind::MatMulNBits,
            "com.microsoft.MultiHeadAttention" => Kind::MultiHeadAttention,
            "com.microsoft.SkipLayerNormalization"
            | "com.microsoft.SkipSimplifiedLayerNormalization" => Kind::SkipNormalization,
            _ => return None,
        })
    }
}
