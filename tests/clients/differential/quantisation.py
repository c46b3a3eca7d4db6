"""Quantisation, products of quantised numbers, and operators between a dequantisation and a quantisation, which an
engine may replace by a table only if they are elementwise."""

import numpy as np
from differential.case import Case, narrow, one_node, wide
from differential.normalisation import log_softmax, softmax
from differential.values import finite, name, ordinary
from onnx import helper

BYTES = (np.uint8, np.int8)


def quantised(x, scale, zero, kind):
    limits = np.iinfo(kind)
    return np.clip(np.rint(wide(x) / wide(scale)) + zero.astype(np.float64), limits.min, limits.max).astype(kind)


def quantisations():
    for source in (np.float32, np.float16):
        for kind in BYTES:
            zero = np.array(100 if kind == np.uint8 else -3, kind)
            # Every second multiple is a tie, which goes to the even neighbour.
            ties = (np.arange(-300, 300) * 0.25).astype(source)
            huge = np.append(finite(source), [np.inf, -np.inf]).astype(source)
            # Beyond 32 bits a quotient saturates too, but processors differ in how they convert it.
            for group, x in (("ties", ties), ("hostile", huge[np.abs(huge) < 2**30])):
                scale = np.array(0.5, source)
                constants = {"scale": scale, "zero": zero}
                variant = f"{name(source)}_{name(kind)}_{group}"
                yield one_node(variant, "QuantizeLinear", {"x": x}, constants=constants, right=quantised(x, scale, zero, kind), opset=19)
            x = huge[np.abs(huge) >= 2**30]
            right = quantised(x, np.array(0.5, source), zero, kind)
            constants = {"scale": np.array(0.5, source), "zero": zero}
            if len(x):
                yield one_node(f"{name(source)}_{name(kind)}_huge", "QuantizeLinear", {"x": x}, constants=constants, right=right, opset=19)
    for kind in BYTES + (np.int32,):
        limits = np.iinfo(kind)
        x = np.array([limits.min, limits.min + 1, 0, 1, 5, limits.max - 1, limits.max], kind)
        zero = np.array(0 if kind == np.int32 else 5, kind)
        scale = np.array(0.0625, np.float32)
        constants = {"scale": scale, "zero": zero}
        # The difference does not fit into the type.
        right = narrow((x.astype(np.int64) - zero) * wide(scale), np.float32)
        yield one_node(name(kind), "DequantizeLinear", {"x": x}, constants=constants, right=right, accuracy="exact", opset=13)
        if kind == np.int32:
            continue
        rows = np.stack([x, x[::-1], np.roll(x, 2)])
        scales, zeros = np.array([0.5, 0.25, 2], np.float32), np.array([0, 7, 100], kind)
        constants = {"scales": scales, "zeros": zeros}
        right = ((rows.astype(np.int64) - zeros[:, None]) * scales[:, None]).astype(np.float32)
        yield one_node(f"{name(kind)}_rows", "DequantizeLinear", {"x": rows}, constants=constants, right=right, accuracy="exact", opset=13, axis=0)
        right = quantised(right, scales[:, None], zeros[:, None], kind)
        numbers = ((rows.astype(np.int64) - zeros[:, None]) * scales[:, None]).astype(np.float32)
        yield one_node(f"{name(kind)}_rows", "QuantizeLinear", {"x": numbers}, constants=constants, right=right, opset=13, axis=0)
    for group, x in (
        ("ordinary", ordinary(np.float32)),
        ("positive", np.abs(ordinary(np.float32)) + np.float32(1)),
        ("negative", -np.abs(ordinary(np.float32)) - np.float32(1)),
        ("large", np.array([1e30, -1e30, 0, 1e29], np.float32)),
    ):
        yield one_node(f"FP32_{group}", "DynamicQuantizeLinear", {"x": x}, outputs=3, opset=13)
        nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
        low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        scale = np.float32((high - low) / 255)
        zero = np.uint8(np.clip(np.rint(-low / scale), 0, 255))
        right = ((quantised(x, scale, np.array(zero), np.uint8).astype(np.int64) - int(zero)) * wide(scale)).astype(np.float32)
        yield Case(name=f"DynamicQuantizeLinear/FP32_{group}_and_back", nodes=nodes, inputs={"x": x}, right=[right], opset=13)


