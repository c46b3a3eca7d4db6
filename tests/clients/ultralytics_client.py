#!/usr/bin/env python3
"""Detect with the TritonRemoteModel of Ultralytics, on the model `yolo` of triton_models.py.

    ultralytics_client.py ADDRESS GRPC_ADDRESS

The module of the client is loaded by its path, since `import ultralytics` imports torch. The client reads inputs and
outputs from the model's configuration, and the classes from the parameter `metadata`.
"""

import ast
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton


def remote_model():
    (package,) = importlib.util.find_spec("ultralytics").submodule_search_locations
    spec = importlib.util.spec_from_file_location("triton", Path(package) / "utils" / "triton.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TritonRemoteModel


def expected(image):
    means = image.reshape(1, 3, 2, 32, 2, 32).mean(axis=(3, 5)).reshape(1, 3, 4)
    return np.concatenate([means, means], axis=1)


def detect(model):
    assert (model.input_names, model.output_names) == (["images"], ["output0"]), vars(model)
    assert model.np_input_formats == [np.float32], vars(model)
    image = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    for given in (image, image.astype(np.float16)):
        (output,) = model(given)
        assert (output.dtype, output.shape) == (given.dtype, (1, 6, 4)), output
        np.testing.assert_allclose(output, expected(image), rtol=2e-3)


def expect_metadata(expected):
    for scheme, address in zip(("http", "grpc"), sys.argv[1:]):
        for arguments in ((f"{scheme}://{address}/yolo",), (address, "yolo", scheme)):
            model = TritonRemoteModel(*arguments)
            assert model.metadata == expected, model.metadata
            detect(model)


TritonRemoteModel = remote_model()
names = {0: "person", 1: "traffic light"}
metadata = {"task": "detect", "stride": 32, "imgsz": [64, 64], "names": names}
expect_metadata(metadata)
with triton.InferenceServerClient(sys.argv[1]) as client:
    # A configuration that is sent back keeps them.
    configuration = client.get_model_config("yolo")
    client.load_model("yolo", config=json.dumps(configuration))
    expect_metadata(metadata)
    # Its parameters replace those of model.toml, until it is loaded without them.
    text = configuration["parameters"]["metadata"]["string_value"]
    other = ast.literal_eval(text) | {"task": "segment"}
    configuration["parameters"] = {"metadata": {"string_value": str(other)}}
    client.load_model("yolo", config=json.dumps(configuration))
    expect_metadata(other)
    client.load_model("yolo", config='{"parameters":{}}')
    expect_metadata(None)
    client.load_model("yolo")
    expect_metadata(metadata)
