"""Operators that normalise: softmaxes and means."""

import numpy as np
from differential.case import narrow, one_node, wide
from differential.values import FLOATS, hostile, name, ordinary


def shifted(x, axis):
    return x - np.max(x, axis=axis, keepdims=True)


def softmax(x, axis):
    powers = np.exp(shifted(x, axis))
    return powers / np.sum(powers, axis=axis, keepdims=True)


def log_softmax(x, axis):
    shift = shifted(x, axis)
    return shift - np.log(np.sum(np.exp(shift), axis=axis, keepdims=True))


def hardmax(x, axis):
    first = np.expand_dims(np.argmax(x, axis=axis), axis)
    return (np.arange(x.shape[axis]).reshape([-1 if place == axis % x.ndim else 1 for place in range(x.ndim)]) == first).astype(x.dtype)


def tables(kind):
    """Tensors of rank 3 for softmaxes."""
    numbers = ordinary(kind)
    yield "ordinary", np.stack([np.roll(numbers, shift)[:12] for shift in range(6)]).reshape(2, 3, 12)
    gaps = np.array([[0, -12, -105, -700], [105, 0, 1, 89], [1000, 999, -1000, 0], [-745, -746, -89, -88], [12, 12, 12, 12], [-5, 5, 11, -11]])
    yield "gaps", gaps.astype(kind).reshape(2, 3, 4)
    small = np.array([1, 2, 3], kind)
    numbers = [number for number in hostile(kind) if not np.isposinf(number)]
    rows = np.stack([np.roll(np.append(number, small), place % 4) for place, number in enumerate(numbers)])
    yield "hostile", rows.reshape(-1, 1, 4)


def softmaxes():
    for kind in FLOATS:
        for group, x in tables(kind):
            for axis in (2, 1, 0) if group != "hostile" else (2,):
                variant = f"{name(kind)}_{group}_{axis}"
                yield one_node(variant, "Softmax", {"x": x}, right=narrow(softmax(wide(x), axis), kind), axis=axis)
                yield one_node(variant, "LogSoftmax", {"x": x}, right=narrow(log_softmax(wide(x), axis), kind), axis=axis)
                if group != "hostile":
                    yield one_node(variant, "Hardmax", {"x": x}, right=hardmax(x, axis), axis=axis)
            if group == "hostile":
                continue
            # Below version 13, everything from the axis on is one row.
            for axis in (1, 2):
                rows = wide(x).reshape(*x.shape[:axis], -1).reshape(-1, int(np.prod(x.shape[axis:])))
                for operator, function in (("Softmax", softmax), ("LogSoftmax", log_softmax)):
                    right = narrow(function(rows, 1).reshape(x.shape), kind)
                    yield one_node(f"{name(kind)}_{group}_{axis}_older", operator, {"x": x}, right=right, opset=11, axis=axis)
        row = np.full((1, 3), -np.inf, kind)
        undefined = np.full((1, 3), np.nan, kind)
        yield one_node(f"{name(kind)}_nothing", "Softmax", {"x": row}, right=undefined, axis=1)


def images(kind, group):
    numbers = ordinary(kind)
    image = np.stack([np.roll(numbers, shift)[:9] for shift in range(8)]).reshape(2, 4, 3, 3)
    if group == "large":
        image = image * kind(100)
    if group == "nan":
        image = image.copy()
        image[0, 1, 1, 1] = np.nan
    return image


def over(x, axes, epsilon=1e-5):
    centred = x - np.mean(x, axis=axes, keepdims=True)
    return centred / np.sqrt(np.mean(centred * centred, axis=axes, keepdims=True) + epsilon)


def means():
    for kind in FLOATS:
        scale, bias = np.array([1, 2, 0.5, -1], kind), np.array([0, 1, -1, 0.25], kind)
        along = (1, 4, 1, 1)
        for group in ("ordinary", "large", "nan"):
            x = images(kind, group)
            numbers = wide(x)
            variant = f"{name(kind)}_{group}"
            two = {"scale": scale, "bias": bias}
            instance = over(numbers, (2, 3)) * wide(scale).reshape(along) + wide(bias).reshape(along)
            yield one_node(variant, "InstanceNormalization", {"x": x}, constants=two, right=narrow(instance, kind), accuracy="rough")
            mean, variance = np.array([0, 1, -1, 0.5], kind), np.array([1, 4, 0.25, 2], kind)
            batch = (numbers - wide(mean).reshape(along)) / np.sqrt(wide(variance).reshape(along) + 1e-5)
            batch = batch * wide(scale).reshape(along) + wide(bias).reshape(along)
            four = {**two, "mean": mean, "variance": variance}
            yield one_node(variant, "BatchNormalization", {"x": x}, constants=four, right=narrow(batch, kind), accuracy="rough")
            groups = over(numbers.reshape(2, 2, -1), (2,)).reshape(x.shape) * wide(scale).reshape(along) + wide(bias).reshape(along)
            yield one_node(variant, "GroupNormalization", {"x": x}, constants=two, right=narrow(groups, kind), accuracy="rough", opset=21, num_groups=2)
            layer_scale, layer_bias = np.array([1, -2, 0.5], kind), np.array([0.5, 0, 1], kind)
            layer = over(numbers, (3,)) * wide(layer_scale) + wide(layer_bias)
            constants = {"scale": layer_scale, "bias": layer_bias}
            yield one_node(variant, "LayerNormalization", {"x": x}, constants=constants, right=narrow(layer, kind), accuracy="rough", axis=-1)
            yield one_node(variant, "MeanVarianceNormalization", {"x": x}, right=narrow(over(numbers, (0, 2, 3), 0), kind), accuracy="rough")
            for order in (1, 2):
                norm = np.sum(np.abs(numbers) ** order, axis=1, keepdims=True) ** (1 / order)
                yield one_node(f"{variant}_{order}", "LpNormalization", {"x": x}, right=narrow(numbers / norm, kind), accuracy="rough", axis=1, p=order)
            square = np.stack([np.sum(numbers[:, max(0, c - 1) : c + 2] ** 2, axis=1) for c in range(4)], axis=1)
            right = narrow(numbers / (1 + 1e-4 / 3 * square) ** 0.75, kind)
            yield one_node(variant, "LRN", {"x": x}, right=right, accuracy="rough", size=3)


def cases():
    with np.errstate(all="ignore"):
        yield from softmaxes()
        yield from means()
