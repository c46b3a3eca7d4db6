"""Models of a single operator, or two, for what no trained model asks of it: every mode, transform and odd table.

Numbers are seeded, on a grid of halves where equality matters, so that thresholds are met exactly.
"""

import itertools

import numpy as np
from onnx import TensorProto, helper, numpy_helper

TRANSFORMS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
ELEMENTS = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.float64): TensorProto.DOUBLE,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(object): TensorProto.STRING,
}


def model(name, operator, inputs, outputs=1, *, ml=3, opset=17, domain="ai.onnx.ml", constants=(), **attributes):
    """A model of one node; `outputs` are so many, or the element types of them."""
    attributes = {key: value for key, value in attributes.items() if value is not None}
    types = [TensorProto.FLOAT] * outputs if isinstance(outputs, int) else outputs
    names = [f"y{position}" for position in range(len(types))]
    node = helper.make_node(operator, [*inputs, *(tensor.name for tensor in constants)], names, domain=domain, **attributes)
    declared = [
        helper.make_tensor_value_info(key, ELEMENTS[rows.dtype], [None, *rows.shape[1:]]) for key, rows in inputs.items()
    ]
    results = [helper.make_tensor_value_info(key, kind, None) for key, kind in zip(names, types)]
    graph = helper.make_graph([node], "one", declared, results, initializer=list(constants))
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)]
    ir_version = 8 if ml < 5 else 10
    return name, helper.make_model(graph, opset_imports=imports, ir_version=ir_version), [inputs]


def halves(random, shape, kind=np.float32):
    return (random.integers(-6, 7, shape) / 2).astype(kind)


