"""Models that were refused, or whose responses were, because of the shapes that they declare or compute."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from regressions.graph import declared, model, numbers, weights

node = helper.make_node
INT64 = TensorProto.INT64
KINDS = {"float32": TensorProto.FLOAT, "int64": INT64}


def two_batches():
    """Queries by documents: the first axes have different names, so they are no batch."""
    nodes = [node("Transpose", ["docs"], ["t"], perm=[1, 0]), node("MatMul", ["queries", "t"], ["scores"])]
    return model(nodes, [declared("queries", ["nq", 8]), declared("docs", ["nd", 8])], [declared("scores", ["nq", "nd"])])


def wrong_rank():
    """The file declares an output of two axes and computes three."""
    return model([node("Unsqueeze", ["x", "a"], ["y"])], [declared("x", ["n", 4])], [declared("y", [1, "s"])], {"a": np.array([1])})


def wrong_columns():
    """A classifier by onnxmltools 1.8, whose file declares one column of probabilities for three classes, and one label."""
    trees = {
        "classlabels_int64s": [0, 1, 2],
        "class_ids": [0, 1, 2],
        "class_nodeids": [1, 2, 2],
        "class_treeids": [0, 0, 0],
        "class_weights": [1.0, 1.0, 0.5],
        "nodes_falsenodeids": [2, 0, 0],
        "nodes_featureids": [0, 0, 0],
        "nodes_hitrates": [1.0, 1.0, 1.0],
        "nodes_missing_value_tracks_true": [0, 0, 0],
        "nodes_modes": ["BRANCH_LT", "LEAF", "LEAF"],
        "nodes_nodeids": [0, 1, 2],
        "nodes_treeids": [0, 0, 0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0],
        "post_transform": "SOFTMAX",
    }
    nodes = [node("TreeEnsembleClassifier", ["x"], ["label", "probabilities"], domain="ai.onnx.ml", **trees)]
    outputs = [declared("label", [1], INT64), declared("probabilities", [None, 1])]
    return model(nodes, [declared("x", [None, 4])], outputs, opset=11, ml=1)


def unknown_rank(kind):
    """An output of which nobody knows the rank before it is computed."""
    y = [declared("y", None)]
    if kind == "reshape":
        return model([node("Reshape", ["x", "shape"], ["y"])], [declared("x", [2, 6]), declared("shape", ["r"], INT64)], y)
    if kind == "squeeze":
        return model([node("Squeeze", ["x"], ["y"])], [declared("x", ["n", 1, 4])], y)
    then = helper.make_graph([node("Identity", ["x"], ["t"])], "then", [], [declared("t", None)])
    other = helper.make_graph([node("Unsqueeze", ["x", "a"], ["e"])], "else", [], [declared("e", None)])
    choice = node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    return model([choice], [declared("c", [], TensorProto.BOOL), declared("x", [2, 3])], y, {"a": np.array([0])})


def axis_in_two_places():
    """`batch` is axis 0 of one input and axis 1 of the other, and the window is wider than small sizes."""
    nodes = [
        node("Unsqueeze", ["input", "one"], ["u"]),
        node("Conv", ["u", "w"], ["c"]),
        node("ReduceMean", ["c"], ["m"], axes=[2], keepdims=0),
        node("Gather", ["state", "zero"], ["h"]),
        node("Add", ["m", "h"], ["output"]),
    ]
    inputs = [declared("input", ["batch", "sequence"]), declared("state", [2, "batch", 8])]
    constants = {"w": weights(1, 8, 1, 64), "one": np.array([1]), "zero": np.array(0)}
    return model(nodes, inputs, [declared("output", ["batch", 8])], constants)


def shape_in_32_bits(operator):
    """A shape that goes through INT32, as tf2onnx and Paddle2ONNX export Flatten."""
    rest = np.array([20] if operator == "Reshape" else [4, 5], np.int32)
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Cast", ["s"], ["s32"], to=TensorProto.INT32),
        node("Slice", ["s32", "from", "to", "axes"], ["batch"]),
        node("Concat", ["batch", "rest"], ["shape32"], axis=0),
        node("Cast", ["shape32"], ["shape"], to=INT64),
        node(operator, ["x" if operator == "Reshape" else "one", "shape"], ["y"]),
    ]
    constants = {"from": np.array([0]), "to": np.array([1]), "axes": np.array([0]), "rest": rest, "one": np.ones((1, 1, 1), np.float32)}
    return model(nodes, [declared("x", ["n", 4, 5])], [declared("y", ["n", *rest.tolist()])], constants)


def pyramid(join):
    """Halved twice, doubled once, and joined with what was halved once: a detector's neck with a free size."""
    nodes = [
        node("Conv", ["x", "w1"], ["a"], strides=[2, 2], pads=[1] * 4),
        node("Conv", ["a", "w2"], ["b"], strides=[2, 2], pads=[1] * 4),
        node("Resize", ["b", "", "s"], ["u"], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        node("Concat", ["a", "u"], ["y"], axis=1) if join == "Concat" else node("Add", ["a", "u"], ["y"]),
    ]
    constants = {"w1": weights(2, 4, 3, 3, 3), "w2": weights(3, 4, 4, 3, 3), "s": np.array([1, 1, 2, 2], np.float32)}
    return model(nodes, [declared("x", [1, 3, "h", "w"])], [declared("y", None)], constants)


def branches_of_two_ranks(batch, last):
    """`squeeze(-1)` as scripting exports it: an axis is removed if its size is 1."""
    then = helper.make_graph([node("Squeeze", ["x", "last_axis"], ["t"])], "then", [], [declared("t", None)])
    other = helper.make_graph([node("Identity", ["x"], ["e"])], "else", [], [declared("e", None)])
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "last"], ["d"], axis=0),
        node("Equal", ["d", "one"], ["c"]),
        node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        node("Neg", ["y"], ["z"]),
    ]
    constants = {"last": np.array(-1), "one": np.array(1), "last_axis": np.array([-1])}
    return model(nodes, [declared("x", [batch, 8, last])], [declared("z", [batch, 8])], constants, opset=16)


