"""identity_models.py DIRECTORY: small graphs with every element type, and such as hand on what they are given."""
import pathlib
import sys

import onnx
from onnx import TensorProto, helper

TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def save(directory, name, graph):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, directory / f"{name}.onnx")


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    for name, element_type in TYPES.items():
        x = helper.make_tensor_value_info("x", element_type, ["n", 2])
        y = helper.make_tensor_value_info("y", element_type, ["n", 2])
        save(directory, name, helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], name, [x], [y]))
    # An input that is an output, besides one that is computed.
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    save(directory, "handed_on", helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [x], [x, y]))
    # Sizes that the signature allows and the operator does not.
    a = helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n"])
    b = helper.make_tensor_value_info("b", TensorProto.FLOAT, ["m"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["k"])
    save(directory, "sum", helper.make_graph([helper.make_node("Add", ["a", "b"], ["y"])], "g", [a, b], [y]))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
