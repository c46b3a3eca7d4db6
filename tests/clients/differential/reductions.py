"""Operators that reduce, accumulate or select along an axis.

Each hostile value stands in a row of its own beside small ones, so that no result depends on the order of a sum. ONNX
does not define where a NaN stands in an order, so TopK, ArgMax and ArgMin have none.
"""

import numpy as np
from differential.case import narrow, one_node, wide
from differential.values import FLOATS, NUMBERS, extreme_integers, hostile, name, ordinary


def rows(kind, group):
    """A matrix with the numbers in rows of four."""
    small = np.array([1, 2, 3], kind)
    if group == "ordinary":
        numbers = ordinary(kind)
        return np.stack([np.roll(numbers, shift)[:4] for shift in range(len(numbers))])
    numbers = hostile(kind) if kind in FLOATS else extreme_integers(kind)
    return np.stack([np.roll(np.append(number, small), position % 4) for position, number in enumerate(numbers)]).astype(kind)


def log_sum_exp(x, **axes):
    largest = np.max(x, **{**axes, "keepdims": True})
    finite = np.where(np.isfinite(largest), largest, 0)
    total = np.log(np.sum(np.exp(x - finite), **axes))
    return total + (finite if axes["keepdims"] else finite.reshape(total.shape))


FUNCTIONS = {
    "ReduceSum": np.sum,
    "ReduceProd": np.prod,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceL1": lambda x, **axes: np.sum(np.abs(x), **axes),
    "ReduceSumSquare": lambda x, **axes: np.sum(x * x, **axes),
    "ReduceMean": np.mean,
    "ReduceL2": lambda x, **axes: np.sqrt(np.sum(x * x, **axes)),
    "ReduceLogSum": lambda x, **axes: np.log(np.sum(x, **axes)),
    "ReduceLogSumExp": log_sum_exp,
}

# These divide or take a root, so only floats have right values whatever the order of the steps.
OF_FLOATS = ("ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp")

# Squares of these overflow or vanish in some orders of the steps.
BY_SQUARES = ("ReduceL2", "ReduceSumSquare", "ReduceProd")

BY_SUMS = {"ReduceSum": np.add, "ReduceL1": np.add, "ReduceSumSquare": np.add, "ReduceProd": np.multiply}


def reduced(operator, x, axes, keepdims):
    function = FUNCTIONS[operator]
    if x.dtype.kind == "f":
        result = function(wide(x), axis=axes, keepdims=keepdims)
    elif operator in BY_SUMS:
        absolute = {"ReduceL1": np.abs(x), "ReduceSumSquare": x * x}.get(operator, x)
        # With a `dtype`, or NumPy would add in 64 bits.
        sums = np.prod if operator == "ReduceProd" else np.sum
        result = sums(absolute, axis=axes, keepdims=keepdims, dtype=x.dtype)
    else:
        result = function(x, axis=axes, keepdims=keepdims)
    return narrow(result, x.dtype)


def reductions():
    for operator in FUNCTIONS:
        kinds = FLOATS if operator in OF_FLOATS else NUMBERS
        for kind in kinds:
            for group in ("ordinary", "hostile"):
                x = rows(kind, group)
                if operator in BY_SQUARES and kind in FLOATS and group == "hostile":
                    limits = np.finfo(kind)
                    near_one = (np.abs(x) <= np.sqrt(wide(np.array(limits.max))) / 4) & (np.abs(x) >= np.sqrt(wide(np.array(limits.tiny))))
                    x = x[np.all(near_one | ~np.isfinite(x) | (x == 0), axis=1)]
                if operator == "ReduceLogSum" and group == "ordinary":
                    x = np.abs(x)
                for axes, keepdims in (((1,), 1), ((1,), 0), ((0,), 0)):
                    if axes == (0,) and group == "hostile" and kind in FLOATS:
                        continue
                    right = reduced(operator, x, axes, bool(keepdims))
                    variant = f"{name(kind)}_{group}_{axes[0]}{keepdims}"
                    if operator == "ReduceSum":
                        constants = {"axes": np.array(axes, np.int64)}
                        yield one_node(variant, operator, {"x": x}, constants=constants, right=right, keepdims=keepdims)
                    else:
                        yield one_node(variant, operator, {"x": x}, right=right, axes=list(axes), keepdims=keepdims)
                        if axes == (1,) and keepdims:
                            constants = {"axes": np.array(axes, np.int64)}
                            yield one_node(f"{variant}_newer", operator, {"x": x}, constants=constants, right=right, opset=18)
    for kind in (np.int32, np.int64):
        # Beyond 32 bits in the sum, and far from the end of 64.
        x = np.array([[2**30, 2**30, 2**30, 2**30 + 4], [-(2**30), 3, 4, 5]], kind)
        if kind == np.int64:
            x = x * 8
        right = (x.sum(axis=1, dtype=np.int64) / 4).astype(kind)
        if kind == np.int64:
            yield one_node(f"{name(kind)}_wide", "ReduceMean", {"x": x}, right=right, axes=[1], keepdims=0)
        ordinary_rows = np.array([[4, 8, -4, 0], [100, 100, 100, 100]], kind)
        yield one_node(f"{name(kind)}_ordinary", "ReduceMean", {"x": ordinary_rows}, right=np.array([2, 100], kind), axes=[1], keepdims=0)
    for kind in (np.bool_,):
        x = np.array([[True, False], [True, True], [False, False]])
        for operator, function in (("ReduceMax", np.any), ("ReduceMin", np.all)):
            yield one_node(name(kind), operator, {"x": x}, constants={"axes": np.array([1])}, right=function(x, axis=1, keepdims=True), opset=20)


