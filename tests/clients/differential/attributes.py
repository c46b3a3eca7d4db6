"""Operators with each of their attributes, and with their defaults: an engine that does not read one is found here.

The right values are onnxruntime's, and the reference evaluator's for what it does not implement. Numbers are ordinary,
and outputs may differ as sums do; other modules have the hostile ones.
"""

import numpy as np
from differential.case import Case
from onnx import helper

F = np.float32


class Numbers:
    """Numbers that differ from tensor to tensor, and are the same each time."""

    def __init__(self):
        self.random = np.random.default_rng(1)

    def __call__(self, *shape):
        return (self.random.normal(size=shape) * 0.5).astype(F)


def case(name, operator, inputs, constants=None, *, order=None, outputs=1, opset=13, right=None, **attributes):
    """A case of one node. `order` has the names of its inputs, with an empty one for what is left out."""
    constants = constants or {}
    names = order or [*inputs, *constants]
    results = [f"y{position}" for position in range(outputs)]
    node = helper.make_node(operator, names, results, **attributes)
    right = None if right is None else [right]
    return Case(f"{operator}/{name}", [node], inputs, right=right, constants=constants, accuracy="rough", opset=opset, is_sized=True)


def windows(numbers):
    """Convolutions and pools: paddings, strides, dilations, groups and sizes of outputs."""
    x, filters = numbers(2, 3, 6, 7), {"w": numbers(4, 3, 3, 3)}
    for name, attributes in {
        "plain": {},
        "pads": {"pads": [0, 1, 2, 1]},
        "strides": {"strides": [2, 3], "pads": [1] * 4},
        "dilations": {"dilations": [2, 1]},
        "upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        "valid": {"auto_pad": "VALID", "strides": [2, 2]},
    }.items():
        yield case(name, "Conv", {"x": x}, filters, **attributes)
    yield case("group", "Conv", {"x": numbers(2, 4, 5, 5)}, {"w": numbers(6, 2, 3, 3), "b": numbers(6)}, group=2)
    yield case("line", "Conv", {"x": numbers(2, 3, 9)}, {"w": numbers(4, 3, 3)}, pads=[1, 1])
    yield case("volume", "Conv", {"x": numbers(1, 2, 4, 5, 4)}, {"w": numbers(3, 2, 2, 2, 2)})
    x, filters = numbers(2, 3, 4, 5), {"w": numbers(3, 2, 3, 3)}
    for name, attributes in {
        "plain": {},
        "pads": {"pads": [0, 1, 2, 1], "strides": [2, 2]},
        "dilations": {"dilations": [2, 1], "pads": [1] * 4},
        "output_padding": {"strides": [2, 3], "output_padding": [1, 2]},
        "upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        "upper_padding": {"auto_pad": "SAME_UPPER", "strides": [2, 2], "output_padding": [1, 1]},
        "valid": {"auto_pad": "VALID", "strides": [2, 2]},
        "size": {"strides": [2, 3], "output_shape": [8, 10]},
        "size_upper": {"strides": [2, 3], "output_shape": [8, 10], "auto_pad": "SAME_UPPER"},
        "size_lower": {"strides": [2, 3], "output_shape": [8, 10], "auto_pad": "SAME_LOWER"},
        "size_padding": {"strides": [2, 3], "output_shape": [9, 14], "output_padding": [1, 1]},
    }.items():
        yield case(name, "ConvTranspose", {"x": x}, filters, **attributes)
    constants = {"w": numbers(4, 3, 3, 3), "b": numbers(6)}
    yield case("group", "ConvTranspose", {"x": numbers(2, 4, 4, 5)}, constants, group=2, strides=[2, 2], output_padding=[1, 0])
    x = numbers(1, 2, 6, 7)
    for operator in ("MaxPool", "AveragePool", "LpPool"):
        for auto_pad in ("VALID", "SAME_UPPER", "SAME_LOWER"):
            attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": auto_pad}
            yield case(f"pads_beside_{auto_pad}", operator, {"x": x}, opset=12, pads=[1] * 4, **attributes)
            if operator != "LpPool":
                yield case(f"dilations_{auto_pad}", operator, {"x": x}, opset=19, dilations=[2, 1], **attributes)
    for order in (0, 1):
        attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "storage_order": order}
        yield case(f"order_{order}", "MaxPool", {"x": x}, outputs=2, opset=12, **attributes)
    for p in (1, 2, 3):
        yield case(f"p_{p}", "GlobalLpPool", {"x": x}, p=p)
        yield case(f"p_{p}", "LpPool", {"x": x}, opset=11, kernel_shape=[2, 2], p=p)
    yield case("default", "GlobalLpPool", {"x": x})
    places = np.array([[[[5, 7], [13, 15]]]])
    yield case("plain", "MaxUnpool", {"x": numbers(1, 1, 2, 2), "at": places}, opset=11, kernel_shape=[2, 2], strides=[2, 2])
    regions = {"regions": np.array([[0, 0, 0, 3, 3], [0, 1, 2, 5, 5]], F)}
    yield case("plain", "MaxRoiPool", {"x": numbers(1, 2, 6, 6)}, regions, pooled_shape=[2, 2])
    regions = {"regions": np.array([[0.5, 1, 4, 5], [0, 0, 2, 3]], F), "of": np.array([0, 1])}
    for mode in ("avg", "max"):
        for transform in ("half_pixel", "output_half_pixel"):
            attributes = {"mode": mode, "coordinate_transformation_mode": transform, "sampling_ratio": 2}
            name = f"{mode}_{transform}"
            yield case(name, "RoiAlign", {"x": numbers(2, 2, 6, 6)}, regions, opset=16, output_height=2, output_width=3, **attributes)
    for size in (1, 3, 5):
        yield case(f"size_{size}", "LRN", {"x": numbers(2, 6, 3, 3)}, size=size, alpha=0.5, beta=0.6, bias=1.5)


