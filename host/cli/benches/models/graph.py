"""The model in the directory BENCH_MODEL in onnxruntime with one thread, and what one request for it holds."""

import json
import math
import os
from pathlib import Path

import numpy
import onnxruntime

DIRECTORY = Path(os.environ["BENCH_MODEL"])
DTYPES = {"FP32": numpy.dtype("f4"), "INT64": numpy.dtype("i8")}

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(DIRECTORY / "model.onnx", _options, providers=["CPUExecutionProvider"])

# Name, type and shape of one row of each input.
INPUTS = [
    (described["name"], DTYPES[described["datatype"]], described["shape"][1:])
    for described in json.loads((DIRECTORY / "inputs.json").read_text())
]
OUTPUTS = [(output.name, output.type) for output in session.get_outputs()]
_ROW_BYTES = sum(dtype.itemsize * math.prod(row) for _, dtype, row in INPUTS)


def from_bytes(content):
    """The inputs by name, out of their bytes one after the other. Nothing is copied."""
    rows, offset, inputs = len(content) // _ROW_BYTES, 0, {}
    for name, dtype, row in INPUTS:
        count = rows * math.prod(row)
        inputs[name] = numpy.frombuffer(content, dtype, count, offset).reshape(rows, *row)
        offset += count * dtype.itemsize
    return inputs
