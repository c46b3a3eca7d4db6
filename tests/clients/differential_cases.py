"""Write a case for every operator that computes element by element, reduces, casts, normalises, pools, quantises or
indexes, with every element type and with hostile values, and for every other operator with each of its attributes. It
fails if the onnx package defines an operator that has neither a case nor a reason for that in `differential/coverage.py`.

    python differential_cases.py --output DIRECTORY [--disagreements]

`case_files.py` describes the files. The right outputs are NumPy's where a case has them, otherwise onnxruntime's, and
for what onnxruntime does not implement those of the reference evaluator of the onnx package. `--disagreements` prints
where onnxruntime differs from what is written.
"""

import argparse
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from case_files import CaseFiles, stored
from differential import attributes, casts, coverage, elementwise, indexing, movement, normalisation, pooling, quantisation, reductions

MODULES = [elementwise, casts, reductions, normalisation, pooling, quantisation, indexing, movement, attributes]

onnxruntime.set_default_logger_severity(4)


def by_onnxruntime(case, shapes):
    """The outputs of onnxruntime, or None if it does not implement the case."""
    if case.ends_onnxruntime:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # As the file has it: an optimisation would add errors of its own.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(case.model(shapes).SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, case.inputs)
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error) and "INVALID_GRAPH" not in str(error):
            print(f"{case.name}: {str(error)[:200]}")
        return None


def by_reference(case, shapes):
    """The outputs of the reference evaluator, or None if it does not implement the case."""
    try:
        return ReferenceEvaluator(case.model(shapes)).run(None, case.inputs)
    except Exception as error:
        print(f"{case.name}: {type(error).__name__} {str(error)[:200]}")
        return None


def with_types(case):
    """Arrays of the types and ranks of the outputs, inferred from the model with outputs of unknown ones."""
    unknown = case.model([np.zeros((), np.float32) for _ in case.output_names()])
    for output in unknown.graph.output:
        output.ClearField("type")
    inferred = onnx.shape_inference.infer_shapes(unknown, data_prop=True)
    if not all(output.type.tensor_type.elem_type and output.type.tensor_type.HasField("shape") for output in inferred.graph.output):
        return untyped(case, unknown)
    arrays = []
    for output in inferred.graph.output:
        kind = onnx.helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type)
        arrays.append(np.zeros([2] * len(output.type.tensor_type.shape.dim), kind))
    return arrays


def untyped(case, model):
    """The outputs of a model whose types do not follow from its file."""
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, case.inputs)
    except Exception:
        return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, case.inputs)]


def agrees(tolerances, actual, expected):
    """As tests/harness/difference.rs compares."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return False
    if expected.dtype == object or expected.dtype.kind in "biu":
        return bool(np.array_equal(actual, expected))
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    if tolerances.get("bitwise"):
        return bool(np.all(same & ((np.signbit(actual) == np.signbit(expected)) | np.isnan(expected))))
    distance = tolerances["atol"] + tolerances["rtol"] * np.abs(expected)
    with np.errstate(all="ignore"):
        near = np.isfinite(expected) & (np.abs(actual - expected) <= distance)
    return bool(np.all(same | near))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--disagreements", action="store_true")
    arguments = parser.parse_args()
    # The cases overflow and divide by zero on purpose.
    warnings.simplefilter("ignore")
    files = CaseFiles(arguments.output)
    for module in MODULES:
        for case in module.cases():
            shapes = case.right or with_types(case)
            right = case.right
            if right is None or arguments.disagreements:
                computed = by_onnxruntime(case, shapes)
                if right is None:
                    right = computed or by_reference(case, shapes)
                    if arguments.disagreements and computed:
                        computed = by_reference(case, shapes)
            if right is None:
                print(f"{case.name}: nothing computes it")
                continue
            right = [np.asarray(array) for array in right]
            right = [array.astype(object) if array.dtype.kind in "US" else array for array in right]
            tolerances = case.tolerances(right)
            if arguments.disagreements and computed:
                for actual, expected in zip(computed, right):
                    actual = np.asarray(actual)
                    if not agrees(tolerances, actual, expected):
                        print(f"{case.name}: {describe(case, actual, expected)}")
            write(files, case, right, tolerances)
    coverage.check({entry["name"].split("/")[0] for entry in files.entries})
    files.finish()


def describe(case, actual, expected):
    """The first difference, with the inputs there if the operator is elementwise."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return f"{actual.dtype} {actual.shape}, not {expected.dtype} {expected.shape}"
    differ = np.flatnonzero(~((actual == expected) | ((actual != actual) & (expected != expected))))
    worst = []
    for place in differ[:400]:
        here = [array.flat[place] for array in case.inputs.values() if array.shape == actual.shape]
        if not agrees(case.tolerances([expected]), actual.flat[place : place + 1].copy(), expected.flat[place : place + 1].copy()):
            worst.append(f"{here} {actual.flat[place]} not {expected.flat[place]}")
    return "; ".join(worst[:4]) + f" ({len(worst)})"


def write(files, case, right, tolerances):
    blob = bytearray()
    names = case.output_names()
    entry = {
        "name": case.name,
        "inputs": [stored(name, array, blob) for name, array in case.inputs.items()],
        "outputs": [stored(name, array, blob) for name, array in zip(names, right)],
        **tolerances,
    }
    if case.also_right:
        entry["also_right"] = [stored(name, array, blob) for name, array in zip(names, case.also_right)]
    files.add(entry, case.model(right), blob)


if __name__ == "__main__":
    main()
