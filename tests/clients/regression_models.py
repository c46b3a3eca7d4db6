"""Write small models that once were refused or computed wrongly, with what is right.

    python regression_models.py --output DIRECTORY

`case_files.py` describes the files. The right outputs are onnxruntime's, or NumPy's where a function says so. Models
that nothing can compute are in `refused/`.
"""

import argparse
import pathlib

import numpy as np
import onnxruntime

from case_files import CaseFiles
from regressions import attributes, quantised, shapes, speed, values

# The allowed difference of a float. Numbers of 16 bits are rounded after each operator, or not.
TOLERANCES = {np.dtype(np.float32): (1e-4, 1e-5), np.dtype(np.float16): (4e-3, 4e-3)}

# Only onnxruntime computes these: a shape follows from the values of a request.
NOT_EMBEDDED = "shapes/unknown_rank_"

# The steps of quantised results, by a part of the name: onnxruntime's own fused softmax is off by one, and
# a state that lies between two steps is rounded either way.
STEPS = {
    "quantised/Softmax_back": 0.0039, "quantised/LogSoftmax_back": 0.05, "Softmax_bytes": 1, "QGemm_bytes": 1,
    "bias_bytes": 1, "transposed_bytes": 1, "quantised/lstm": 0.01,
}

onnxruntime.set_default_logger_severity(4)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    files = CaseFiles(parser.parse_args().output)
    for module in (values, shapes, quantised, speed, attributes):
        for name, model, inputs, right in module.cases():
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            computed = session.run(None, inputs)
            names = [output.name for output in session.get_outputs()]
            if right is None:
                right = computed
            kinds = [array.dtype for array in right if array.dtype in TOLERANCES]
            rtol, atol = TOLERANCES[min(kinds, key=lambda kind: kind.itemsize)] if kinds else (0, 0)
            atol += next((step for part, step in STEPS.items() if part in name), 0)
            for actual, expected in zip(computed, right):
                assert actual.shape == expected.shape, name
                np.testing.assert_allclose(actual, expected, rtol=max(rtol, 1e-6), atol=atol, err_msg=name)
            outputs = dict(zip(names, right))
            files.add_computed(name, model, inputs, outputs, served=not name.startswith(NOT_EMBEDDED), strict=True, rtol=rtol, atol=atol)
    refused = files.directory / "refused"
    refused.mkdir()
    for name, model in shapes.refused():
        (refused / f"{name}.onnx").write_bytes(model.SerializeToString())
    files.finish()


if __name__ == "__main__":
    main()
