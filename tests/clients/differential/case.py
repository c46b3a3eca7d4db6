"""A case: a graph with constants, its inputs, and what is known about the right outputs."""

from dataclasses import dataclass, field

import numpy as np
from onnx import helper, numpy_helper

from case_files import element_type
from differential import values

# How far a float may be off. `exact` is for operators that round once (a subnormal number may be zero), `near` for
# functions and sums, `rough` for differences of large numbers; `bits` is for operators that only move values.
RELATIVE = {
    "exact": {"FP16": 2**-10, "BF16": 2**-7, "FP32": 1e-6, "FP64": 1e-14},
    "near": {"FP16": 2**-8, "BF16": 2**-6, "FP32": 1e-5, "FP64": 1e-9},
    "rough": {"FP16": 2**-6, "BF16": 2**-4, "FP32": 1e-3, "FP64": 1e-6},
}
ABSOLUTE = {
    "exact": {"FP16": 6.2e-5, "BF16": 1.2e-38, "FP32": 1.2e-38, "FP64": 2.3e-308},
    "near": {"FP16": 1e-3, "BF16": 1e-2, "FP32": 1e-6, "FP64": 1e-10},
    "rough": {"FP16": 2e-2, "BF16": 1e-1, "FP32": 1e-4, "FP64": 1e-7},
}


@dataclass
class Case:
    """A case of one operator, named `<operator>/<variant>`."""

    name: str
    nodes: list
    inputs: dict
    # The right outputs; where there are none, onnxruntime's are right, and else those of the reference evaluator.
    right: list = None
    # Outputs that are right as well, where ONNX leaves open which.
    also_right: list = None
    constants: dict = field(default_factory=dict)
    accuracy: str = "near"
    opset: int = 17
    # The distance of two successive quantised numbers: engines that compute with tables round once more.
    step: float = 0
    # Set if onnxruntime must not run the case, because it would end the process.
    ends_onnxruntime: bool = False
    # Set if the inputs have the sizes of the case only, as images and weights do.
    is_sized: bool = False

    def model(self, outputs):
        """The model, whose outputs have the types and ranks of these arrays, with axes of any size."""

        def declared(name, array, prefix):
            axes = [f"{prefix}{name}{axis}" if size != 1 else 1 for axis, size in enumerate(array.shape)]
            is_sized = self.is_sized and not prefix
            return helper.make_tensor_value_info(name, element_type(array), array.shape if is_sized else axes)

        inputs = [declared(name, array, "") for name, array in self.inputs.items()]
        results = [declared(name, array, "of_") for name, array in zip(self.output_names(), outputs)]
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "graph", inputs, results, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8 if self.opset < 20 else 10)

    def output_names(self):
        return [name for name in self.nodes[-1].output if name]

    def tolerances(self, outputs):
        """The entries of the manifest about the comparison."""
        if self.accuracy == "bits":
            return {"bitwise": True}
        kinds = [values.name(array.dtype) for array in outputs if values.name(array.dtype).startswith(("FP", "BF"))]
        return {
            "strict": True,
            "rtol": max((RELATIVE[self.accuracy][kind] for kind in kinds), default=0),
            "atol": max((ABSOLUTE[self.accuracy][kind] for kind in kinds), default=0) + self.step,
        }


def one_node(name, operator, inputs, *, right=None, outputs=1, accuracy="near", opset=17, constants=None, also_right=None, **attributes):
    """A case of one node, whose inputs are the constants after the inputs. An input called "" is left out."""
    constants = dict(constants or {})
    names = [*inputs, *constants]
    constants.pop("", None)
    results = [f"y{position}" for position in range(outputs)]
    node = helper.make_node(operator, names, results, **attributes)
    if right is not None and not isinstance(right, list):
        right = [right]
    return Case(
        name=f"{operator}/{name}",
        nodes=[node],
        inputs=inputs,
        right=right,
        also_right=also_right,
        constants=constants,
        accuracy=accuracy,
        opset=opset,
    )


def wide(array):
    """An array of floats in double precision, in which the right values are computed."""
    return array.astype(np.float64)


def narrow(array, kind):
    """An array in a type, rounded."""
    with np.errstate(all="ignore"):
        return np.asarray(array).astype(kind)