def products():
    random = np.random.default_rng(2)
    extreme = lambda kind, shape: random.choice([np.iinfo(kind).min, np.iinfo(kind).max, 0, 1, 100], shape).astype(kind)  # noqa: E731
    for left in BYTES:
        for right_kind in BYTES:
            a, b = extreme(left, (3, 8)), extreme(right_kind, (8, 4))
            zeros = np.array(3, left), np.array(-5 if right_kind == np.int8 else 5, right_kind)
            exact = (a.astype(np.int64) - int(zeros[0])) @ (b.astype(np.int64) - int(zeros[1]))
            variant = f"{name(left)}_{name(right_kind)}"
            constants = {"b": b, "za": zeros[0], "zb": zeros[1]}
            yield one_node(variant, "MatMulInteger", {"a": a}, constants=constants, right=exact.astype(np.int32))
            scales = np.array(0.01, np.float32), np.array(0.02, np.float32), np.array(0.05, np.float32)
            zero = np.array(7, left)
            real = exact * wide(scales[0]) * wide(scales[1]) / wide(scales[2])
            limits = np.iinfo(left)
            right = np.clip(np.rint(real) + 7, limits.min, limits.max).astype(left)
            constants = {"sa": scales[0], "za": zeros[0], "b": b, "sb": scales[1], "zb": zeros[1], "sy": scales[2], "zy": zero}
            yield one_node(variant, "QLinearMatMul", {"a": a}, constants=constants, right=right)
            if left == np.int8 and right_kind == np.uint8:
                continue  # onnxruntime has no such convolution.
            image, kernel = extreme(left, (1, 2, 5, 5)), extreme(right_kind, (3, 2, 3, 3))
            if left == np.uint8 and right_kind == np.int8:
                # On some processors, sums of two products of all bits saturate in onnxruntime.
                kernel = kernel // 2
            constants = {"w": kernel, "za": zeros[0], "zb": np.array(0, right_kind) if right_kind == np.int8 else zeros[1]}
            yield one_node(variant, "ConvInteger", {"x": image}, constants=constants, right=[convolved(image, kernel, zeros[0], constants["zb"], 0).astype(np.int32)])
            exact = convolved(image, kernel, zeros[0], constants["zb"], 1)
            right = np.clip(np.rint(exact * wide(scales[0]) * wide(scales[1]) / wide(scales[2])) + 7, limits.min, limits.max).astype(left)
            constants = {"sa": scales[0], "za": zeros[0], "w": kernel, "sw": scales[1], "zw": constants["zb"], "sy": scales[2], "zy": zero}
            yield one_node(variant, "QLinearConv", {"x": image}, constants=constants, right=right, pads=[1, 1, 1, 1])


def convolved(image, kernel, zero, kernel_zero, pad):
    """The convolution of integers, whose padding is the zero point."""
    x = np.pad(image.astype(np.int64) - int(zero), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], axis=(2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, kernel.astype(np.int64) - int(kernel_zero))


def over_axes(x):
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5)