def sampling(numbers):
    """Resizing and sampling: the transforms of coordinates, interpolations and what lies outside."""
    x = numbers(1, 2, 4, 6)
    for scales in ((1.5, 2), (0.5, 0.5), (2, 0.5)):
        constants = {"scales": np.array([1, 1, *scales], F)}
        named = f"{scales[0]}_{scales[1]}"
        for mode in ("nearest", "linear"):
            yield case(f"{mode}_{named}_version_10", "Resize", {"x": x}, constants, opset=10, mode=mode)
            if min(scales) >= 1:
                yield case(f"{mode}_{named}_version_9", "Upsample", {"x": x}, constants, opset=9, mode=mode)
                yield case(f"{mode}_{named}_version_7", "Upsample", {"x": x}, opset=7, mode=mode, scales=[1.0, 1.0, *map(float, scales)])
        for mode in ("nearest", "linear", "cubic"):
            for transform in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
                for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil") if mode == "nearest" else ("floor",):
                    attributes = {"mode": mode, "coordinate_transformation_mode": transform, "nearest_mode": rounding}
                    name = f"{mode}_{transform}_{rounding}_{named}"
                    yield case(name, "Resize", {"x": x}, constants, order=["x", "", "scales"], **attributes)
    for name, attributes in {
        "coefficient": {"cubic_coeff_a": -0.5},
        "excluded": {"exclude_outside": 1},
        "antialias": {"antialias": 1},
    }.items():
        constants = {"scales": np.array([1, 1, 0.5, 1.5], F)}
        yield case(name, "Resize", {"x": x}, constants, order=["x", "", "scales"], opset=18, mode="cubic", **attributes)
    for policy in ("stretch", "not_larger", "not_smaller"):
        constants = {"sizes": np.array([7, 6])}
        attributes = {"axes": [2, 3], "mode": "linear", "keep_aspect_ratio_policy": policy}
        yield case(policy, "Resize", {"x": x}, constants, order=["x", "", "", "sizes"], opset=18, **attributes)
    constants = {"regions": np.array([0, 0, 0.2, 0.1, 1, 1, 1.2, 0.8], F), "scales": np.array([], F), "sizes": np.array([1, 2, 5, 7])}
    attributes = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0, "mode": "linear"}
    yield case("crop", "Resize", {"x": x}, constants, **attributes)
    grid = np.clip(numbers(1, 3, 4, 2) * 2.4, -1.6, 1.6)
    for opset, modes in ((16, ("bilinear", "nearest", "bicubic")), (20, ("linear", "nearest", "cubic"))):
        for mode in modes:
            for padding in ("zeros", "border", "reflection"):
                for corners in (0, 1):
                    attributes = {"mode": mode, "padding_mode": padding, "align_corners": corners}
                    yield case(f"{mode}_{padding}_{corners}_{opset}", "GridSample", {"x": x, "grid": grid}, opset=opset, **attributes)
    for corners in (0, 1):
        yield case(f"corners_{corners}", "AffineGrid", {"t": numbers(1, 2, 3)}, {"n": np.array([1, 1, 2, 3])}, opset=20, align_corners=corners)
    constants = {"sizes": np.array([5, 4])}
    yield case("axes", "CenterCropPad", {"x": x}, constants, opset=18, axes=[2, 3])
    constants = {"image": np.array([5, 5]), "block": np.array([1, 5])}
    yield case("plain", "Col2Im", {"x": numbers(1, 5, 5)}, constants, opset=18)


