"""The values that the cases consist of: ordinary ones, and those where implementations go wrong."""

import numpy as np
from ml_dtypes import bfloat16

FLOATS = (np.float16, np.float32, np.float64)
SIGNED = (np.int8, np.int16, np.int32, np.int64)
UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)
INTEGERS = SIGNED + UNSIGNED
NUMBERS = FLOATS + INTEGERS

NAMES = {
    np.dtype(np.bool_): "BOOL",
    np.dtype(bfloat16): "BF16",
    np.dtype(object): "BYTES",
    **{np.dtype(kind): f"FP{np.dtype(kind).itemsize * 8}" for kind in FLOATS},
    **{np.dtype(kind): f"INT{np.dtype(kind).itemsize * 8}" for kind in SIGNED},
    **{np.dtype(kind): f"UINT{np.dtype(kind).itemsize * 8}" for kind in UNSIGNED},
}

# Around these, exponentials and their sums overflow or vanish, in half, single and double precision.
TURNING_POINTS = [9, 10, 11, 12, 15, 17, 20, 40, 44, 87, 88, 89, 90, 103, 104, 105, 708, 709, 710, 745, 746]


def name(kind):
    return NAMES[np.dtype(kind)]


def ordinary(kind):
    """Values that every implementation computes with."""
    kind = np.dtype(kind)
    if kind == object:
        return np.array(["", "a", "Köln", "two words"], object)
    if kind == np.bool_:
        return np.array([True, False, False, True])
    if kind.kind == "u":
        return np.array([0, 1, 2, 3, 7, 100], kind)
    if kind.kind == "i":
        return np.array([-100, -7, -2, -1, 0, 1, 2, 3, 7, 100], kind)
    return np.array([-3.7, -2, -1.5, -1, -0.75, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.25, 2, 2.5, 3.7], kind)


def hostile(kind):
    """Special, extreme and inconvenient values. All are distinct."""
    kind = np.dtype(kind)
    if kind.kind in "iu":
        return extreme_integers(kind)
    if kind.kind == "b" or kind == object:
        return ordinary(kind)
    limits = np.finfo(kind)
    finite = [2.0**31, 2.0**32, 3e9, 2.0**53, 2.0**24 + 1, 65504, 1e-3, 1e-5, 1 / 3, 0.5, 1, 1.5, 2.5, *TURNING_POINTS]
    finite += [float(limit) for limit in (limits.max, limits.tiny, limits.smallest_subnormal, limits.eps)]
    with np.errstate(over="ignore"):
        numbers = np.array(finite, np.float64).astype(kind)
    numbers = numbers[np.isfinite(numbers) & (numbers != 0)]
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], kind)
    return np.concatenate([special, numbers, -numbers])


def finite(kind):
    numbers = hostile(kind)
    return numbers[np.isfinite(numbers)]


def extreme_integers(kind):
    limits = np.iinfo(kind)
    powers = [sign * (2**power + off) for power in (7, 8, 15, 16, 24, 31, 32, 53, 63) for off in (-1, 0, 1) for sign in (1, -1)]
    numbers = [0, 1, 2, 3, 200, 3_000_000_000, -1, -2, -3, -3_000_000_000, *powers]
    numbers += [limits.min, limits.min + 1, limits.max - 1, limits.max]
    return np.array(sorted({number for number in numbers if limits.min <= number <= limits.max}), kind)


def chosen(kind):
    """A few of the hostile values, for operators that take pairs."""
    kind = np.dtype(kind)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        numbers = {limits.min, limits.min + 1, -200, -1, 0, 1, 2, 3, 100, 200, 2**31, limits.max // 2, limits.max - 1, limits.max}
        return np.array(sorted(number for number in numbers if limits.min <= number <= limits.max), kind)
    limits = np.finfo(kind)
    numbers = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 0.5, -2, 3, limits.max, -limits.max, limits.tiny, limits.eps]
    return np.array(numbers, kind)


def pairs(first, second):
    """All pairs of elements, as two arrays of the same length."""
    return np.repeat(first, len(second)), np.tile(second, len(first))


def groups(kind):
    """The ordinary and the hostile values of a type, each with its name."""
    yield "ordinary", ordinary(kind)
    if np.dtype(kind).kind in "iuf":
        yield "hostile", hostile(kind)
