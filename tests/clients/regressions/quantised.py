"""Models of 8 bits."""

import numpy as np
from onnx import TensorProto, helper
from regressions.graph import declared, model, numbers

node = helper.make_node


def quantised(x, scale, zero, low, high):
    return np.clip(np.rint(x / np.float32(scale)) + zero, low, high)


def attention(operator, back, given):
    """DequantizeLinear, a softmax and QuantizeLinear in a row, as in every statically quantised transformer."""
    nodes, first = [], "x"
    if not given:
        nodes, first = [node("QuantizeLinear", ["x", "s1", "z1"], ["q1"])], "q1"
    nodes += [
        node("DequantizeLinear", [first, "s1", "z1"], ["d1"]),
        node(operator, ["d1"], ["p"], axis=-1),
        node("QuantizeLinear", ["p", "s2", "z2"], ["q2"]),
    ]
    if back:
        nodes.append(node("DequantizeLinear", ["q2", "s2", "z2"], ["y"]))
    scale, zero = (0.0039, 0) if operator == "Softmax" else (0.05, 255)
    constants = {
        "s1": np.array(0.208, np.float32),
        "z1": np.array(114, np.uint8),
        "s2": np.array(scale, np.float32),
        "z2": np.array(zero, np.uint8),
    }
    inputs = [declared("x", [1, 4, 8], TensorProto.UINT8 if given else TensorProto.FLOAT)]
    outputs = [declared("y" if back else "q2", None, TensorProto.FLOAT if back else TensorProto.UINT8)]
    return model(nodes, inputs, outputs, constants, opset=18)


def softmaxed(operator, back, quantised_input):
    """The right result in NumPy: onnxruntime's fused softmax of bytes is off by a step in some places."""
    numbers = (quantised_input.astype(np.float32) - 114) * np.float32(0.208)
    numbers = numbers - numbers.max(axis=-1, keepdims=True)
    sums = np.exp(numbers).sum(axis=-1, keepdims=True)
    result = np.exp(numbers) / sums if operator == "Softmax" else numbers - np.log(sums)
    scale, zero = (0.0039, 0) if operator == "Softmax" else (0.05, 255)
    result = quantised(result, scale, zero, 0, 255)
    if back:
        return ((result - zero) * np.float32(scale)).astype(np.float32)
    return result.astype(np.uint8)


def product(transposed, bias, bytes_out):
    """onnxruntime's product of quantised matrices, with weights of signed bytes and a scale for each column."""
    random = np.random.default_rng(5)
    rows, inner, columns = 3, 6, 4
    weights = random.integers(-60, 60, (inner, columns)).astype(np.int8)
    constants = {
        "a_scale": np.array(0.02, np.float32),
        "a_zero": np.array(120, np.uint8),
        "b": weights.T.copy() if transposed else weights,
        "b_scale": np.array([0.01, 0.02, 0.03, 0.015], np.float32),
        "b_zero": np.array([1, -2, 3, 0], np.int8),
    }
    if bias:
        constants["c"] = random.integers(-500, 500, columns).astype(np.int32)
    names = [*constants]
    if bytes_out:
        names += [] if bias else [""]
        names += ["y_scale", "y_zero"]
        constants.update(y_scale=np.array(0.05, np.float32), y_zero=np.array(100, np.uint8))
    gemm = node("QGemm", ["a", *names], ["y"], domain="com.microsoft", alpha=0.5, transB=int(transposed))
    output = declared("y", ["n", columns], TensorProto.UINT8 if bytes_out else TensorProto.FLOAT)
    built = model([gemm], [declared("a", ["n", inner], TensorProto.UINT8)], [output], constants)
    built.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return built, {"a": random.integers(0, 255, (rows, inner)).astype(np.uint8)}


def recurrent(direction, unsigned, per_gate, size=32):
    """An LSTM as onnxruntime's `quantize_dynamic` writes it. Weights of 7 bits do not saturate on any processor."""
    random = np.random.default_rng(7)
    directions = 2 if direction == "bidirectional" else 1
    kind, offset = (np.uint8, 128) if unsigned else (np.int8, 0)
    shape = (directions, 4 * size) if per_gate else (directions,)
    constants = {"b": (random.normal(size=(directions, 8 * size)) / 5).astype(np.float32)}
    for name, rows in (("w", 16), ("r", size)):
        constants[name] = (random.integers(-64, 65, (directions, rows, 4 * size)) + offset).astype(kind)
        constants[f"{name}s"] = random.uniform(0.002, 0.008, shape).astype(np.float32)
        constants[f"{name}z"] = np.full(shape, offset, kind)
    names = ["x", "w", "r", "b", "", "h", "c", "", "ws", "wz", "rs", "rz"]
    outputs = ["y", "last_h", "last_c"]
    nodes = [node("DynamicQuantizeLSTM", names, outputs, domain="com.microsoft", hidden_size=size, direction=direction)]
    state = [directions, 1, size]
    inputs = [declared("x", ["steps", 1, 16]), declared("h", state), declared("c", state)]
    shapes = [["steps", directions, 1, size], state, state]
    graph = model(nodes, inputs, [declared(*output) for output in zip(outputs, shapes)], constants, opset=17)
    graph.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return graph, {"x": numbers(3, 20, 1, 16), "h": numbers(4, *state) / 4, "c": numbers(5, *state) / 4}


def cases():
    for transposed in (False, True):
        for bias in (False, True):
            for bytes_out in (False, True):
                parts = ["transposed"] * transposed + ["bias"] * bias + ["bytes" if bytes_out else "floats"]
                yield f"quantised/QGemm_{'_'.join(parts)}", *product(transposed, bias, bytes_out), None
    for direction, unsigned, per_gate in (("forward", True, False), ("reverse", False, False), ("bidirectional", False, True)):
        yield f"quantised/lstm_{direction}", *recurrent(direction, unsigned, per_gate), None
    for operator in ("Softmax", "LogSoftmax"):
        for back, given in ((True, False), (False, False), (False, True)):
            x = numbers(1, 1, 4, 8) * 3
            inner = quantised(x, 0.208, 114, 0, 255).astype(np.uint8)
            x = inner if given else x
            name = f"quantised/{operator}_{'back' if back else 'bytes'}_{'given' if given else 'made'}"
            yield name, attention(operator, back, given), {"x": x}, [softmaxed(operator, back, inner)]
    nodes = [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    dynamic = model(nodes, [declared("x", ["n", 4])], [declared("y", ["n", 4])])
    yield "quantised/dynamic_and_back", dynamic, {"x": numbers(2, 3, 4)}, None
    nodes = [node("DequantizeLinear", ["x", "s", "z1"], ["d"]), node("QuantizeLinear", ["d", "s", "z2"], ["y"])]
    constants = {"s": np.array(0.1, np.float32), "z1": np.array(128, np.uint8), "z2": np.array(0, np.int8)}
    again = model(nodes, [declared("x", [1, 4], TensorProto.UINT8)], [declared("y", [1, 4], TensorProto.INT8)], constants)
    x = np.array([[0, 1, 128, 255]], np.uint8)
    yield "quantised/bytes_of_another_sign", again, {"x": x}, [(x.astype(np.int16) - 128).astype(np.int8)]
