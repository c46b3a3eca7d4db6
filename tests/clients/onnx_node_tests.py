"""Write the models that the onnx package tests backends with, and what they have to compute.

    python onnx_node_tests.py --output DIRECTORY

The node tests (one model or more for each operator and attribute), the same ones with all inputs but the
first as constants, the small models that PyTorch exported, and the light topologies (AlexNet, ResNet and so
on, whose weights are all the same). `case_files.py` describes the files; those of a case are called `<kind>/<name>`.
"""

import argparse
import pathlib
import warnings

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

from case_files import DATATYPES, CaseFiles, NotServable, stored

# A tolerance of two units in the last place, as the package's own runner has it.
BFLOAT16_RTOL = 2**-6

# What these compute differs from run to run; the package has what NumPy's generator made of it.
RANDOM = ("test_training_dropout", "test_bernoulli")


def datatype(declared):
    """The V2 datatype of an input or output, as the model declares it."""
    kind = declared.type.WhichOneof("value")
    if kind != "tensor_type":
        raise NotServable(f"`{declared.name}` is of {(kind or 'no type').removesuffix('_type')}")
    element = declared.type.tensor_type.elem_type
    if element not in DATATYPES:
        raise NotServable(f"`{declared.name}` is of {TensorProto.DataType.Name(element)}")
    return DATATYPES[element]


def tensors(declarations, values, blob):
    """Describe the values of these inputs or outputs, and append them to `blob`."""
    assert len(declarations) == len(values), "a value for each"
    described = []
    for declared, value in zip(declarations, values):
        name = declared.name
        if not name:
            raise NotServable("an input or output has no name")
        declared_datatype = datatype(declared)
        if value is None or isinstance(value, list):
            raise NotServable(f"`{name}` is absent or a list")
        if isinstance(value, TensorProto):
            value = numpy_helper.to_array(value)
        described.append(stored(name, value, blob))
        actual = described[-1]["datatype"]
        assert actual == declared_datatype, f"{name} is {actual}, not {declared_datatype}"
    return described


def initialised(graph):
    return {tensor.name for tensor in graph.initializer}


def required(graph):
    """The inputs that have no default."""
    return [value for value in graph.input if value.name not in initialised(graph)]


def node_cases():
    for case in collect_testcases(None):
        (values,) = case.data_sets
        yield "node", case, case.model, values


def constant_cases():
    """The node tests as exporters would write them: axes, shapes and weights are seldom inputs."""
    for kind, case, model, (inputs, outputs) in node_cases():
        graph = model.graph
        tensors = all(value.type.HasField("tensor_type") for value in graph.input)
        if len(graph.input) < 2 or not tensors or not all(map(is_constant, inputs[1:])):
            continue
        for declared, value in zip(graph.input[1:], inputs[1:]):
            if not isinstance(value, TensorProto):
                value = numpy_helper.from_array(np.asarray(value))
            graph.initializer.add().CopyFrom(value)
            graph.initializer[-1].name = declared.name
        del graph.input[1:]
        yield "constant", case, model, (inputs[:1], outputs)


def is_constant(value):
    return value is not None and not isinstance(value, list)


def read_tensor(path):
    tensor = TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return tensor


def stored_cases(kind):
    """The cases that lie in the package as files; the first set of values of each."""
    for case in sorted(load_model_tests(kind=kind), key=lambda case: case.name):
        directory = pathlib.Path(case.model_dir)
        model = onnx.load(directory / "model.onnx")
        values = directory / "test_data_set_0"
        inputs = sorted(values.glob("input_*.pb"), key=number)
        outputs = sorted(values.glob("output_*.pb"), key=number)
        try:
            given = ([read_tensor(path) for path in inputs], [read_tensor(path) for path in outputs])
        except Exception:
            # A sequence or a map; what the model declares says which.
            given = ([None] * len(inputs), [None] * len(outputs))
        yield kind, case, model, given


def number(path):
    return int(path.stem.rsplit("_", 1)[1])


def light_cases():
    """Real topologies, whose weights are all the same, with the outputs that the package has."""
    package = pathlib.Path(onnx.__file__).parent.parent
    for case in sorted(load_model_tests(kind="real"), key=lambda case: case.name):
        path = package / case.url
        model = onnx.load(path)
        inputs = []
        for declared in required(model.graph):
            shape = [axis.dim_value or 1 for axis in declared.type.tensor_type.shape.dim]
            # As the package's runner makes them, whose outputs these are.
            size = np.prod(shape)
            inputs.append((np.arange(size).reshape(shape) / size).astype(np.float32))
        outputs = [
            read_tensor(path.with_name(f"{path.stem}_output_{position}.pb"))
            for position in range(len(model.graph.output))
        ]
        yield "light", case, model, (inputs, outputs)


def write(files, kind, case, model, values):
    """Write one case."""
    entry = {"name": f"{kind}/{case.name}", "rtol": case.rtol, "atol": case.atol}
    entry["random"] = case.name.startswith(RANDOM) and "zero_ratio" not in case.name
    blob = bytearray()
    inputs, outputs = values
    try:
        entry["inputs"] = tensors(required(model.graph), inputs, blob)
        entry["outputs"] = tensors(model.graph.output, outputs, blob)
    except NotServable as reason:
        files.entries.append({"name": entry["name"], "not_servable": str(reason)})
        return
    if any(tensor["datatype"] == "BF16" for tensor in entry["outputs"]):
        entry["rtol"] = max(entry["rtol"], BFLOAT16_RTOL)
    files.add(entry, model, blob)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    files = CaseFiles(parser.parse_args().output)
    # The cases overflow and divide by zero on purpose.
    warnings.simplefilter("ignore")
    sources = [node_cases(), constant_cases(), light_cases()]
    sources += [stored_cases(kind) for kind in ("simple", "pytorch-converted", "pytorch-operator")]
    for source in sources:
        for case in source:
            write(files, *case)
    files.finish()


if __name__ == "__main__":
    main()
