"""Models whose values were wrong, or whose computation took hundreds of times as long as it should."""

import numpy as np
from onnx import TensorProto, helper
from regressions.graph import declared, model, numbers, weights

node = helper.make_node


def dependent_rows(kind):
    """Frames of one clip: axis 0 is the time, and each row depends on others. A background is subtracted, rows are
    shifted by five, so that the first four do not depend on each other, or all are summed up."""
    constants = {"w0": weights(0, 8, 3, 3, 3)}
    if kind == "mean":
        nodes = [node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1), node("Sub", ["x", "m"], ["d"])]
    if kind == "shift":
        constants.update(pads=np.array([5, 0, 0, 0, 0, 0, 0, 0]), begin=np.array([0]), end=np.array([-5]), axis=np.array([0]))
        nodes = [node("Pad", ["x", "pads"], ["p"]), node("Slice", ["p", "begin", "end", "axis"], ["s"]), node("Add", ["x", "s"], ["d"])]
    if kind == "sums":
        constants["axis"] = np.array(0)
        nodes = [node("CumSum", ["x", "axis"], ["d"])]
    nodes.append(node("Conv", ["d", "w0"], ["c0"], pads=[1] * 4))
    for layer in range(3):
        constants[f"w{layer + 1}"] = weights(layer + 1, 8, 8, 3, 3)
        nodes.append(node("Relu", [f"c{layer}"], [f"r{layer}"]))
        nodes.append(node("Conv", [f"r{layer}", f"w{layer + 1}"], [f"c{layer + 1}"], pads=[1] * 4))
    nodes.append(node("GlobalAveragePool", ["c3"], ["y"]))
    return model(nodes, [declared("x", ["t", 3, 16, 16])], [declared("y", ["t", 8, 1, 1])], constants)


def half(kind):
    """The layers of a model that was converted to FP16."""
    kinds = {"conv": [1, 8, 10, 10], "matmul": [1, 8, 64], "gemm": [1, 64], "gemm_relu": [1, 64], "gemm_transposed": [1, 64]}
    shape = kinds[kind]
    bias = np.linspace(-1, 1, 32).astype(np.float16)
    if kind == "conv":
        nodes = [node("Conv", ["x", "w", "b"], ["y"], pads=[1] * 4)]
        constants = {"w": weights(1, 32, 8, 3, 3).astype(np.float16), "b": bias}
    elif kind == "matmul":
        nodes, constants = [node("MatMul", ["x", "w"], ["y"])], {"w": (weights(2, 64, 32) / 2).astype(np.float16)}
    else:
        transposed = kind == "gemm_transposed"
        matrix = weights(3, 32, 64) if transposed else weights(3, 32, 64).T.copy()
        constants = {"w": matrix.astype(np.float16), "b": bias}
        nodes = [node("Gemm", ["x", "w", "b"], ["g" if kind == "gemm_relu" else "y"], transB=int(transposed))]
        if kind == "gemm_relu":
            nodes.append(node("Relu", ["g"], ["y"]))
    return model(nodes, [declared("x", shape, TensorProto.FLOAT16)], [declared("y", None, TensorProto.FLOAT16)], constants), numbers(4, *shape).astype(np.float16)


def branches_that_compute():
    """A convolution in each branch of an `If`."""
    sizes = [1, 16, 12, 12]
    then = helper.make_graph([node("Conv", ["x", "w"], ["t"], pads=[1] * 4)], "then", [], [declared("t", sizes)])
    nodes = [node("Conv", ["x", "w"], ["e"], pads=[1] * 4), node("Neg", ["e"], ["n"])]
    other = helper.make_graph(nodes, "else", [], [declared("n", sizes)])
    choice = node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    inputs = [declared("x", sizes), declared("c", [], TensorProto.BOOL)]
    return model([choice], inputs, [declared("y", sizes)], {"w": weights(5, 16, 16, 3, 3)}, opset=16)


def clipped_nan():
    """A NaN passes through Clip and is found by IsNaN behind it."""
    nodes = [node("Clip", ["x", "low", "high"], ["c"]), node("IsNaN", ["c"], ["n"]), node("Where", ["n", "zero", "c"], ["y"])]
    constants = {key: np.array(value, np.float32) for key, value in (("low", -10), ("high", 10), ("zero", 0))}
    return model(nodes, [declared("x", ["n"])], [declared("y", ["n"])], constants)


