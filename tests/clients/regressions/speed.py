"""Pairs of models that do the same work, of which one was computed many times as slowly as the other."""

import numpy as np
from onnx import TensorProto, helper
from regressions.graph import declared, model, numbers, weights

node = helper.make_node
KINDS = {"float16": (TensorProto.FLOAT16, np.float16), "float32": (TensorProto.FLOAT, np.float32)}


def convolution(kind):
    declared_type, dtype = KINDS[kind]
    nodes = [node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    shape = [1, 16, 28, 28]
    constants = {"w": weights(5, 16, 16, 3, 3).astype(dtype)}
    return model(nodes, [declared("x", shape, declared_type)], [declared("y", shape, declared_type)], constants), {
        "x": numbers(6, *shape).astype(dtype)
    }


def cases():
    for kind in KINDS:
        yield f"speed/convolution_{kind}", *convolution(kind), None
