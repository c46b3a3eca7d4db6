#!/usr/bin/env python3
"""The request of TF Serving's tutorial: three pictures of clothes, through `requests`.

    tfs_tutorial_client.py make REPOSITORY         write `fashion_model` ([batch, 28, 28] to ten probabilities) and the
                                       `half_plus_three` of TF Serving's documentation
    tfs_tutorial_client.py ask REPOSITORY ADDRESS  ask a server of them, and compare with onnxruntime
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import requests
from onnx import TensorProto, helper, numpy_helper


def make(repository):
    random = np.random.default_rng(7)
    fashion = [
        helper.make_node("Flatten", ["image"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = {
        "weights": (random.standard_normal((784, 10)) / 28).astype(np.float32),
        "bias": random.standard_normal(10).astype(np.float32),
    }
    write(repository, "fashion_model", fashion, {"image": [28, 28]}, {"probabilities": [10]}, constants)
    half_plus_three = [
        helper.make_node("Mul", ["x", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "three"], ["y"]),
    ]
    constants = {"half": np.array(0.5, np.float32), "three": np.array(3, np.float32)}
    write(repository, "half_plus_three", half_plus_three, {"x": []}, {"y": []}, constants)


def write(repository, name, nodes, inputs, outputs, constants):
    def declared(shapes):
        float32 = TensorProto.FLOAT
        return [helper.make_tensor_value_info(name, float32, ["batch", *shape]) for name, shape in shapes.items()]

    constants = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, name, declared(inputs), declared(outputs), constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    version = Path(repository) / name / "1"
    version.mkdir(parents=True)
    onnx.save(model, version / "model.onnx")


def ask(repository, address):
    test_images = np.random.default_rng(8).integers(0, 256, (3, 28, 28)).astype(np.float32) / 255.0
    # As in the tutorial.
    data = json.dumps({"signature_name": "serving_default", "instances": test_images[0:3].tolist()})
    headers = {"content-type": "application/json"}
    url = f"http://{address}/v1/models/fashion_model:predict"
    json_response = requests.post(url, data=data, headers=headers, timeout=60)
    assert json_response.status_code == 200, json_response.text
    predictions = json.loads(json_response.text)["predictions"]
    assert np.argmax(predictions[0]) in range(10)
    # What it leaves to the reader: whether they are right.
    (expected,) = onnxruntime.InferenceSession(f"{repository}/fashion_model/1/model.onnx").run(None, {"image": test_images})
    assert np.shape(predictions) == (3, 10), np.shape(predictions)
    np.testing.assert_allclose(predictions, expected, atol=1e-6)
    np.testing.assert_allclose(np.sum(predictions, 1), 1, atol=1e-5)
    # A version by its number, and one picture.
    url = f"http://{address}/v1/models/fashion_model/versions/1:predict"
    one = requests.post(url, json={"instances": [test_images[2].tolist()]}, timeout=60).json()["predictions"]
    np.testing.assert_allclose(one, expected[2:], atol=1e-6)


if __name__ == "__main__":
    {"make": make, "ask": ask}[sys.argv[1]](*sys.argv[2:])
