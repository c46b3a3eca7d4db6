#!/usr/bin/env python3
"""Write the models that the clients in Triton's own repositories are tested with.

    triton_models.py REPOSITORY

`simple` adds and subtracts INT32, as in Triton's examples, in batches of up to eight; `simple_int8` is the same for
INT8, `unbatched` without a batch axis, and `variable` for rows of any length in FP32. `simple_string` is `simple` for
numbers that are written as strings, and `simple_identity` returns rows of strings. `strings` and `flags` return what they are given: strings, and booleans negated. `yolo` has the input, the
output and the metadata of a detector that Ultralytics has exported.
"""

import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

# What Ultralytics writes to `parameters` of `config.pbtxt`.
METADATA = {"task": "detect", "stride": 32, "imgsz": [64, 64], "names": {0: "person", 1: "traffic light"}}


def write(folder, nodes, inputs, outputs, settings=""):
    def declared(tensors):
        return [helper.make_tensor_value_info(name, *tensor) for name, tensor in tensors.items()]

    graph = helper.make_graph(nodes, "graph", declared(inputs), declared(outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    (folder / "1").mkdir(parents=True)
    onnx.save(model, folder / "1" / "model.onnx")
    (folder / "model.toml").write_text(settings, encoding="utf-8")


def make(repository):
    arithmetic = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]

    def pair(kind, *tensor):
        return {f"{kind}{index}": tensor for index in (0, 1)}

    for name, datatype, shape, settings in (
        ("simple", TensorProto.INT32, ["batch", 16], "max_batch_size = 8\n"),
        ("simple_int8", TensorProto.INT8, ["batch", 16], "max_batch_size = 8\n"),
        ("unbatched", TensorProto.INT32, [16], ""),
        ("variable", TensorProto.FLOAT, ["batch", "n"], ""),
    ):
        write(repository / name, arithmetic, pair("INPUT", datatype, shape), pair("OUTPUT", datatype, shape), settings)
    # In Triton's example as here, the numbers are read from the strings and written as such.
    parsed = [helper.make_node("Cast", [f"INPUT{i}"], [f"number{i}"], to=TensorProto.INT32) for i in (0, 1)]
    computed = [
        helper.make_node(operator, ["number0", "number1"], [f"result{i}"])
        for i, operator in enumerate(("Add", "Sub"))
    ]
    written = [helper.make_node("Cast", [f"result{i}"], [f"OUTPUT{i}"], to=TensorProto.STRING) for i in (0, 1)]
    strings = (TensorProto.STRING, ["batch", 16])
    write(repository / "simple_string", parsed + computed + written, pair("INPUT", *strings), pair("OUTPUT", *strings))
    rows = (TensorProto.STRING, ["batch", "n"])
    copied = helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])
    write(repository / "simple_identity", [copied], {"INPUT0": rows}, {"OUTPUT0": rows}, "max_batch_size = 8\n")
    for name, operator, datatype in (("strings", "Identity", TensorProto.STRING), ("flags", "Not", TensorProto.BOOL)):
        one, node = (datatype, ["batch", 16]), helper.make_node(operator, ["INPUT0"], ["OUTPUT0"])
        write(repository / name, [node], {"INPUT0": one}, {"OUTPUT0": one})
    # Four numbers of a box and a score for each class, at each of the cells of one scale.
    means = [
        helper.make_node("AveragePool", ["images"], ["cells"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Concat", ["cells", "cells"], ["features"], axis=1),
        helper.make_node("Flatten", ["features"], ["flat"], axis=2),
        helper.make_node("Reshape", ["flat", "shape"], ["output0"]),
    ]
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[1, 6, 4])
    write(
        repository / "yolo",
        [shape, *means],
        {"images": (TensorProto.FLOAT, [1, 3, 64, 64])},
        {"output0": (TensorProto.FLOAT, [1, 6, 4])},
        f'[parameters]\nmetadata = """{METADATA}"""\n',
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]))
