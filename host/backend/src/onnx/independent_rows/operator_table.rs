//! The operators that are known to keep rows apart, under conditions that each family checks.

use super::operator::{Operator, Outputs};
use super::{
    content, elementwise, layout, matrix, network, reduction, selection, size_arithmetic,
    table_model,
};
use crate::onnx::node_parts::{MICROSOFT, is_onnx_domain};

/// The domain of operators for tables.
pub(super) const TABLE_DOMAIN: &str = "ai.onnx.ml";

/// The operators whose outputs are random.
const RANDOM: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// Returns whether an operator of this domain and type computes the same from the same inputs.
pub(super) fn is_deterministic(domain: &str, op_type: &str) -> bool {
    let is_known = is_onnx_domain(domain) || domain == TABLE_DOMAIN;
    is_known && !RANDOM.contains(&op_type)
}

/// Returns the outputs of an operator, if it is known to keep rows apart.
pub(super) fn infer(operator: &mut Operator<'_>) -> Outputs {
    match operator.node.domain.as_str() {
        domain if is_onnx_domain(domain) => {
            if let Some(sizes) = size_arithmetic::infer(operator) {
                return Some(sizes);
            }
            infer_onnx(operator)
        }
        TABLE_DOMAIN => infer_table(operator),
        MICROSOFT => match operator.node.op_type.as_str() {
            "BiasGelu" | "FastGelu" | "Gelu" | "QuickGelu" => elementwise::broadcast(operator),
            _ => None,
        },
        _ => None,
    }
}

fn infer_onnx(operator: &mut Operator<'_>) -> Outputs {
    match operator.node.op_type.as_str() {
        "Constant" => Some(vec![content::of_constant_node(operator.node)]),
        "ConstantOfShape" => layout::fill(operator),
        "Range" => layout::range(operator),
        "Abs" | "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "BitwiseNot" | "Cast"
        | "Ceil" | "Celu" | "Clip" | "Cos" | "Cosh" | "Elu" | "Erf" | "Exp" | "Floor" | "Gelu"
        | "HardSigmoid" | "HardSwish" | "Identity" | "IsInf" | "IsNaN" | "LeakyRelu" | "Log"
        | "Mish" | "Neg" | "Not" | "Reciprocal" | "RegexFullMatch" | "Relu" | "Round" | "Selu"
        | "Shrink" | "Sigmoid" | "Sign" | "Sin" | "Sinh" | "Softplus" | "Softsign" | "Sqrt"
        | "Swish" | "Tan" | "Tanh" | "ThresholdedRelu" => elementwise::unary(operator),
        "CastLike" => elementwise::first(operator),
        "Add" | "And" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Div"
        | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Max" | "Mean"
        | "Min" | "Mod" | "Mul" | "Or" | "Pow" | "StringConcat" | "Sub" | "Sum" | "Where"
        | "Xor" => elementwise::broadcast(operator),
        "PRelu" => elementwise::prelu(operator),
        "Dropout" => elementwise::dropout(operator),
        "QuantizeLinear" | "DequantizeLinear" => elementwise::quantize(operator),
        "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare" => {
            reduction::reduce(operator)
        }
        "ArgMax" | "ArgMin" => reduction::arg(operator),
        "CumSum" | "CumProd" => reduction::cumulate(operator),
        "Softmax" | "LogSoftmax" | "Hardmax" => reduction::softmax(operator),
        "LpNormalization" => reduction::normalize_axis(operator, -1),
        "LayerNormalization" | "RMSNormalization" => reduction::normalize_layer(operator),
        "InstanceNormalization" | "GroupNormalization" => reduction::normalize_channels(operator),
        "LRN" => reduction::normalize_response(operator),
        "BatchNormalization" => reduction::normalize_batch(operator),
        "MeanVarianceNormalization" => reduction::normalize_moments(operator),
        "Reshape" => layout::reshape(operator),
        "Flatten" => layout::flatten(operator),
        "Squeeze" => layout::squeeze(operator),
        "Unsqueeze" => layout::unsqueeze(operator),
        "Transpose" => layout::transpose(operator),
        "Expand" => layout::expand(operator),
        "Tile" => layout::tile(operator),
        "Concat" => layout::concat(operator),
        "Split" => layout::split(operator),
        "Pad" => layout::pad(operator),
        "DepthToSpace" | "SpaceToDepth" => layout::move_blocks(operator),
        "Gather" => selection::gather(operator),
        "GatherElements" => selection::gather_elements(operator),
        "GatherND" => selection::gather_nd(operator),
        "Slice" => selection::slice(operator),
        "OneHot" => selection::one_hot(operator),
        "TopK" => selection::top(operator),
        "Trilu" => selection::matrices(operator),
        "ReverseSequence" => selection::reverse(operator),
        "MatMul" => matrix::matmul(operator),
        "MatMulInteger" => matrix::matmul_integer(operator),
        "QLinearMatMul" => matrix::matmul_quantized(operator),
        "Gemm" => matrix::gemm(operator),
        "Einsum" => matrix::einsum(operator),
        "Conv" | "ConvInteger" => network::convolve(operator, 1),
        "QLinearConv" => network::convolve(operator, 3),
        "ConvTranspose" => network::convolve_transposed(operator),
        "MaxPool" | "AveragePool" | "LpPool" => network::pool(operator),
        "GlobalMaxPool" | "GlobalAveragePool" | "GlobalLpPool" => network::pool_all(operator),
        "Resize" | "Upsample" => network::resize(operator),
        "LSTM" | "GRU" | "RNN" => network::recur(operator),
        "Attention" => network::attend(operator),
        "GridSample" => network::sample_grid(operator),
        "TfIdfVectorizer" => table_model::count_words(operator),
        _ => None,
    }
}

fn infer_table(operator: &mut Operator<'_>) -> Outputs {
    match operator.node.op_type.as_str() {
        "Binarizer" | "CategoryMapper" | "LabelEncoder" | "ZipMap" => elementwise::unary(operator),
        "Imputer" | "Normalizer" | "Scaler" => table_model::columns(operator),
        "LinearClassifier" | "SVMClassifier" | "TreeEnsembleClassifier" => {
            table_model::classify(operator)
        }
        "LinearRegressor" | "SVMRegressor" | "TreeEnsemble" | "TreeEnsembleRegressor" => {
            table_model::regress(operator)
        }
        "OneHotEncoder" => table_model::encode(operator),
        "ArrayFeatureExtractor" => table_model::extract(operator),
        "FeatureVectorizer" => table_model::join(operator),
        _ => None,
    }
}
