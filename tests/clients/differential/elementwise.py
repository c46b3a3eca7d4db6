"""Elementwise operators. The right values are NumPy's, in double precision where the elements are floats."""

import math

import numpy as np
from differential.case import narrow, one_node, wide
from differential.values import FLOATS, INTEGERS, NUMBERS, SIGNED, UNSIGNED, chosen, groups, hostile, name, ordinary, pairs

ERF = np.vectorize(math.erf, otypes=[np.float64])


def softplus(x):
    return np.where(x > 0, x + np.log1p(np.exp(-np.abs(x))), np.log1p(np.exp(x)))


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


# The operators of one float: accuracy, version of the operators, attributes, function, and values that are left out
# because ONNX does not define what becomes of them, or defines a difference or product of infinities.
LIMITS = [np.inf, -np.inf]
UNARY = {
    "Abs": ("bits", 17, {}, np.abs, []),
    "Neg": ("bits", 17, {}, np.negative, []),
    "Ceil": ("exact", 17, {}, np.ceil, []),
    "Floor": ("exact", 17, {}, np.floor, []),
    "Round": ("exact", 17, {}, np.rint, []),
    "Sqrt": ("exact", 17, {}, np.sqrt, []),
    "Reciprocal": ("exact", 17, {}, lambda x: 1 / x, []),
    "Relu": ("exact", 17, {}, lambda x: np.maximum(x, 0), []),
    "Sign": ("exact", 17, {}, np.sign, []),
    "LeakyRelu": ("near", 17, {"alpha": 0.1}, lambda x: np.where(x < 0, np.float32(0.1) * x, x), []),
    "Exp": ("near", 17, {}, np.exp, []),
    "Log": ("near", 17, {}, np.log, []),
    "Sin": ("near", 17, {}, np.sin, []),
    "Cos": ("near", 17, {}, np.cos, []),
    "Tan": ("near", 17, {}, np.tan, []),
    "Asin": ("near", 17, {}, np.arcsin, []),
    "Acos": ("near", 17, {}, np.arccos, []),
    "Atan": ("near", 17, {}, np.arctan, []),
    "Sinh": ("near", 17, {}, np.sinh, []),
    "Cosh": ("near", 17, {}, np.cosh, []),
    "Tanh": ("near", 17, {}, np.tanh, []),
    "Asinh": ("near", 17, {}, np.arcsinh, []),
    "Acosh": ("near", 17, {}, np.arccosh, []),
    "Atanh": ("near", 17, {}, np.arctanh, []),
    "Erf": ("near", 17, {}, ERF, []),
    "Sigmoid": ("near", 17, {}, sigmoid, []),
    "HardSigmoid": ("near", 17, {"alpha": 0.25}, lambda x: np.clip(0.25 * x + 0.5, 0, 1), []),
    "HardSwish": ("near", 17, {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1), LIMITS),
    "Elu": ("near", 17, {}, elu, []),
    "Celu": ("near", 17, {"alpha": 2.0}, lambda x: elu(x / 2) * 2, []),
    "Selu": ("near", 17, {"alpha": 1.5, "gamma": 2.0}, lambda x: 2 * elu(x, 1.5), []),
    "Softplus": ("near", 17, {}, softplus, []),
    "Softsign": ("near", 17, {}, lambda x: x / (1 + np.abs(x)), LIMITS),
    "ThresholdedRelu": ("near", 17, {"alpha": 0.5}, lambda x: np.where(x > 0.5, x, 0), [np.nan]),
    "Shrink": ("near", 17, {"lambd": 0.5, "bias": 0.25}, lambda x: np.where(x < -0.5, x + 0.25, np.where(x > 0.5, x - 0.25, 0)), [np.nan]),
    "Mish": ("near", 18, {}, lambda x: x * np.tanh(softplus(x)), LIMITS),
    "Gelu": ("near", 20, {}, lambda x: 0.5 * x * (1 + ERF(x / np.sqrt(2))), LIMITS),
}


def without(array, left_out):
    for value in left_out:
        array = array[~((array == value) | (np.isnan(array) & np.isnan(value)))]
    return array


def unary():
    for operator, (accuracy, opset, attributes, function, left_out) in UNARY.items():
        for kind in FLOATS:
            for group, x in groups(kind):
                x = without(x, left_out)
                right = narrow(function(wide(x)), kind)
                yield one_node(f"{name(kind)}_{group}", operator, {"x": x}, right=right, accuracy=accuracy, opset=opset, **attributes)
    for kind in FLOATS:
        x = without(hostile(kind), LIMITS)
        right = narrow(gelu_tanh(wide(x)), kind)
        yield one_node(f"{name(kind)}_tanh", "Gelu", {"x": x}, right=right, accuracy="rough", opset=20, approximate="tanh")
    for kind in (np.float16, np.float32):
        x = hostile(kind)
        for positive, negative in [(1, 1), (1, 0), (0, 1)]:
            right = (np.isposinf(x) & bool(positive)) | (np.isneginf(x) & bool(negative))
            attributes = {"detect_positive": positive, "detect_negative": negative}
            yield one_node(f"{name(kind)}_{positive}{negative}", "IsInf", {"x": x}, right=right, opset=20, **attributes)
        yield one_node(name(kind), "IsNaN", {"x": x}, right=np.isnan(x), opset=20)
    for kind in INTEGERS:
        for group, x in groups(kind):
            variant = f"{name(kind)}_{group}"
            yield one_node(variant, "Abs", {"x": x}, right=np.abs(x))
            yield one_node(variant, "Sign", {"x": x}, right=np.sign(x).astype(kind))
            yield one_node(variant, "BitwiseNot", {"x": x}, right=np.invert(x), opset=18)
            if kind in SIGNED:
                yield one_node(variant, "Neg", {"x": x}, right=np.negative(x))
                yield one_node(variant, "Relu", {"x": x}, right=np.maximum(x, 0).astype(kind))


