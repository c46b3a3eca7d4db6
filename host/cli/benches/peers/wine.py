"""What the handler of `wine` does, in numpy, and its graph in onnxruntime with one thread."""

import os
import re

import numpy
import onnxruntime

CLASSES = ["class_0", "class_1", "class_2"]

_ROW = re.compile(r'name: "(\w+)", mean: (\S+), std: (\S+), min: (\S+), max: (\S+) }')

with open(os.environ["WINE_FEATURES"]) as table:
    _FEATURES = _ROW.findall(table.read())
assert len(_FEATURES) == 13, _FEATURES
NAMES = [row[0] for row in _FEATURES]
MEAN, STD, MIN, MAX = numpy.array([row[1:] for row in _FEATURES], "f4").T


class Wine:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["WINE_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    def predict(self, rows):
        """The classes and the probabilities of rows of features, FP32 [-1, 13]."""
        absurd = ~((rows >= MIN) & (rows <= MAX))
        if absurd.any():
            row, column = numpy.argwhere(absurd)[0]
            raise ValueError(f"feature `{NAMES[column]}` of row {row} is not plausible")
        inputs = {"features": (rows - MEAN) / STD}
        (probabilities,) = self.session.run(["probabilities"], inputs)
        return [CLASSES[best] for best in probabilities.argmax(axis=1)], probabilities
