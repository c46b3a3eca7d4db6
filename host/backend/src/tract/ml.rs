//! Operators of ONNX's machine-learning domain, `ai.onnx.ml`, computed here instead of in tract.
//!
//! The models of scikit-learn consist of them. tract 0.23 lacks most of them, and the others differ from
//! onnxruntime in labels, base values and transforms. Each is a [`Kernel`](operator::Kernel), which
//! [`operator`] turns into an operator of tract. onnxruntime's kernels are the reference, also in points
//! that the standard leaves open, such as the output of a classifier of two classes with one column of
//! scores, or the label that wins a tie. Some operators of other domains are included:
//! two which tract computes wrongly ([`log_sum_exp`]) or not for all types ([`sigmoid`]), and those of texts
//! ([`string_normalizer`], [`tokenizer`], [`tf_idf_vectorizer`]).
//!
//! Invariant: attributes are checked once, when the model is loaded, and computing relies on that.

mod array_feature_extractor;
mod attribute;
mod elementwise;
mod encoder;
mod feature_vectorizer;
mod labels;
mod linear;
mod log_sum_exp;
mod normalizer;
mod one_hot;
mod operator;
mod post_transform;
mod sigmoid;
mod string_normalizer;
mod svm;
mod tf_idf_vectorizer;
mod tokenizer;
mod tree;

use self::operator::MlOperator;
use tract_onnx::Onnx;
use tract_onnx::prelude::{TValue, TractResult, TypedNode};

/// Returns the bytes that the outputs of a node take with these inputs, if that follows from values.
pub(super) fn output_bytes(node: &TypedNode, inputs: &[TValue]) -> TractResult<Option<u64>> {
    match node.op_as::<MlOperator>() {
        Some(operator) => operator.output_bytes(inputs),
        None => Ok(None),
    }
}

/// Registers the operators with `onnx`.
pub(super) fn register(onnx: &mut Onnx) {
    let operators = &mut onnx.op_register;
    operators.insert("ArrayFeatureExtractor", array_feature_extractor::build);
    operators.insert("Binarizer", elementwise::build_binarizer);
    operators.insert("FeatureVectorizer", feature_vectorizer::build);
    operators.insert("Imputer", elementwise::build_imputer);
    operators.insert("LabelEncoder", encoder::build);
    operators.insert("LinearClassifier", linear::build_classifier);
    operators.insert("LinearRegressor", linear::build_regressor);
    operators.insert("Normalizer", normalizer::build);
    operators.insert("OneHotEncoder", one_hot::build);
    operators.insert("ReduceLogSumExp", log_sum_exp::build);
    operators.insert("SVMClassifier", svm::build_classifier);
    operators.insert("SVMRegressor", svm::build_regressor);
    operators.insert("Scaler", elementwise::build_scaler);
    operators.insert("Sigmoid", sigmoid::build);
    operators.insert("StringNormalizer", string_normalizer::build);
    operators.insert("TfIdfVectorizer", tf_idf_vectorizer::build);
    operators.insert("Tokenizer", tokenizer::build);
    operators.insert("TreeEnsemble", tree::build_ensemble);
    operators.insert("TreeEnsembleClassifier", tree::build_classifier);
    operators.insert("TreeEnsembleRegressor", tree::build_regressor);
}