def recurrent(numbers):
    """Recurrent operators: directions, states, biases, peepholes, other activations, limits and layouts."""
    sequence, batch, size, hidden = 3, 2, 4, 5
    for operator, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        for direction in ("forward", "reverse", "bidirectional"):
            count = 2 if direction == "bidirectional" else 1
            weights = {"w": numbers(count, gates * hidden, size), "r": numbers(count, gates * hidden, hidden)}
            biased = {**weights, "b": numbers(count, 2 * gates * hidden)}
            state = numbers(count, batch, hidden)
            common = {"hidden_size": hidden, "direction": direction, "outputs": 2, "opset": 14}
            x = {"x": numbers(sequence, batch, size)}
            yield case(direction, operator, x, weights, **common)
            lengths = {**biased, "lengths": np.full([batch], sequence, np.int32), "h": state}
            yield case(f"{direction}_whole", operator, x, lengths, **common)
            shorter = {**lengths, "lengths": np.array([sequence, 1], np.int32)}
            yield case(f"{direction}_shorter", operator, x, shorter, **common)
            yield case(f"{direction}_clip", operator, x, biased, clip=0.2, **common)
            usual = {"RNN": ["Relu"], "GRU": ["HardSigmoid", "Tanh"], "LSTM": ["HardSigmoid", "Tanh", "Softsign"]}
            yield case(f"{direction}_activations", operator, x, biased, activations=usual[operator] * count, **common)
            if operator == "GRU":
                yield case(f"{direction}_reset", operator, x, biased, linear_before_reset=1, **common)
            if operator == "LSTM":
                constants = {**biased, "h": state, "c": state[::-1].copy(), "p": numbers(count, 3 * hidden)}
                order = ["x", "w", "r", "b", "", "h", "c", "p"]
                yield case(f"{direction}_peepholes", operator, x, constants, order=order, **common)
                yield case(f"{direction}_coupled", operator, x, biased, input_forget=1, **common)


