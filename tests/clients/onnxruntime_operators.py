"""Write the operators that onnxruntime computes on a CPU, a line for each: its domain, if it has one, and its name.

    python onnxruntime_operators.py

An operator counts if onnxruntime has a kernel for it, or expands it into others that ONNX defines it by.
"""

import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as internals

DOMAINS = ("", "ai.onnx.ml", "com.microsoft")


def main():
    onnxruntime.set_default_logger_severity(4)
    kernels = {(kernel.domain, kernel.op_name) for kernel in internals.get_all_opkernel_def() if "CPU" in kernel.provider}
    schemas = {(schema.domain, schema.name) for schema in internals.get_all_operator_schema()}
    defined = {
        (schema.domain, schema.name)
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.has_function or schema.has_context_dependent_function
    }
    # A constant is part of a graph before kernels are looked up.
    found = kernels | (defined & schemas) | {("", "Constant")}
    for domain, name in sorted(found):
        if domain in DOMAINS:
            print(f"{domain} {name}".strip())


if __name__ == "__main__":
    main()
