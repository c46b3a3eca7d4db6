#!/usr/bin/env python3
"""Upload versions to a running server with requests, and call them with tritonclient, both as they come from PyPI.

    uploads.py ADDRESS EXAMPLES
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import requests
import tritonclient.http as triton

ADDRESS, EXAMPLES = sys.argv[1], Path(sys.argv[2])
MODELS = f"http://{ADDRESS}/v2/repository/models"


def put(version, file, content):
    response = requests.put(f"{MODELS}/{version}/files/{file}", data=content, timeout=60)
    response.raise_for_status()
    return response.json()


def pieces(content):
    """Yields the content piece by piece, so that requests sends it without a length."""
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


def call(client):
    rows = np.array([[59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]], np.float32)
    tensor = triton.InferInput("features", rows.shape, "FP32")
    tensor.set_data_from_numpy(rows)
    return client.infer("sent", [tensor]).get_response()["model_version"]


def main():
    client = triton.InferenceServerClient(ADDRESS)
    path = EXAMPLES / "progression/1/model.onnx"
    graph = path.read_bytes()
    digest = hashlib.sha256(graph).hexdigest()
    for version, content in (("sent/versions/1", graph), ("sent/versions/2", pieces(graph))):
        told = put(version, "model.onnx", content)
        assert (told["sha256"], told["bytes"]) == (digest, len(graph)), told
        number = version[-1]
        assert not client.is_model_ready("sent", number)
        committed = requests.post(f"{MODELS}/{version}/commit", timeout=60)
        committed.raise_for_status()
        assert committed.json()["loaded"], committed.text
        assert call(client) == number
    with path.open("rb") as file:
        put("sent/versions/3", "model.onnx", file)
    # It was never committed.
    requests.delete(f"{MODELS}/sent/versions/3", timeout=60).raise_for_status()
    missing = requests.post(f"{MODELS}/sent/versions/3/commit", timeout=60)
    assert missing.status_code == 404 and "error" in missing.json(), missing.text
    requests.delete(f"{MODELS}/sent/versions/2", timeout=60).raise_for_status()
    assert call(client) == "1"
    requests.delete(f"{MODELS}/sent/versions/1", timeout=60).raise_for_status()
    assert not client.is_model_ready("sent")


main()