def signals(numbers):
    """Transforms and windows of signals."""
    for opset in (17, 20):
        for inverse in (0, 1):
            for onesided in (0, 1):
                for shape in ((2, 8, 1), (2, 8, 2), (1, 3, 8, 2)):
                    if onesided and (inverse or shape[-1] == 2):
                        continue
                    axis = {"axis": np.array(-2)} if opset == 20 else {}
                    order = ["x", "", "axis"] if opset == 20 else ["x"]
                    attributes = {} if opset == 20 else {"axis": len(shape) - 2}
                    name = f"{opset}_{inverse}{onesided}_{len(shape)}_{shape[-1]}"
                    yield case(name, "DFT", {"x": numbers(*shape)}, axis, order=order, opset=opset, inverse=inverse, onesided=onesided, **attributes)
    for opset in (17, 20):
        yield case(f"default_{opset}", "DFT", {"x": numbers(1, 3, 8, 2)}, opset=opset)
    for onesided in (0, 1):
        constants = {"step": np.array(4), "window": np.hanning(8).astype(F), "length": np.array(8)}
        yield case(f"onesided_{onesided}", "STFT", {"x": numbers(1, 32, 1)}, constants, opset=17, onesided=onesided)
    for operator in ("BlackmanWindow", "HammingWindow", "HannWindow"):
        for periodic in (0, 1):
            yield case(f"periodic_{periodic}", operator, {"n": np.array(9)}, opset=17, periodic=periodic)
    constants = {"length": np.array(16), "rate": np.array(8192), "low": np.array(0, F), "high": np.array(4096, F)}
    yield case("plain", "MelWeightMatrix", {"bins": np.array(8)}, constants, opset=17)


def attention(numbers):
    q, k, v = numbers(1, 2, 3, 4), numbers(1, 2, 5, 4), numbers(1, 2, 5, 4)
    inputs = {"q": q, "k": k, "v": v}
    for name, attributes in {"plain": {}, "causal": {"is_causal": 1}, "scale": {"scale": 0.3}, "softcap": {"softcap": 2.0}}.items():
        yield case(name, "Attention", inputs, opset=23, **attributes)
    yield case("mask", "Attention", inputs, {"mask": numbers(3, 5)}, opset=23)
    yield case("bools", "Attention", inputs, {"mask": numbers(3, 5) > -0.3}, opset=23)
    rows = {name: numbers(1, size, 8) for name, size in (("q", 3), ("k", 5), ("v", 5))}
    yield case("heads", "Attention", rows, opset=23, q_num_heads=2, kv_num_heads=2)
    tables = {"cos": numbers(1, 3, 2), "sin": numbers(1, 3, 2)}
    for interleaved in (0, 1):
        yield case(f"interleaved_{interleaved}", "RotaryEmbedding", {"x": numbers(1, 2, 3, 4)}, tables, opset=23, interleaved=interleaved)
    for axis in (1, 2, -1):
        x = numbers(2, 3, 4)
        yield case(f"axis_{axis}", "RMSNormalization", {"x": x}, {"scale": numbers(*x.shape[axis:])}, opset=23, axis=axis, epsilon=0.1)
    for alpha in (0.5, 1.0, 1.5):
        yield case(f"alpha_{alpha}", "Swish", {"x": numbers(4, 5) * 8}, opset=24, alpha=alpha)
        yield case(f"alpha_{alpha}", "Celu", {"x": numbers(4, 5) * 8}, alpha=alpha)


