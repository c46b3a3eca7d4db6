"""Operators that pool over windows, with paddings, strides and windows that reach beyond the end.

ONNX does not define the maximum of a window with a NaN: onnxruntime ignores it, others return it. The maximum of
infinities is infinite, where onnxruntime returns the lowest finite number.
"""

import math

import numpy as np
from differential.case import one_node
from differential.values import FLOATS, name, ordinary

WINDOWS = {
    "plain": {"kernel_shape": [2, 2]},
    "strides": {"kernel_shape": [3, 3], "strides": [2, 2]},
    "pads": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    "uneven": {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [0, 1, 1, 0]},
    "ceiling": {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
    "same": {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "dilated": {"kernel_shape": [2, 2], "dilations": [2, 2]},
}


def image(kind, group):
    kind = np.dtype(kind)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return np.linspace(limits.min, limits.max, 50).astype(kind)[np.random.default_rng(1).permutation(50)].reshape(1, 2, 5, 5)
    numbers = np.resize(ordinary(kind), 50).reshape(1, 2, 5, 5).copy()
    if group == "infinite":
        numbers[0, 0, 1, 2], numbers[0, 0, 4, 4], numbers[0, 1, :2, :2] = np.inf, -np.inf, -np.inf
    if group == "large":
        numbers[0, 0, 0, 0], numbers[0, 1, 3, 3], numbers[0, 0, 3, 1] = np.finfo(kind).max, -np.finfo(kind).max, np.finfo(kind).tiny
    if group == "nan":
        numbers[0, 0, 2, 2] = np.nan
    if group == "negative":
        numbers = -np.abs(numbers) - kind.type(1)
    return numbers


def pooled(x, combine, kernel_shape, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), ceil_mode=0, auto_pad=None):
    """The maxima or means of an image's windows; what lies beyond the image is not in any of them."""
    sizes, before = [], []
    for axis, (size, kernel, stride, dilation) in enumerate(zip(x.shape[2:], kernel_shape, strides, dilations)):
        reach = dilation * (kernel - 1) + 1
        if auto_pad:
            count = -(-size // stride)
            before.append(max((count - 1) * stride + reach - size, 0) // 2)
        else:
            first, last = pads[axis], pads[axis + 2]
            windows = (size + first + last - reach) / stride
            count = (math.ceil(windows) if ceil_mode else math.floor(windows)) + 1
            before.append(first)
        sizes.append(count)
    result = np.full((*x.shape[:2], *sizes), -np.inf, x.dtype)
    for row in range(sizes[0]):
        for column in range(sizes[1]):
            starts = row * strides[0] - before[0], column * strides[1] - before[1]
            places = [[start + step * dilation for step in range(kernel)] for start, kernel, dilation in zip(starts, kernel_shape, dilations)]
            rows, columns = ([place for place in axis if 0 <= place < size] for axis, size in zip(places, x.shape[2:]))
            result[:, :, row, column] = combine(x[:, :, rows][:, :, :, columns], axis=(2, 3))
    return result


def cases():
    for kind in FLOATS:
        for group in ("ordinary", "negative", "infinite", "large", "nan"):
            x = image(kind, group)
            for window, attributes in WINDOWS.items():
                variant = f"{name(kind)}_{group}_{window}"
                if group != "nan":
                    right = pooled(x, np.max, **attributes)
                    yield one_node(variant, "MaxPool", {"x": x}, right=right, accuracy="exact", opset=12, **attributes)
                for counted in (0, 1):
                    # onnxruntime ignores NaN in double precision alone, if padding does not count.
                    ignored = kind == np.float64 and group == "nan" and not counted
                    right = pooled(x, np.mean, **attributes) if ignored else None
                    # onnxruntime counts elements beyond the padding where the last window is cut off.
                    if window != "ceiling" or not counted:
                        yield one_node(f"{variant}_{counted}", "AveragePool", {"x": x}, right=right, opset=19, count_include_pad=counted, **attributes)
                if kind != np.float64 and group in ("ordinary", "negative") and window not in ("dilated", "ceiling"):
                    yield one_node(variant, "LpPool", {"x": x}, opset=11, p=2, **attributes)
            if group != "nan":
                yield one_node(f"{name(kind)}_{group}_indices", "MaxPool", {"x": x}, opset=12, outputs=2, **WINDOWS["strides"])
                yield one_node(f"{name(kind)}_{group}", "GlobalMaxPool", {"x": x})
            yield one_node(f"{name(kind)}_{group}", "GlobalAveragePool", {"x": x})
    for kind in (np.int8, np.uint8):
        x = image(kind, "ordinary")
        for window, attributes in WINDOWS.items():
            yield one_node(f"{name(kind)}_{window}", "MaxPool", {"x": x}, opset=12, **attributes)
    line = image(np.float32, "ordinary").reshape(1, 2, 25)
    volume = np.resize(line, (1, 2, 4, 5, 4))
    for rank, x in ((1, line), (3, volume)):
        for operator in ("MaxPool", "AveragePool"):
            attributes = {"kernel_shape": [2] * rank, "strides": [2] * rank, "pads": [1] * rank + [0] * rank}
            yield one_node(f"FP32_rank_{rank}", operator, {"x": x}, opset=12, **attributes)