def selections():
    for kind in NUMBERS:
        for group in ("ordinary", "hostile"):
            x = rows(kind, group)
            x = x[~np.isnan(x).any(axis=1)] if kind in FLOATS else x
            variant = f"{name(kind)}_{group}"
            for operator, function in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
                yield one_node(variant, operator, {"x": x}, right=function(x, axis=1).astype(np.int64), axis=1, keepdims=0)
            backwards = x[:, ::-1]
            last = 3 - np.argmax(backwards, axis=1)
            yield one_node(f"{variant}_last", "ArgMax", {"x": x}, right=last.astype(np.int64), axis=1, keepdims=0, select_last_index=1)
            for largest in (1, 0):
                # Equal elements keep their order.
                keys = x if not largest else backwards
                order = np.argsort(keys, axis=1, kind="stable")
                order = (3 - order)[:, ::-1] if largest else order
                order = order[:, :3]
                right = [np.take_along_axis(x, order, axis=1), order.astype(np.int64)]
                constants = {"k": np.array([3], np.int64)}
                yield one_node(f"{variant}_{largest}", "TopK", {"x": x}, constants=constants, right=right, outputs=2, largest=largest, axis=1)


def accumulations():
    axis = {"axis": np.array(1, np.int64)}
    for kind in FLOATS + (np.int32, np.int64, np.uint32, np.uint64):
        for group in ("ordinary", "hostile"):
            x = rows(kind, group)
            if kind in FLOATS:
                right = narrow(np.cumsum(wide(x), axis=1), kind)
            else:
                right = np.cumsum(x, axis=1, dtype=kind)
            variant = f"{name(kind)}_{group}"
            yield one_node(variant, "CumSum", {"x": x}, constants=axis, right=right)
            if group == "ordinary":
                numbers = wide(x) if kind in FLOATS else x
                before = np.cumsum(np.pad(numbers, ((0, 0), (1, 0)))[:, :-1], axis=1)
                yield one_node(f"{variant}_exclusive", "CumSum", {"x": x}, constants=axis, right=narrow(before, kind), exclusive=1)
                behind = np.cumsum(numbers[:, ::-1], axis=1)[:, ::-1]
                yield one_node(f"{variant}_reverse", "CumSum", {"x": x}, constants=axis, right=narrow(behind, kind), reverse=1)


def products():
    """Products of matrices: integers wrap around, and one NaN spoils its row only."""
    for kind in FLOATS + (np.int32, np.int64, np.uint32, np.uint64):
        for group in ("ordinary", "hostile"):
            x = rows(kind, group)
            weights = np.array([[1, 2], [0, 1], [3, 1], [1, 1]], kind)
            if kind in FLOATS:
                # No sum of infinities of both signs: 0 times an infinity is NaN in any order.
                right = narrow(np.matmul(wide(x), wide(weights)), kind)
            else:
                right = np.matmul(x, weights)
            yield one_node(f"{name(kind)}_{group}", "MatMul", {"x": x}, constants={"w": weights}, right=right)
            bias = np.array([1, 2], kind)
            right = narrow((wide(right) if kind in FLOATS else right) + bias, kind)
            if kind in FLOATS and group == "ordinary" or kind not in FLOATS:
                yield one_node(f"{name(kind)}_{group}", "Gemm", {"x": x}, constants={"w": weights, "b": bias}, right=right)


def cases():
    with np.errstate(all="ignore"):
        yield from reductions()
        yield from selections()
        yield from accumulations()
        yield from products()