def selections(numbers):
    """Equations, boxes, shapes and elements."""
    for name, equation in {
        "product": "ij,jk->ik",
        "implied": "ij,jk",
        "nothing": "ij,ij",
        "spaces": " ij , kj -> i k ",
        "batch": "...ij,...jk->...ik",
        "capitals": "Ij,jK->IK",
    }.items():
        yield case(name, "Einsum", {"a": numbers(4, 4), "b": numbers(4, 4)}, equation=equation)
    for name, equation in {"diagonal": "ii->i", "trace": "ii", "sum": "ij->", "order": "ba"}.items():
        yield case(name, "Einsum", {"a": numbers(4, 4)}, equation=equation)
    boxes = np.array([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [0, 10.1, 1, 11.1], [0, 100, 1, 101]]], F)
    scores = np.array([[[0.9, 0.75, 0.6, 0.95, 0.5, 0.3], [0.1, 0.2, 0.9, 0.3, 0.8, 0.7]]], F)
    limits = {"most": np.array([3]), "overlap": np.array([0.5], F), "least": np.array([0.2], F)}
    for center in (0, 1):
        yield case(f"center_{center}", "NonMaxSuppression", {"boxes": boxes, "scores": scores}, limits, opset=11, center_point_box=center)
    yield case("most", "NonMaxSuppression", {"boxes": boxes, "scores": scores}, {"most": np.array([2])}, opset=11)
    nothing = np.zeros([0, 3], np.int64)
    yield case("default", "NonMaxSuppression", {"boxes": boxes, "scores": scores}, opset=11, right=nothing)
    x = numbers(2, 3, 4)
    for name, attributes in {"whole": {}, "start": {"start": 1}, "end": {"start": -2, "end": -1}, "beyond": {"start": -9, "end": 9}}.items():
        yield case(name, "Shape", {"x": x}, opset=15, **attributes)
    yield case("whole", "Size", {"x": x})
    yield case("axis", "Unique", {"x": np.array([[1, 0], [1, 0], [2, 3]], F)}, outputs=4, opset=11, axis=0)
    for ordered in (0, 1):
        yield case(f"sorted_{ordered}", "Unique", {"x": np.array([3, 1, 3, 2], F)}, outputs=4, opset=11, sorted=ordered)
    for name, operands in {"one": [x], "two": [x, x[:1]], "three": [x, x[:1], x[:, :1]]}.items():
        yield case(name, "Mean", {f"x{place}": operand.copy() for place, operand in enumerate(operands)})
    yield case("plain", "Det", {"x": numbers(2, 3, 3)}, opset=11)
    for upside in ({}, {"exclusive": 1}, {"reverse": 1}):
        yield case("_".join(upside) or "plain", "CumProd", {"x": x}, {"axis": np.array(1)}, opset=26, **upside)
    yield case("axis", "Squeeze", {"x": numbers(2, 1, 3, 1)}, {"axes": np.array([-1, 1])})
    yield case("all", "Squeeze", {"x": numbers(2, 1, 3, 1)})


def texts():
    a, b = np.array(["a", "Köln", ""], object), np.array(["b", "", "c"], object)
    yield case("plain", "StringConcat", {"a": a, "b": b}, opset=20)
    words = np.array(["a b", "c", "d  e f"], object)
    for name, attributes in {"default": {}, "delimiter": {"delimiter": " "}, "most": {"maxsplit": 1}}.items():
        yield case(name, "StringSplit", {"x": words}, outputs=2, opset=20, **attributes)
    yield case("plain", "RegexFullMatch", {"x": np.array(["abc", "xabc", ""], object)}, opset=20, pattern="a.*")


def older(numbers):
    """Versions of operators whose attributes have become inputs, or that follow other rules."""
    x = np.abs(numbers(2, 3, 4)) + F(0.01)
    for operator in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"):
        for opset in (7, 11):
            yield case(f"axes_{opset}", operator, {"x": x}, opset=opset, axes=[1, 2], keepdims=0)
            yield case(f"all_{opset}", operator, {"x": x}, opset=opset)
        yield case("nothing", operator, {"x": x}, opset=18, noop_with_empty_axes=1)
    for axis in (0, 1, 2):
        yield case(f"axis_{axis}_older", "Hardmax", {"x": x}, opset=11, axis=axis)
    yield case("default_older", "Hardmax", {"x": x}, opset=11)
    yield case("default_older", "Softmax", {"x": x}, opset=11)
    yield case("default_older", "LogSoftmax", {"x": x}, opset=11)
    yield case("axes_11", "Squeeze", {"x": numbers(2, 1, 3, 1)}, opset=11, axes=[1, -1])
    yield case("axes_11", "Unsqueeze", {"x": x}, opset=11, axes=[3, 0])
    yield case("version_9", "Slice", {"x": x}, opset=9, starts=[0, -2], ends=[-1, 1000], axes=[0, 2])
    yield case("version_9", "TopK", {"x": x}, opset=9, outputs=2, k=2)
    yield case("version_10", "TopK", {"x": x}, {"k": np.array([2])}, opset=10, outputs=2, axis=1)
    yield case("version_7", "Clip", {"x": x}, opset=7, min=0.1, max=0.3)
    yield case("version_7", "Pad", {"x": x}, opset=7, pads=[0, 1, 0, 1, 0, 2], value=1.5)
    yield case("version_7", "Split", {"x": x}, opset=7, outputs=2, axis=2, split=[1, 3])
    yield case("parts", "Split", {"x": numbers(7, 2)}, opset=18, outputs=3, num_outputs=3)
    yield case("version_7", "Dropout", {"x": x}, opset=7, ratio=0.5)
    yield case("version_12", "Dropout", {"x": x}, {"ratio": np.array(0.5, F)}, opset=12, outputs=2)
    updates = {"at": np.array([[1, 0], [0, 2]]), "u": numbers(2, 2)}
    yield case("version_9", "Scatter", {"x": numbers(3, 3), **updates}, opset=9, axis=1)
    norms = {"scale": numbers(2), "bias": numbers(2)}
    yield case("version_18", "GroupNormalization", {"x": numbers(2, 4, 3, 3)}, norms, opset=18, num_groups=2)