class Trees:
    """Complete trees of depth 3 over four features."""

    def __init__(self, seed, modes=("BRANCH_LEQ",), trees=5, missing=False):
        random = np.random.default_rng(seed)
        self.random = random
        self.nodes = []
        for tree in range(trees):
            for number in range(15):
                leaf = number >= 7
                self.nodes.append(
                    dict(
                        treeids=tree,
                        nodeids=number,
                        featureids=0 if leaf else int(random.integers(4)),
                        values=0.0 if leaf else float(halves(random, ())),
                        modes="LEAF" if leaf else str(random.choice(modes)),
                        truenodeids=0 if leaf else 2 * number + 1,
                        falsenodeids=0 if leaf else 2 * number + 2,
                        missing_value_tracks_true=int(missing and not leaf and random.integers(2)),
                    )
                )

    def attributes(self, prefix, columns, weight, double=False):
        """The node's attributes; each leaf has a weight, made by `weight`, for each of these columns."""
        lists = {f"nodes_{key}": [node[key] for node in self.nodes] for key in self.nodes[0]}
        leaves = [node for node in self.nodes if node["modes"] == "LEAF" for _ in columns]
        lists[f"{prefix}_treeids"] = [leaf["treeids"] for leaf in leaves]
        lists[f"{prefix}_nodeids"] = [leaf["nodeids"] for leaf in leaves]
        lists[f"{prefix}_ids"] = list(columns) * (len(leaves) // len(columns))
        lists[f"{prefix}_weights"] = [float(weight()) for _ in leaves]
        if double:
            for key in ("nodes_values", f"{prefix}_weights"):
                lists[f"{key}_as_tensor"] = numpy_helper.from_array(np.array(lists.pop(key), np.float64), key)
        return lists


def classifiers():
    random = np.random.default_rng(1)
    rows = {"x": halves(random, (17, 4))}
    number = 0
    for columns, signed, base in itertools.product([(0,), (1,), (0, 1)], [False, True], [0, 1, 2]):
        for transform in TRANSFORMS:
            if transform == "PROBIT" and columns == (0,) and base < 2:
                continue  # tract refuses it: onnxruntime leaves the second score as it finds it.
            number += 1
            trees = Trees(number)
            low = -0.3 if signed else 0.0
            lists = trees.attributes("class", columns, lambda: trees.random.uniform(low, 0.2))
            bases = [0.15, -0.1][:base] or None
            name = f"trees of two classes {columns} {'signed' if signed else 'positive'} {base} {transform}"
            kinds = [TensorProto.INT64, TensorProto.FLOAT]
            labels = dict(classlabels_int64s=[3, 13])
            if number % 3 == 0:
                kinds[0], labels = TensorProto.STRING, dict(classlabels_strings=["no", "yes"])
            yield model(name, "TreeEnsembleClassifier", rows, kinds, post_transform=transform, base_values=bases, **labels, **lists)
    for columns, base, transform in itertools.product([(0, 2), (0, 1, 2)], [0, 3], TRANSFORMS):
        number += 1
        trees = Trees(number)
        lists = trees.attributes("class", columns, lambda: trees.random.uniform(-0.3, 0.3))
        yield model(
            f"trees of three classes {columns} {base} {transform}",
            "TreeEnsembleClassifier",
            rows,
            [TensorProto.STRING, TensorProto.FLOAT],
            post_transform=transform,
            base_values=[0.1, 0.2, -0.3][:base] or None,
            classlabels_strings=["a", "b", "c"],
            **lists,
        )
    # Weights on a grid make scores that are equal.
    trees = Trees(70, trees=2)
    lists = trees.attributes("class", (0, 1, 2), lambda: trees.random.integers(2))
    kinds = [TensorProto.INT64, TensorProto.FLOAT]
    yield model("trees that tie", "TreeEnsembleClassifier", rows, kinds, classlabels_int64s=[5, 1, 3], **lists)
    trees = Trees(71)
    lists = trees.attributes("class", (0,), lambda: trees.random.uniform(-1, 1))
    yield model("trees of one class", "TreeEnsembleClassifier", rows, kinds, classlabels_int64s=[7], **lists)


def regressors():
    random = np.random.default_rng(2)
    rows = {"x": halves(random, (17, 4))}
    number = 100
    for columns, aggregate, base in itertools.product([(0,), (0, 1), (1,)], ["SUM", "AVERAGE", "MIN", "MAX"], [False, True]):
        targets = 1 if columns == (0,) else 2
        number += 1
        trees = Trees(number)
        lists = trees.attributes("target", columns, lambda: trees.random.uniform(-1, 1))
        bases = [0.25, -0.5][:targets] if base else None
        name = f"trees to {columns} {aggregate} {'with' if base else 'without'} base"
        yield model(name, "TreeEnsembleRegressor", rows, n_targets=targets, aggregate_function=aggregate, base_values=bases, **lists)
    for targets, transform in itertools.product([1, 2], TRANSFORMS):
        number += 1
        trees = Trees(number)
        lists = trees.attributes("target", range(targets), lambda: trees.random.uniform(0, 0.2))
        yield model(f"trees to {targets} {transform}", "TreeEnsembleRegressor", rows, n_targets=targets, post_transform=transform, **lists)
    gaps = rows["x"].copy()
    gaps[random.random(gaps.shape) < 0.2] = np.nan
    for modes, missing in itertools.product([*([mode] for mode in MODES), MODES], [False, True]):
        number += 1
        trees = Trees(number, modes, missing=missing)
        lists = trees.attributes("target", (0,), lambda: trees.random.uniform(-1, 1))
        name = f"trees by {'any mode' if len(modes) > 1 else modes[0]} {'with' if missing else 'without'} tracks"
        yield model(name, "TreeEnsembleRegressor", {"x": gaps}, n_targets=1, **lists)
    for kind, double in [(np.float64, False), (np.float64, True), (np.int64, False)]:
        trees = Trees(number)
        lists = trees.attributes("target", (0,), lambda: trees.random.uniform(-1, 1), double)
        inputs = {"x": halves(random, (17, 4), kind) + np.array(1e-12, kind)}
        if kind == np.int64:
            lists = trees.attributes("class", (0, 1), lambda: trees.random.uniform(-1, 1))
            kinds = [TensorProto.INT64, TensorProto.FLOAT]
            yield model("trees of integers", "TreeEnsembleClassifier", inputs, kinds, classlabels_int64s=[0, 1], **lists)
        else:
            name = f"trees of doubles {'in doubles' if double else 'in floats'}"
            yield model(name, "TreeEnsembleRegressor", inputs, n_targets=1, **lists)


def ensembles():
    """The form of version 5: two trees, one of which is a single split."""
    random = np.random.default_rng(3)
    for kind, aggregate in itertools.product([np.float32, np.float64], [0, 1, 2, 3]):
        yield model(
            f"ensemble {np.dtype(kind).name} {aggregate}",
            "TreeEnsemble",
            {"x": halves(random, (9, 3), kind)},
            [ELEMENTS[np.dtype(kind)]],
            ml=5,
            opset=21,
            n_targets=2,
            aggregate_function=aggregate,
            tree_roots=[0, 2],
            nodes_featureids=[0, 1, 2],
            nodes_splits=numpy_helper.from_array(np.array([0.5, -0.5, 1.0], kind)),
            nodes_modes=numpy_helper.from_array(np.array([0, 3, 1], np.uint8)),
            nodes_truenodeids=[1, 0, 3],
            nodes_trueleafs=[0, 1, 1],
            nodes_falsenodeids=[1, 2, 4],
            nodes_falseleafs=[1, 1, 1],
            leaf_targetids=[0, 1, 0, 1, 1],
            leaf_weights=numpy_helper.from_array(np.array([1.5, 2.5, -3.25, 4.0, -1.0], kind)),
        )


def linear():
    random = np.random.default_rng(4)
    rows = {"x": random.normal(0, 1, (9, 5)).astype(np.float32)}
    for scores, transform in itertools.product([1, 2, 3], TRANSFORMS):
        if (scores, transform) == (1, "PROBIT"):
            continue  # The second score is left open.
        names = ["no", "maybe", "yes"][: max(scores, 2)]
        yield model(
            f"linear classifier {scores} {transform}",
            "LinearClassifier",
            rows,
            [TensorProto.STRING, TensorProto.FLOAT],
            coefficients=random.normal(0, 0.3, 5 * scores).tolist(),
            intercepts=random.normal(0, 0.3, scores).tolist(),
            classlabels_strings=names,
            post_transform=transform,
            multi_class=1,
        )
    for targets, transform in itertools.product([1, 2], TRANSFORMS):
        coefficients = random.normal(0, 0.2, 5 * targets).tolist()
        name = f"linear regressor {targets} {transform}"
        yield model(name, "LinearRegressor", rows, coefficients=coefficients, intercepts=[0.5] * targets, targets=targets, post_transform=transform)
    integers = {"x": random.integers(-4, 5, (9, 5))}
    yield model("linear classifier of integers", "LinearClassifier", integers, [TensorProto.INT64, TensorProto.FLOAT], coefficients=random.normal(0, 1, 15).tolist(), intercepts=[0.0, 0.1, 0.2], classlabels_ints=[2, 4, 6])


def machines():
    random = np.random.default_rng(5)
    rows = {"x": random.normal(0, 1, (9, 4)).astype(np.float32)}
    kinds = [TensorProto.INT64, TensorProto.FLOAT]
    for classes, transform, platt in itertools.product([2, 3, 4], TRANSFORMS, [False, True]):
        if classes == 2 and transform == "PROBIT" and not platt:
            continue  # The second score is left open.
        vectors = [3, 2, 4, 1][:classes]
        pairs = classes * (classes - 1) // 2
        yield model(
            f"machine of {classes} {transform} {'with' if platt else 'without'} probabilities",
            "SVMClassifier",
            rows,
            kinds,
            kernel_type="RBF",
            kernel_params=[0.4, 0.0, 3.0],
            vectors_per_class=vectors,
            support_vectors=random.normal(0, 1, 4 * sum(vectors)).tolist(),
            coefficients=random.normal(0, 1, (classes - 1) * sum(vectors)).tolist(),
            rho=random.normal(0, 0.2, pairs).tolist(),
            prob_a=random.normal(-1, 0.2, pairs).tolist() if platt else None,
            prob_b=random.normal(0, 0.2, pairs).tolist() if platt else None,
            classlabels_ints=[4, 2, 9, 7][:classes],
            post_transform=transform,
        )
    for classes, low in itertools.product([2, 3], [-1, 0]):
        coefficients = random.uniform(low, 1, 4 * classes).tolist()
        name = f"machine without vectors {classes} {'signed' if low else 'positive'}"
        yield model(name, "SVMClassifier", rows, kinds, kernel_type="LINEAR", kernel_params=[0.0, 0.0, 0.0], coefficients=coefficients, rho=[0.1], classlabels_ints=[5, 6, 7][:classes])
    for kernel, vectors, one_class in itertools.product(["LINEAR", "POLY", "RBF", "SIGMOID"], [0, 5], [0, 1]):
        yield model(
            f"machine to a number {kernel} {vectors} {one_class}",
            "SVMRegressor",
            rows,
            kernel_type=kernel,
            kernel_params=[0.3, 0.5, 3.0],
            n_supports=vectors,
            support_vectors=random.normal(0, 1, 4 * vectors).tolist() or None,
            coefficients=random.normal(0, 1, vectors or 4).tolist(),
            rho=[0.2],
            one_class=one_class,
        )


def encoders():
    random = np.random.default_rng(6)
    floats = {"x": halves(random, (7, 3))}
    floats["x"][0, 0] = np.nan
    integers = {"x": random.integers(-2, 4, (7, 3))}
    words = {"x": random.choice(["a", "b", "c", "\u00e4", ""], (7, 3)).astype(object)}
    keys = {
        "ints": (integers, dict(keys_int64s=[1, 2, 1, -2])),
        "floats": (floats, dict(keys_floats=[0.5, -0.0, 0.5, float("nan")])),
        "strings": (words, dict(keys_strings=["a", "\u00e4", "a", ""])),
    }
    values = {
        "ints": (TensorProto.INT64, dict(values_int64s=[10, 20, 30, 40], default_int64=-7)),
        "floats": (TensorProto.FLOAT, dict(values_floats=[0.5, 1.5, 2.5, 3.5], default_float=9.0)),
        "strings": (TensorProto.STRING, dict(values_strings=["p", "q", "r", "s"], default_string="none")),
    }
    for (key, (rows, has)), (value, (kind, gives)), ml in itertools.product(keys.items(), values.items(), [2, 4]):
        if (key, value) in {("floats", "ints"), ("ints", "ints")} and ml == 2:
            continue  # Not in onnxruntime.
        yield model(f"labels {key} to {value} {ml}", "LabelEncoder", rows, [kind], ml=ml, **has, **gives)
    tensors = dict(keys_tensor=numpy_helper.from_array(np.array([1.5, np.nan, 2.0])), values_tensor=numpy_helper.from_array(np.array([1.0, 2.0, 3.0])), default_tensor=numpy_helper.from_array(np.array([-5.0])))
    yield model("labels in tensors", "LabelEncoder", {"x": floats["x"].astype(np.float64)}, [TensorProto.DOUBLE], ml=4, **tensors)
    finite = {"x": halves(random, (7, 3))}
    yield model("one hot of integers", "OneHotEncoder", integers, cats_int64s=[0, 1, 3, 1])
    yield model("one hot of floats", "OneHotEncoder", finite, cats_int64s=[0, 1, -2])
    yield model("one hot of words", "OneHotEncoder", words, cats_strings=["c", "", "a"])
    yield model("one hot of a column", "OneHotEncoder", {"x": integers["x"][:, 0]}, cats_int64s=[-2, -1, 0, 1, 2, 3], zeros=0)


def elementwise():
    random = np.random.default_rng(7)
    for kind in (np.float32, np.float64, np.int64):
        rows = {"x": halves(random, (6, 3), kind)}
        rows["x"][2] = 0
        name = np.dtype(kind).name
        yield model(f"scaler {name}", "Scaler", rows, offset=[0.5, -1.0, 0.1], scale=[2.0, 0.3, 1.0])
        yield model(f"scaler by one {name}", "Scaler", rows, offset=[0.5], scale=[0.3])
        for norm in ("MAX", "L1", "L2"):
            yield model(f"normalizer {norm} {name}", "Normalizer", rows, norm=norm)
    rows = {"x": halves(random, (6, 3))}
    rows["x"][1, 1] = np.nan
    yield model("imputer of gaps", "Imputer", rows, imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan"))
    yield model("imputer of a number", "Imputer", rows, imputed_value_floats=[7.0], replaced_value_float=0.5)
    integers = {"x": random.integers(0, 3, (6, 3))}
    yield model("imputer of integers", "Imputer", integers, [TensorProto.INT64], imputed_value_int64s=[7, 8, 9], replaced_value_int64=0)
    yield model("binarizer", "Binarizer", {"x": halves(random, (6, 3))}, threshold=0.5)
    pair = {"a": halves(random, (6, 3)), "b": halves(random, (6, 2))}
    yield model("vectorizer", "FeatureVectorizer", pair, inputdimensions=[3, 2])
    chosen = numpy_helper.from_array(np.array([2, 0, 2], np.int64), "chosen")
    yield model("extractor", "ArrayFeatureExtractor", {"x": halves(random, (6, 3))}, constants=[chosen])
    words = random.choice(["x", "y", "z"], (6, 3)).astype(object)
    yield model("extractor of words", "ArrayFeatureExtractor", {"x": words}, [TensorProto.STRING], constants=[chosen])


def sums():
    random = np.random.default_rng(8)
    for scale in (1, 1000):
        rows = {"x": (random.normal(0, scale, (6, 3, 4))).astype(np.float32)}
        rows["x"][0, 0] = -np.inf
        rows["x"][1, 1, 1] = np.inf
        for axes, keep in itertools.product([[1], [-1], [0, 2], None], [0, 1]):
            name = f"log sum exp {scale} {axes} {keep}"
            yield model(name, "ReduceLogSumExp", rows, domain="", axes=axes, keepdims=keep)
            constants = [] if axes is None else [numpy_helper.from_array(np.array(axes, np.int64), "axes")]
            yield model(f"{name} newer", "ReduceLogSumExp", rows, domain="", opset=18, keepdims=keep, constants=constants)


def normalised():
    """Batch normalisation behind what it can be put into."""
    random = np.random.default_rng(9)
    images = {"x": random.normal(0, 1, (2, 3, 6, 6)).astype(np.float32)}
    rows = {"x": random.normal(0, 1, (5, 3)).astype(np.float32)}
    for operator, inputs, shape, attributes in [
        ("Conv", images, (4, 3, 3, 3), {}),
        ("Conv", images, (6, 1, 2, 2), {"group": 3, "strides": [2, 2]}),
        ("Gemm", rows, (3, 4), {}),
        ("Gemm", rows, (4, 3), {"transB": 1}),
    ]:
        channels = shape[-1] if operator == "Gemm" and not attributes else shape[0]
        for biased in (False, True):
            tensors = {
                "weights": random.normal(0, 1, shape),
                "bias": random.normal(0, 1, channels),
                "scale": random.uniform(0.5, 2, channels),
                "shift": random.normal(0, 1, channels),
                "mean": random.normal(0, 1, channels),
                "variance": random.uniform(0.1, 2, channels),
            }
            constants = [numpy_helper.from_array(value.astype(np.float32), key) for key, value in tensors.items()]
            nodes = [
                helper.make_node(operator, ["x", "weights"] + ["bias"] * biased, ["product"], **attributes),
                helper.make_node("BatchNormalization", ["product", "scale", "shift", "mean", "variance"], ["sum"], epsilon=1e-3),
                helper.make_node("Relu", ["sum"], ["y"]),
            ]
            declared = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, *inputs["x"].shape[1:]])]
            result = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
            graph = helper.make_graph(nodes, "three", declared, result, initializer=constants)
            converted = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
            yield f"normalised {operator} {shape} {'with' if biased else 'without'} bias", converted, [inputs]


def operators():
    for kind in (classifiers, regressors, ensembles, linear, machines, encoders, elementwise, sums, normalised):
        yield from kind()
