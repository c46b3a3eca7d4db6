"""Every operator of ONNX has a case, or a reason why not."""

import onnx

RANDOM = "its result is random"
COMPOSED = "it has graphs or values that are not tensors; the cases of the onnx package test it"
PLAIN = "it has no numbers of its own; the cases of all operators contain it"
TRAINING = "it is for training"
TEXTS = "the tests of scikit-learn's text pipelines have it"
RARE = "no backend here implements it, but for onnxruntime's; the cases of the onnx package test it"

# Operators without a case.
LEFT_OUT = {
    "Bernoulli": RANDOM,
    "Multinomial": RANDOM,
    "RandomNormal": RANDOM,
    "RandomNormalLike": RANDOM,
    "RandomUniform": RANDOM,
    "RandomUniformLike": RANDOM,
    "ConcatFromSequence": COMPOSED,
    "If": COMPOSED,
    "Loop": COMPOSED,
    "Optional": COMPOSED,
    "OptionalGetElement": COMPOSED,
    "OptionalHasElement": COMPOSED,
    "Scan": COMPOSED,
    "SequenceAt": COMPOSED,
    "SequenceConstruct": COMPOSED,
    "SequenceEmpty": COMPOSED,
    "SequenceErase": COMPOSED,
    "SequenceInsert": COMPOSED,
    "SequenceLength": COMPOSED,
    "SequenceMap": COMPOSED,
    "SplitToSequence": COMPOSED,
    "Constant": PLAIN,
    "NegativeLogLikelihoodLoss": TRAINING,
    "SoftmaxCrossEntropyLoss": TRAINING,
    "BitCast": RARE,
    "CausalConvWithState": RARE,
    "DeformConv": RARE,
    "ImageDecoder": RARE,
    "LinearAttention": RARE,
    "SwiGLU": RARE,
    "TensorScatter": RARE,
    "StringNormalizer": TEXTS,
    "TfIdfVectorizer": TEXTS,
}


def check(tested):
    """Fail unless each operator that the onnx package defines is in `tested` or left out, and not both."""
    defined = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == "" and not schema.deprecated}
    missing = sorted(defined - set(tested) - set(LEFT_OUT))
    assert not missing, f"operators without a case or a reason in differential/coverage.py: {missing}"
    stale = sorted(set(LEFT_OUT) & set(tested)) + sorted(set(LEFT_OUT) - defined)
    assert not stale, f"operators that are left out, but have a case or do not exist: {stale}"
