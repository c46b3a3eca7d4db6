#!/usr/bin/env python3
"""Write the small models that the matrix asks.

    models.py REPOSITORY

`calc` has two inputs, two outputs, a variable axis besides the batch and two versions, of which the second
adds a thousand to the sum; `double` has one input of known size, and `half` is the same in FP16.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def write(version, nodes, inputs, outputs, constants, datatype=FLOAT):
    def declared(shapes):
        return [helper.make_tensor_value_info(name, datatype, ["batch", *shape]) for name, shape in shapes.items()]

    constants = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", declared(inputs), declared(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    version.mkdir(parents=True)
    onnx.save(model, version / "model.onnx")


def make(repository):
    for version, offset in (("1", 0), ("2", 1000)):
        nodes = [
            helper.make_node("Add", ["a", "b"], ["plain"]),
            helper.make_node("Add", ["plain", "offset"], ["sum"]),
            helper.make_node("Sub", ["a", "b"], ["difference"]),
        ]
        constants = {"offset": np.array(offset, np.float32)}
        write(repository / "calc" / version, nodes, {"a": ["n"], "b": ["n"]}, {"sum": ["n"], "difference": ["n"]}, constants)
    (repository / "calc" / "model.toml").write_text('versions = "all"\n', encoding="utf-8")
    twice = [helper.make_node("Add", ["x", "x"], ["y"])]
    write(repository / "double" / "1", twice, {"x": [4]}, {"y": [4]}, {})
    write(repository / "half" / "1", twice, {"x": [4]}, {"y": [4]}, {}, HALF)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