# Operators between a dequantisation and a quantisation: attributes, constants, and the function of [1, 4, 8] floats.
BETWEEN = {
    "Relu": ({}, {}, lambda x: np.maximum(x, 0)),
    "Sigmoid": ({}, {}, lambda x: 1 / (1 + np.exp(-x))),
    "Softmax": ({"axis": -1}, {}, lambda x: softmax(x, -1)),
    "Softmax_1": ({"axis": 1}, {}, lambda x: softmax(x, 1)),
    "LogSoftmax": ({"axis": -1}, {}, lambda x: log_softmax(x, -1)),
    "ReduceMean": ({"axes": [2], "keepdims": 1}, {}, lambda x: x.mean(axis=2, keepdims=True)),
    "ReduceSum": ({"keepdims": 1}, {"axes": np.array([1])}, lambda x: x.sum(axis=1, keepdims=True)),
    "ReduceMax": ({"axes": [1], "keepdims": 1}, {}, lambda x: x.max(axis=1, keepdims=True)),
    "CumSum": ({}, {"axis": np.array(2)}, lambda x: x.cumsum(axis=2)),
    "LayerNormalization": ({}, {"scale": np.ones(8, np.float32)}, over_axes),
    "LpNormalization": ({"axis": 2}, {}, lambda x: x / np.sqrt((x * x).sum(axis=2, keepdims=True))),
    "Transpose": ({"perm": [0, 2, 1]}, {}, lambda x: x.transpose(0, 2, 1)),
    "MaxPool": ({"kernel_shape": [2], "strides": [2]}, {}, lambda x: x.reshape(1, 4, 4, 2).max(axis=3)),
    "AveragePool": ({"kernel_shape": [2], "strides": [2]}, {}, lambda x: x.reshape(1, 4, 4, 2).mean(axis=3)),
    "GlobalAveragePool": ({}, {}, lambda x: x.mean(axis=2, keepdims=True)),
    "Add": ({}, {"b": np.arange(8, dtype=np.float32) / 8}, lambda x: x + np.arange(8) / 8),
    "Mul": ({}, {"b": np.arange(4, dtype=np.float32).reshape(4, 1) / 4}, lambda x: x * (np.arange(4).reshape(4, 1) / 4)),
    "Pad": ({}, {"pads": np.array([0, 0, 1, 0, 0, 1])}, lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1)))),
    "Slice": ({}, {"from": np.array([7]), "to": np.array([-100]), "axes": np.array([2]), "by": np.array([-2])}, lambda x: x[:, :, ::-2]),
    "Gather": ({"axis": 2}, {"at": np.array([3, 1, -1])}, lambda x: x[:, :, [3, 1, -1]]),
    "Tile": ({}, {"repeats": np.array([1, 2, 1])}, lambda x: np.tile(x, (1, 2, 1))),
    "Hardmax": ({"axis": 2}, {}, lambda x: (np.arange(8) == x.argmax(axis=2)[..., None]).astype(np.float64)),
}


def chains():
    """Between a dequantisation and a quantisation, with different scales. A value near a tie may go either way, so the
    input keeps the quotients away from ties."""
    for kind in BYTES:
        scale, zero = np.array(0.125, np.float32), np.array(114 if kind == np.uint8 else -14, kind)
        for key, (attributes, constants, function) in BETWEEN.items():
            after = {"Softmax": 0.0039, "Softmax_1": 0.0039, "LogSoftmax": 0.0511, "CumSum": 0.517}.get(key, 0.0613)
            for seed in range(200):
                limits = np.iinfo(kind)
                x = np.random.default_rng(seed).integers(limits.min, limits.max, (1, 4, 8), endpoint=True).astype(kind)
                result = function((x.astype(np.float64) - int(zero)) * float(scale))
                quotient = result / np.float32(after)
                if np.all(np.abs(np.abs(quotient - np.floor(quotient)) - 0.5) > 2e-3):
                    break
            second, second_zero = np.array(after, np.float32), np.array(10, kind)
            operator = key.removesuffix("_1")
            nodes = [
                helper.make_node("DequantizeLinear", ["x", "s1", "z1"], ["d"]),
                helper.make_node(operator, ["d", *constants], ["f"], **attributes),
                helper.make_node("QuantizeLinear", ["f", "s2", "z2"], ["q"]),
                helper.make_node("DequantizeLinear", ["q", "s2", "z2"], ["y"]),
            ]
            all_constants = {**constants, "s1": scale, "z1": zero, "s2": second, "z2": second_zero}
            right = (quantised(result, second, second_zero, kind).astype(np.int64) - int(second_zero)) * second
            right = [right.astype(np.float32)]
            yield Case(name=f"Quantised/{name(kind)}_{key}", nodes=nodes, inputs={"x": x}, right=right, constants=all_constants, step=after)
        other = BYTES[1 - BYTES.index(kind)]
        limits = np.iinfo(kind)
        x = np.arange(limits.min, limits.max + 1).astype(kind)
        first, second = np.array(0.5, np.float32), np.array(0.75, np.float32)
        zeros = np.array(100 if kind == np.uint8 else 3, kind), np.array(0, other)
        nodes = [helper.make_node("DequantizeLinear", ["x", "s1", "z1"], ["d"]), helper.make_node("QuantizeLinear", ["d", "s2", "z2"], ["y"])]
        right = quantised((x.astype(np.int64) - int(zeros[0])) * 0.5, second, zeros[1], other)
        constants = {"s1": first, "z1": zeros[0], "s2": second, "z2": zeros[1]}
        yield Case(name=f"Quantised/{name(kind)}_to_{name(other)}", nodes=nodes, inputs={"x": x}, right=[right], constants=constants)


def cases():
    with np.errstate(all="ignore"):
        yield from quantisations()
        yield from products()
        yield from chains()