def reflected():
    """A reflection that is longer than small sizes."""
    nodes = [node("Pad", ["x", "p"], ["y"], mode="reflect")]
    return model(nodes, [declared("x", [1, "n"])], [declared("y", None)], {"p": np.array([0, 0, 0, 64])})


def suppression():
    nodes = [node("NonMaxSuppression", ["boxes", "scores", "k", "iou", "least"], ["selected"])]
    inputs = [declared("boxes", [1, "n", 4]), declared("scores", [1, "c", "n"])]
    constants = {"k": np.array([10]), "iou": np.array([0.5], np.float32), "least": np.array([0.1], np.float32)}
    return model(nodes, inputs, [declared("selected", ["m", 3], INT64)], constants)


def constant_branches(kind):
    """An `If` that depends on an input, and whose branches are constants."""
    constant = lambda value: node("Constant", [], ["o"], value=numpy_helper.from_array(np.array([value, 2], kind)))
    branch = lambda name, value: helper.make_graph([constant(value)], name, [], [declared("o", [2], KINDS[kind])])
    nodes = [
        node("If", ["c"], ["chosen"], then_branch=branch("then", 5), else_branch=branch("else", 7)),
        node("Add", ["chosen", "x"], ["y"]),
    ]
    inputs = [declared("c", [], TensorProto.BOOL), declared("x", ["n", 2], KINDS[kind])]
    return model(nodes, inputs, [declared("y", ["n", 2], KINDS[kind]), declared("chosen", [2], KINDS[kind])])


SLICES = {"past": (0, 9, 1), "middle": (1, 4, 1), "last": (-4, -1, 1), "back": (3, 0, -1), "after": (5, 9, 1)}


def open_slice(name, inner):
    """A slice of an axis without a size in the file, which may be shorter, in the graph or in a branch of an `If`."""
    start, end, step = SLICES[name]
    cut = lambda output: node("Slice", ["x", "start", "end", "axis", "step"], [output])
    constants = {"start": np.array([start]), "end": np.array([end]), "axis": np.array([1]), "step": np.array([step])}
    shapes = [declared("x", [2, "n"])], [declared("y", [2, "m"])]
    if not inner:
        return model([cut("y")], *shapes, constants)
    branch = lambda name, nodes: helper.make_graph(nodes, name, [], [declared("o", [2, 1])])
    total = lambda value: node("ReduceSum", [value, "axis"], ["o"], keepdims=1)
    then, other = branch("then", [cut("s"), total("s")]), branch("else", [total("x")])
    choice = node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    return model([choice], [declared("c", [], TensorProto.BOOL), *shapes[0]], [declared("y", [2, 1])], constants)