def inner_nan(kind):
    """NaN arises from numbers, and passes through an operator behind it."""
    constants = {key: np.array(value, np.float32) for key, value in (("low", -1), ("high", 1), ("half", 0.5))}
    sources = {
        "Log": [node("Log", ["x"], ["a"])],
        "Sqrt": [node("Sqrt", ["x"], ["a"])],
        "Acos": [node("Acos", ["x"], ["a"])],
        "Div": [node("Div", ["x", "x"], ["a"])],
        "Pow": [node("Pow", ["x", "half"], ["a"])],
    }
    source, hiding = kind.split("_")
    nodes = {
        "Relu": [node("Relu", ["a"], ["y"])],
        "Clip": [node("Clip", ["a", "low", "high"], ["y"])],
        "Sign": [node("Sign", ["a"], ["y"])],
        "Add": [node("Add", ["a", "high"], ["b"]), node("Relu", ["b"], ["y"])],
    }[hiding]
    return model([*sources[source], *nodes], [declared("x", ["n"])], [declared("y", ["n"])], constants)


def cases():
    x = np.array([-2, -0.5, 0, 0.5, 3], np.float32)
    for kind in ("Log_Relu", "Sqrt_Relu", "Div_Relu", "Pow_Relu", "Acos_Clip", "Log_Clip", "Sqrt_Sign", "Div_Add"):
        yield f"values/inner_nan_{kind}", inner_nan(kind), {"x": x}, None
    for kind in ("mean", "shift", "sums"):
        yield f"values/dependent_rows_{kind}", dependent_rows(kind), {"x": numbers(6, 8, 3, 16, 16)}, None
    for kind in ("conv", "matmul", "gemm", "gemm_relu", "gemm_transposed"):
        built, x = half(kind)
        yield f"values/half_{kind}", built, {"x": x}, None
    for choice in (True, False):
        inputs = {"x": numbers(7, 1, 16, 12, 12), "c": np.array(choice)}
        yield f"values/branches_that_compute_{choice}", branches_that_compute(), inputs, None
    for axis in (1, 2):
        x = numbers(8, 1, 16, 4, 84) * 5
        soft = node("Softmax", ["x"], ["y"], axis=axis)
        powers = np.exp(x - x.max(axis=axis, keepdims=True))
        right = [powers / powers.sum(axis=axis, keepdims=True)]
        yield f"values/softmax_{axis}", model([soft], [declared("x", x.shape)], [declared("y", x.shape)]), {"x": x}, right
    x = np.array([np.nan, -20, 20, np.inf, -np.inf, 3], np.float32)
    yield "values/clipped_nan", clipped_nan(), {"x": x}, [np.array([0, -10, 10, 10, -10, 3], np.float32)]
    inputs = [declared("INPUT0", [-1, 16], TensorProto.UINT8), declared("INPUT1", [-1, 16], TensorProto.UINT8)]
    for declaration in inputs:
        declaration.type.tensor_type.shape.dim[0].Clear()
    outputs = [declared("OUTPUT0", ["n", 16], TensorProto.UINT8), declared("OUTPUT1", ["n", 16], TensorProto.UINT8)]
    nodes = [node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]), node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"])]
    first, second = np.full((2, 16), 200, np.uint8), np.arange(32, dtype=np.uint8).reshape(2, 16) + np.uint8(90)
    right = [first + second, first - second]
    yield "values/bytes_that_overflow", model(nodes, inputs, outputs, opset=14), {"INPUT0": first, "INPUT1": second}, right
    constants = {"half": np.array([2, 3, 4], np.int64)}
    x = np.array([3e9, -3e9, 2.0**53], np.float32)
    nodes = [node("Cast", ["x"], ["c"], to=TensorProto.INT64), node("Mul", ["c", "half"], ["y"])]
    right = [x.astype(np.int64) * constants["half"]]
    outputs = [declared("y", [3], TensorProto.INT64)]
    yield "values/integers_beyond_32_bits", model(nodes, [declared("x", [3])], outputs, constants), {"x": x}, right
