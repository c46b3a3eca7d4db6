//! Operators of ONNX's machine-learning domain, `ai.onnx.ml`, computed here instead of in tract.
//!
//! scikit-learn's models consist of them. tract 0.23 lacks most, and what it has differs from onnxruntime in
//! labels, base values and transforms, so all of them are ours: each is a [`Kernel`](operator::Kernel), which
//! [`operator`] makes an operator of tract. onnxruntime's kernels are the reference, down to what the standard
//! leaves open: what a classifier of two classes with one column of scores answers, or which label wins a tie.
//!
//! Two operators of ONNX itself are among them, which tract computes wrongly ([`log_sum_exp`]) or not for all
//! types ([`sigmoid`]).
//!
//! Invariant: what the file says is checked once, when the model is loaded; a refusal names the operator and
//! the attribute, and computing can rely on it.

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
mod svm;
mod tree;

use tract_onnx::Onnx;

/// Teach `onnx` the operators.
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
    operators.insert("TreeEnsemble", tree::build_ensemble);
    operators.insert("TreeEnsembleClassifier", tree::build_classifier);
    operators.insert("TreeEnsembleRegressor", tree::build_regressor);
}
