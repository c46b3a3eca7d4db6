#!/usr/bin/env python3
"""Send missing values and infinities to a model of ten numbers, `bare`, and read NaN from its answers.

    missing_values.py ADDRESS

requests refuses to write NaN in `json=`, and writes None as null. tritonclient writes the bare words NaN and
Infinity, as Python's own json does.
"""

import json
import math
import sys

import numpy as np
import requests
import tritonclient.http as triton

ADDRESS = sys.argv[1]
ROW = [54, 2, 36.1, 115, 163, 98.4, 43, 4, 4.6821, 101]
MISSING = [None, *ROW[1:]]


def post(path, **body):
    response = requests.post(f"http://{ADDRESS}{path}", timeout=60, **body)
    assert response.status_code == 200, response.text
    return response.json()


def described(rows):
    return {"inputs": [{"name": "features", "datatype": "FP32", "shape": [len(rows), 10], "data": rows}]}


def expect(numbers):
    known, missing = numbers
    assert abs(known - 235.637) < 0.01 and math.isnan(missing), numbers


def with_requests():
    rows = [ROW, MISSING]
    expect(post("/v2/models/bare/infer", json=described(rows))["outputs"][0]["data"])
    # Long arrays are read in another way.
    answer = post("/v2/models/bare/infer", json=described(rows * 16))["outputs"][0]["data"]
    for pair in zip(answer[::2], answer[1::2]):
        expect(pair)
    expect(row[0] for row in post("/v1/models/bare:predict", json={"instances": rows})["predictions"])
    expect(row[0] for row in post("/v1/models/bare:predict", json={"inputs": rows})["outputs"])
    batch = post("/batch_predict/bare", json={"features": rows})["predictions"]
    expect(row["prediction"] for row in batch)
    assert math.isnan(post("/predict/bare", json={"features": MISSING})["prediction"])
    words = json.dumps(described([ROW, [math.nan, *ROW[1:]]]))
    assert "NaN" in words
    expect(post("/v2/models/bare/infer", data=words)["outputs"][0]["data"])


def with_tritonclient():
    array = np.array([ROW, [np.nan, *ROW[1:]], [np.inf, *ROW[1:]]], np.float32)
    tensor = triton.InferInput("features", list(array.shape), "FP32")
    with triton.InferenceServerClient(ADDRESS) as client:
        for sent in (False, True):
            for received in (False, True):
                tensor.set_data_from_numpy(array, binary_data=sent)
                output = triton.InferRequestedOutput("progression", binary_data=received)
                numbers = client.infer("bare", [tensor], outputs=[output]).as_numpy("progression").ravel()
                expect(numbers[:2])
                assert not np.isfinite(numbers[2]), numbers


with_requests()
with_tritonclient()
