"""Write models, their inputs and the expected outputs for the tests in Rust, which tests/cases/case.rs reads.

Each case is `<name>.onnx`, with its tensors in `<name>.bin`, one after the other as V2 lays them out on the wire.
`manifest.json` is written last: for each case its tolerances, and the names, types and shapes of its tensors and
where they begin; or the reason why no V2 request can carry it.
"""

import json
import pathlib
import shutil
import struct

import numpy as np
import onnx
from onnx import TensorProto

# V2's name of each element type of ONNX that has one.
DATATYPES = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "BYTES",
}


class NotServable(Exception):
    """A request of V2 cannot carry the case."""


def content(name, array):
    """An array as the binary extension lays it out."""
    if array.dtype != object:
        return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    parts = []
    for element in array.flat:
        if isinstance(element, str):
            element = element.encode()
        if not isinstance(element, bytes):
            raise NotServable(f"`{name}` has an element of {type(element).__name__}")
        parts.append(struct.pack("<I", len(element)) + element)
    return b"".join(parts)


def element_type(array):
    """The element type of ONNX for the elements of an array."""
    return onnx.helper.np_dtype_to_tensor_dtype(array.dtype)


def stored(name, value, blob):
    """Describe a tensor, and append its bytes to `blob`."""
    array = np.asarray(value)
    if array.dtype.kind in "US":
        array = array.astype(object)
    described = {
        "name": name,
        "datatype": DATATYPES[element_type(array)],
        "shape": list(array.shape),
        "offset": len(blob),
    }
    blob += content(name, array)
    described["length"] = len(blob) - described["offset"]
    return described


class CaseFiles:
    """The cases of one directory, which is emptied first."""

    def __init__(self, directory):
        self.directory = directory
        self.entries = []
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)

    def add(self, entry, model, blob):
        """Write the files of a case. `model` is a model, or the path of its file, which is linked."""
        stem = self.directory / entry["name"]
        stem.parent.mkdir(parents=True, exist_ok=True)
        # Names contain dots, so `with_suffix` would shorten them.
        file = stem.with_name(f"{stem.name}.onnx")
        if isinstance(model, pathlib.Path):
            file.symlink_to(model)
        else:
            file.write_bytes(model.SerializeToString())
        stem.with_name(f"{stem.name}.bin").write_bytes(blob)
        self.entries.append(entry)

    def add_computed(self, name, model, inputs, outputs, **more):
        """Write a case with these inputs and outputs, by their names."""
        blob = bytearray()
        entry = {
            "name": name,
            "inputs": [stored(key, value, blob) for key, value in inputs.items()],
            "outputs": [stored(key, value, blob) for key, value in outputs.items()],
            **more,
        }
        self.add(entry, model, blob)

    def finish(self):
        """Write the manifest, whose name shows that all else is there."""
        self.entries.sort(key=lambda entry: entry["name"])
        names = [entry["name"] for entry in self.entries]
        assert len(set(names)) == len(names), "a name for each"
        manifest = self.directory / "manifest.json"
        partial = manifest.with_suffix(".partial")
        partial.write_text(json.dumps(self.entries))
        partial.rename(manifest)
        print(len(names), "cases in", self.directory)
