"""Operators that take indices, with the first, the last and negative ones, for elements of every type."""

import numpy as np
from differential.case import one_node
from differential.values import FLOATS, NUMBERS, extreme_integers, hostile, name, ordinary
from onnx import helper, numpy_helper

KINDS = (np.bool_, object) + NUMBERS


def table(kind):
    """A matrix of six rows and four columns."""
    numbers = hostile(kind) if kind in NUMBERS else ordinary(kind)
    return np.resize(numbers, (6, 4))


def cases():
    for kind in KINDS:
        x = table(kind)
        variant = name(kind)
        for index_kind in (np.int32, np.int64):
            places = np.array([[0, -1], [5, -6]], index_kind)
            each = f"{variant}_{name(index_kind)}"
            yield one_node(f"{each}_0", "Gather", {"x": x, "at": places}, right=x[places], accuracy="bits", axis=0)
            columns = np.array([3, -4, 0], index_kind)
            yield one_node(f"{each}_1", "Gather", {"x": x, "at": columns}, right=x[:, columns], accuracy="bits", axis=1)
            places = np.array([[0, -1, 5, -6], [1, 2, -3, 4]], index_kind)
            right = np.take_along_axis(x, places.astype(np.int64) % 6, axis=0)
            yield one_node(each, "GatherElements", {"x": x, "at": places}, right=right, accuracy="bits", axis=0)
        at = np.array([[0, 0], [-1, -1], [5, -4]], np.int64)
        yield one_node(variant, "GatherND", {"x": x, "at": at}, right=x[at[:, 0], at[:, 1]], accuracy="bits")
        updates = x[::-1][:3, 0].copy()
        right = x.copy()
        right[at[:, 0], at[:, 1]] = updates
        yield one_node(variant, "ScatterND", {"x": x, "at": at, "u": updates}, right=right, accuracy="bits", opset=18)
        rows, updates = np.array([[0, -1, 5, -6]], np.int64) % 6, x[2:3].copy()
        right = x.copy()
        np.put_along_axis(right, rows, updates, axis=0)
        rows = np.array([[0, -1, 5, -6]], np.int64)
        yield one_node(variant, "ScatterElements", {"x": x, "at": rows, "u": updates}, right=right, accuracy="bits", opset=18, axis=0)
        chosen = np.array([True, False, False, True, True, False])
        yield one_node(variant, "Compress", {"x": x, "c": chosen}, right=x[chosen], accuracy="bits", axis=0)
        condition = np.resize([True, False, False], (6, 4))
        other = x[::-1].copy()
        yield one_node(variant, "Where", {"c": condition, "x": x, "z": other}, right=np.where(condition, x, other), accuracy="bits")
        lengths = np.array([1, 6, 3, 2], np.int64)
        right = x.copy()
        for column, length in enumerate(lengths):
            right[:length, column] = x[:length, column][::-1]
        yield one_node(variant, "ReverseSequence", {"x": x, "n": lengths}, right=right, accuracy="bits", time_axis=0, batch_axis=1)
        if kind != object:
            for upper in (0, 1):
                right = np.triu(x, 1) if upper else np.tril(x, 1)
                k = {"k": np.array(1, np.int64)}
                yield one_node(f"{variant}_{upper}", "Trilu", {"x": x}, constants=k, right=right, accuracy="bits", upper=upper)
            right = np.array(np.nonzero(x), np.int64)
            yield one_node(variant, "NonZero", {"x": x}, right=right)
    yield from additions()
    yield from one_hots()
    yield from ranges()


def additions():
    for kind in FLOATS + (np.int32, np.int64):
        x = np.array([1, 2, 3, 100], kind)
        at = np.array([0, -1, 2], np.int64)
        big = extreme_integers(kind)[-3:] if kind not in FLOATS else np.array([np.nan, np.inf, -2], kind)
        for reduction, function in (("add", np.add), ("mul", np.multiply), ("max", np.maximum), ("min", np.minimum)):
            right = x.copy()
            with np.errstate(all="ignore"):
                right[at] = function(x[at], big)
            inputs = {"x": x, "at": at, "u": big}
            yield one_node(f"{name(kind)}_{reduction}", "ScatterElements", inputs, right=right, opset=18, reduction=reduction)
            inputs = {"x": x, "at": at[:, None], "u": big}
            yield one_node(f"{name(kind)}_{reduction}", "ScatterND", inputs, right=right, opset=18, reduction=reduction)


def one_hots():
    for kind in (np.int64, np.int32, np.float32):
        at = np.array([0, 3, -1, -4, 2], kind)
        for target in (np.float32, np.int64):
            constants = {"depth": np.array([4], np.int64), "v": np.array([7, 9], target)}
            right = np.where(np.arange(4) == (at.astype(np.int64) % 4)[:, None], 9, 7).astype(target)
            yield one_node(f"{name(kind)}_{name(target)}", "OneHot", {"at": at}, constants=constants, right=right)
        beyond = np.array([4, -5, 0], kind)
        constants = {"depth": np.array([4], np.int64), "v": np.array([0, 1], np.float32)}
        right = np.array([[0] * 4, [0] * 4, [1, 0, 0, 0]], np.float32)
        yield one_node(f"{name(kind)}_beyond", "OneHot", {"at": beyond}, constants=constants, right=right)


def ranges():
    for kind, bounds in (
        (np.int32, (3, -8, -3)),
        (np.int64, (2**40, 2**40 + 7, 2)),
        (np.int64, (-(2**53) - 3, -(2**53) + 3, 2)),
        (np.float32, (0.5, 3, 0.75)),
    ):
        inputs = {key: np.array(value, kind) for key, value in zip(("from", "to", "by"), bounds)}
        right = np.arange(*bounds, dtype=kind)
        yield one_node(f"{name(kind)}_{bounds[0]}", "Range", inputs, right=right)
    for kind in (np.float32, np.int64):
        x = np.zeros((3, 5), kind)
        to = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        yield one_node(f"{name(kind)}", "EyeLike", {"x": x}, right=np.eye(3, 5, 1, dtype=kind), dtype=to, k=1)
    sizes = np.array([2, 3], np.int64)
    for kind in (np.float32, np.int64, np.uint8, np.bool_):
        value = np.array([extreme_integers(kind)[-1] if np.dtype(kind).kind in "iu" else 1], kind)
        tensor = numpy_helper.from_array(value)
        yield one_node(name(kind), "ConstantOfShape", {"s": sizes}, right=np.full((2, 3), value[0]), accuracy="bits", value=tensor)