def sequences(numbers):
    """Recurrent operators: lengths that are inputs, parameters of activations, limits before a reset, and all states."""
    steps, batch, size, hidden = 4, 3, 4, 5
    for operator, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        for direction in ("forward", "reverse", "bidirectional"):
            count = 2 if direction == "bidirectional" else 1
            weights = {"w": numbers(count, gates * hidden, size), "r": numbers(count, gates * hidden, hidden)}
            weights["b"] = numbers(count, 2 * gates * hidden)
            states = {"h": numbers(count, batch, hidden), "c": numbers(count, batch, hidden)}
            common = {"hidden_size": hidden, "direction": direction, "opset": 14}
            x = {"x": numbers(steps, batch, size)}
            inputs = {**x, "lengths": np.array([steps, 0, 2], np.int32)}
            if operator == "LSTM":
                order = ["x", "w", "r", "b", "lengths", "h", "c"]
                yield case(f"{direction}_lengths", operator, inputs, {**weights, **states}, order=order, outputs=3, **common)
                yield case(f"{direction}_states", operator, x, weights, outputs=3, **common)
            else:
                order = ["x", "w", "r", "b", "lengths", "h"]
                constants = {**weights, "h": states["h"]}
                yield case(f"{direction}_lengths", operator, inputs, constants, order=order, outputs=2, **common)
            functions = {"RNN": ["HardSigmoid"], "GRU": ["HardSigmoid", "LeakyRelu"], "LSTM": ["HardSigmoid", "Tanh", "Elu"]}[operator]
            alphas = [0.25, 0.3][: len(functions)] * count
            parameters = {"activations": functions * count, "activation_alpha": alphas, "activation_beta": [0.4] * count}
            yield case(f"{direction}_parameters", operator, x, weights, outputs=2, **parameters, **common)
            if operator == "GRU":
                yield case(f"{direction}_reset_clip", operator, x, weights, outputs=2, linear_before_reset=1, clip=0.3, **common)
    narrow = {"w": numbers(1, 3 * hidden, 1), "r": numbers(1, 3 * hidden, hidden), "b": numbers(1, 6 * hidden)}
    x = {"x": numbers(steps, batch, 1)}
    yield case("narrow_reset", "GRU", x, narrow, outputs=2, hidden_size=hidden, linear_before_reset=1, opset=14)
    weights = {"w": numbers(1, 4 * hidden, size), "r": numbers(1, 4 * hidden, hidden)}
    inputs = {"x": numbers(steps, batch, size), "h": numbers(1, batch, hidden)}
    order = ["x", "w", "r", "", "", "h", "h"]
    yield case("equal_states", "LSTM", inputs, weights, order=order, outputs=3, hidden_size=hidden, opset=14)
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["y0"])]
    yield Case("ConstantOfShape/default", nodes, {"x": numbers(2, 3)}, right=[np.zeros((2, 3), F)], accuracy="bits")


def cases():
    numbers = Numbers()
    for group in (windows, sampling, recurrent, signals, attention, selections, older, sequences):
        yield from group(numbers)
    yield from texts()
