"""Casts between every two element types.

A float outside of the range of an integer type has no defined value there, so such floats are left out. Integers
wrap around, as NumPy's and onnxruntime's do.
"""

import numpy as np
from differential.case import narrow, one_node
from differential.values import FLOATS, INTEGERS, extreme_integers, hostile, name, ordinary
from ml_dtypes import bfloat16
from onnx import helper


def sources(kind, target):
    if kind == np.bool_:
        return np.array([True, False])
    if kind in INTEGERS:
        return extreme_integers(kind)
    numbers = hostile(np.float32).astype(kind) if kind == bfloat16 else hostile(kind)
    if target in INTEGERS:
        limits = np.iinfo(target)
        wide = numbers.astype(np.float64)
        # The bounds themselves may not be representable as floats, so the largest are below the power of two.
        numbers = numbers[(wide >= float(limits.min)) & (wide < 2.0 ** (int(limits.max).bit_length()))]
    return numbers


def converted(x, target):
    if target == np.bool_:
        return x.astype(np.float64) != 0 if x.dtype == bfloat16 else x != 0
    if target == bfloat16:
        return x.astype(np.float32).astype(bfloat16)
    return narrow(x.astype(np.float64) if x.dtype == bfloat16 else x, target)


def cases():
    kinds = (np.bool_, bfloat16) + FLOATS + INTEGERS
    for kind in kinds:
        for target in kinds:
            if kind == target:
                continue
            # A number of more digits would be rounded twice, by way of a float of 32 bits.
            twice = target in (bfloat16, np.float16) and kind not in (np.bool_, np.float32, np.float16, bfloat16, np.int8, np.uint8)
            x = sources(kind, target)
            to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
            accuracy = "exact" if twice or target == np.float16 else "bits"
            yield one_node(f"{name(kind)}_to_{name(target)}", "Cast", {"x": x}, right=converted(x, target), accuracy=accuracy, to=to)
            if kind == np.float32 or target == np.int64:
                like = np.zeros(1, target)
                yield one_node(
                    f"{name(kind)}_to_{name(target)}", "CastLike", {"x": x}, constants={"like": like}, right=converted(x, target), accuracy=accuracy, opset=19
                )
    numbers = ["0", "-1", "1.5", "1e-7", "-1E+5", "123456789", "NaN", "INF", "-INF"]
    for target in (np.float32, np.float64):
        right = np.array([float(number) for number in numbers]).astype(target)
        to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
        yield one_node(f"BYTES_to_{name(target)}", "Cast", {"x": np.array(numbers, object)}, right=right, to=to)
    integers = ["0", "-1", "2147483648", "9007199254740993", "-9223372036854775808"]
    right = np.array([int(number) for number in integers], np.int64)
    yield one_node("BYTES_to_INT64", "Cast", {"x": np.array(integers, object)}, right=right, to=helper.TensorProto.INT64)
    x = extreme_integers(np.int64)
    right = np.array([str(number) for number in x], object)
    yield one_node("INT64_to_BYTES", "Cast", {"x": x}, right=right, to=helper.TensorProto.STRING)
    # As onnxruntime prints them: with eight digits, and infinities in capitals.
    special = {"nan": "NaN", "inf": "INF", "-inf": "-INF"}
    for kind in (np.float32, np.float64):
        x = np.concatenate([ordinary(kind), hostile(kind)])
        printed = [f"{float(number):.8g}" for number in x]
        right = np.array([special.get(number, number) for number in printed], object)
        yield one_node(f"{name(kind)}_to_BYTES", "Cast", {"x": x}, right=right, to=helper.TensorProto.STRING)
    right = np.array(["1", "0"], object)
    yield one_node("BOOL_to_BYTES", "Cast", {"x": np.array([True, False])}, right=right, to=helper.TensorProto.STRING)