def divided(x, y):
    """The quotient towards zero; the smallest number by -1 is itself."""
    quotient = np.floor_divide(x, y)
    return (quotient + ((quotient < 0) & (quotient * y != x))).astype(x.dtype)


def powers(x, y):
    return np.power(wide(x), wide(y))


# The operators of two floats and two integers of a type.
BINARY = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Max": np.maximum,
    "Min": np.minimum,
}
COMPARISONS = {
    "Equal": np.equal,
    "Greater": np.greater,
    "Less": np.less,
    "GreaterOrEqual": np.greater_equal,
    "LessOrEqual": np.less_equal,
}


def binary():
    for kind in NUMBERS:
        for group, numbers in (("ordinary", ordinary(kind)), ("hostile", chosen(kind))):
            x, y = pairs(numbers, numbers)
            both = {"x": x, "y": y}
            variant = f"{name(kind)}_{group}"
            is_float = kind in FLOATS
            widened = (wide(x), wide(y)) if kind in (np.float16, np.float32) else (x, y)
            for operator, function in BINARY.items():
                yield one_node(variant, operator, both, right=narrow(function(*widened), kind), accuracy="exact")
            for operator, function in COMPARISONS.items():
                yield one_node(variant, operator, both, right=function(x, y))
            if is_float:
                yield one_node(variant, "Div", both, right=narrow(np.divide(*widened), kind), accuracy="exact")
                yield one_node(variant, "Pow", both, right=narrow(powers(x, y), kind))
                yield one_node(variant, "PRelu", both, right=narrow(np.where(x < 0, x * wide(y), x), kind))
                remainder = narrow(np.fmod(*widened), kind)
                yield one_node(f"{variant}_fmod", "Mod", both, right=remainder, accuracy="exact", fmod=1)
                yield one_node(variant, "Sum", {**both, "z": x}, right=narrow(widened[0] + widened[1] + widened[0], kind))
                continue
            # A division by zero has no right value; tests/hostile_values.rs has it refused.
            x, y = pairs(numbers, numbers[numbers != 0])
            both = {"x": x, "y": y}
            division = one_node(variant, "Div", both, right=divided(x, y))
            division.ends_onnxruntime = True
            yield division
            for fmod, function in ((0, np.mod), (1, np.fmod)):
                remainder = one_node(f"{variant}_{'fmod' if fmod else 'mod'}", "Mod", both, right=function(x, y), fmod=fmod)
                remainder.ends_onnxruntime = True
                yield remainder
            for operator, function in (("BitwiseAnd", np.bitwise_and), ("BitwiseOr", np.bitwise_or), ("BitwiseXor", np.bitwise_xor)):
                yield one_node(variant, operator, both, right=function(x, y), opset=18)
    for kind in UNSIGNED:
        bits = np.dtype(kind).itemsize * 8
        x, y = pairs(chosen(kind), np.array([0, 1, 3, bits - 1], kind))
        for direction, function in (("LEFT", np.left_shift), ("RIGHT", np.right_shift)):
            yield one_node(f"{name(kind)}_{direction}", "BitShift", {"x": x, "y": y}, right=function(x, y), direction=direction)
    truths = pairs(np.array([True, False]), np.array([True, False]))
    for operator, function in (("And", np.logical_and), ("Or", np.logical_or), ("Xor", np.logical_xor), ("Equal", np.equal)):
        yield one_node("BOOL", operator, dict(zip("xy", truths)), right=function(*truths))
    yield one_node("BOOL", "Not", {"x": truths[0]}, right=~truths[0])
    strings = pairs(ordinary(object), ordinary(object))
    yield one_node("BYTES", "Equal", dict(zip("xy", strings)), right=np.array(strings[0] == strings[1], bool), opset=19)
    for kind, exponent in ((np.float32, np.int64), (np.float32, np.int32), (np.int32, np.int32), (np.int64, np.int64), (np.int32, np.float32), (np.int64, np.float32)):
        x, y = pairs(ordinary(kind), np.array([0, 1, 2, 3], exponent))
        yield one_node(f"{name(kind)}_to_{name(exponent)}", "Pow", {"x": x, "y": y}, right=narrow(powers(x, y), kind))


def clipped():
    for kind in NUMBERS:
        low, high = np.array(2, kind), np.array(100, kind)
        for group, x in groups(kind):
            bounds = {"low": low, "high": high}
            variant = f"{name(kind)}_{group}"
            yield one_node(variant, "Clip", {"x": x}, constants=bounds, right=np.clip(x, low, high), accuracy="exact")
            # ONNX bounds by the largest finite number where no bound is given; an infinity is right as well.
            largest = np.finfo(kind).max if kind in FLOATS else np.iinfo(kind).max
            right, bounded = np.maximum(x, low), np.clip(x, low, largest)
            yield one_node(f"{variant}_low", "Clip", {"x": x}, constants={"low": low}, right=right, also_right=[bounded], accuracy="exact")
            inputs = {"x": x, **bounds}
            yield one_node(f"{variant}_given", "Clip", inputs, right=np.clip(x, low, high), accuracy="exact")
    x = hostile(np.float32)
    yield one_node("FP32_attributes", "Clip", {"x": x}, right=np.clip(x, np.float32(-10), np.float32(10)), opset=6, min=-10.0, max=10.0)


def cases():
    with np.errstate(all="ignore"):
        yield from unary()
        yield from binary()
        yield from clipped()
