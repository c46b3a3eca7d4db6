"""The model in the directory BENCH_MODEL in onnxruntime with one thread, and what one request for it holds."""

import json
import math
import os
from pathlib import Path

import numpy
import onnxruntime

DIRECTORY = Path(os.environ["BENCH_MODEL"])
DTYPES = {"FP32": numpy.dtype("f4"), "INT64": numpy.dtype("i8"), "INT32": numpy.dtype("i4")}

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(DIRECTORY / "model.onnx", _options, providers=["CPUExecutionProvider"])

# Name, type and shape of each input for one row.
_SHAPES = [
    (described["name"], DTYPES[described["datatype"]], described["shape"])
    for described in json.loads((DIRECTORY / "inputs.json").read_text())
]
# Name, type and shape of one row of each input.
INPUTS = [(name, dtype, shape[1:]) for name, dtype, shape in _SHAPES]
OUTPUTS = [(output.name, output.type) for output in session.get_outputs()]
_ROW_BYTES = sum(dtype.itemsize * math.prod(shape) for _, dtype, shape in _SHAPES)


def from_bytes(content):
    """The inputs by name, out of their bytes one after the other. Nothing is copied."""
    rows, offset, inputs = len(content) // _ROW_BYTES, 0, {}
    for name, dtype, shape in _SHAPES:
        count = rows * math.prod(shape)
        # The first axis of a state is not the batch, and a number has no axis: these have one row.
        whole = [rows * shape[0], *shape[1:]] if shape else []
        inputs[name] = numpy.frombuffer(content, dtype, count, offset).reshape(whole)
        offset += count * dtype.itemsize
    return inputs