def cases():
    yield "shapes/two_batches", two_batches(), {"queries": numbers(1, 2, 8), "docs": numbers(2, 5, 8)}, None
    x = numbers(3, 3, 4)
    yield "shapes/wrong_rank", wrong_rank(), {"x": x}, [x[:, None]]
    yield "shapes/wrong_columns", wrong_columns(), {"x": x}, None
    for shape in ([3, 4], [2, 3, 2], [12]):
        inputs = {"x": numbers(4, 2, 6), "shape": np.array(shape)}
        yield f"shapes/unknown_rank_{len(shape)}_axes", unknown_rank("reshape"), inputs, None
    x = numbers(5, 3, 1, 4)
    yield "shapes/unknown_rank_squeeze", unknown_rank("squeeze"), {"x": x}, [x[:, 0]]
    for choice in (True, False):
        inputs = {"c": np.array(choice), "x": numbers(6, 2, 3)}
        yield f"shapes/unknown_rank_if_{choice}", unknown_rank("if"), inputs, None
    for kind in KINDS:
        x = np.arange(6, dtype=kind).reshape(3, 2)
        for choice, value in ((True, 5), (False, 7)):
            chosen = np.array([value, 2], kind)
            name = f"shapes/constant_branches_{kind}_{choice}"
            yield name, constant_branches(kind), {"c": np.array(choice), "x": x}, [x + chosen, chosen]
    for name, (start, end, step) in SLICES.items():
        for size in (2, 3, 4, 12):
            x = numbers(size, 2, size)
            cut = x[:, start:end:step]
            yield f"shapes/open_slice_{name}_{size}", open_slice(name, False), {"x": x}, [cut]
            inputs, right = {"c": np.array(True), "x": x}, [cut.sum(1, keepdims=True)]
            yield f"shapes/open_slice_in_branch_{name}_{size}", open_slice(name, True), inputs, right
    inputs = {"input": numbers(7, 2, 512), "state": numbers(8, 2, 2, 8)}
    yield "shapes/axis_in_two_places", axis_in_two_places(), inputs, None
    for operator in ("Reshape", "Expand"):
        yield f"shapes/shape_in_32_bits_{operator}", shape_in_32_bits(operator), {"x": numbers(9, 3, 4, 5)}, None
    for join in ("Concat", "Add"):
        for size in ((32, 48), (8, 4)):
            yield f"shapes/pyramid_{join}_{size[0]}", pyramid(join), {"x": numbers(10, 1, 3, *size)}, None
    x = numbers(11, 2, 8, 1)
    yield "shapes/branches_of_two_ranks", branches_of_two_ranks("batch", "n"), {"x": x}, [-x[:, :, 0]]
    yield "shapes/branches_of_two_ranks_fixed", branches_of_two_ranks(1, 1), {"x": x[:1]}, [-x[:1, :, 0]]
    x = numbers(12, 1, 100)
    yield "shapes/reflected", reflected(), {"x": x}, [np.pad(x, ((0, 0), (0, 64)), mode="reflect")]
    boxes = np.array([[[0, 0, 10, 10], [0, 1, 10, 11], [20, 20, 30, 30], [0, 0, 1, 1]]], np.float32)
    scores = np.array([[[0.9, 0.8, 0.7, 0.05]]], np.float32)
    right = [np.array([[0, 0, 0], [0, 0, 2]])]
    yield "shapes/suppression", suppression(), {"boxes": boxes, "scores": scores}, right
    x = np.array([[0, 1, 0, 2], [3, 0, 0, 0]], np.float32)
    found = model([node("NonZero", ["x"], ["i"])], [declared("x", ["n", 4])], [declared("i", [2, "m"], INT64)])
    yield "shapes/nonzero", found, {"x": x}, [np.array(np.nonzero(x))]


def refused():
    """Models that no backend can compute."""
    nodes = [
        node("Concat", ["a", "b"], ["ab"], axis=1),
        node("OneHotEncoder", ["s"], ["o"], domain="ai.onnx.ml", cats_int64s=[1, 2, 3], zeros=1),
        node("Reshape", ["o", "r"], ["o2"]),
        node("Concat", ["ab", "o2"], ["y"], axis=1),
    ]
    inputs = [declared("a", [None, 1]), declared("b", [None, 1]), declared("s", [None, 1], TensorProto.STRING)]
    yield "hidden_reason", model(nodes, inputs, [declared("y", [None, 5])], {"r": np.array([-1, 3])}, opset=11, ml=1)
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    yield "sequence", model([node("SplitToSequence", ["x"], ["s"], axis=0, keepdims=1)], [declared("x", [4, 2])], [sequence])
