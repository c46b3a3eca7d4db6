#!/usr/bin/env python3
"""Drive a running server with ovmsclient over HTTP, as it comes from PyPI.

    ovms_http.py ADDRESS EXAMPLES

ovmsclient names version 0 where its user names none, sends columns, and reads TF Serving's documents.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ovmsclient import make_http_client
from ovmsclient.tfs_compat.base import errors as kinds

ADDRESS, EXAMPLES = sys.argv[1], Path(sys.argv[2])


def predict(client):
    case = json.loads((EXAMPLES / "progression/cases/a_ward.json").read_text(encoding="utf-8"))
    (tensor,) = case["request"]["inputs"]
    rows = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
    expected = {output["name"]: output["data"] for output in case["expect"]["outputs"]}
    for version in (0, 1):
        answer = client.predict({"features": rows}, "progression", version)
        assert sorted(answer) == ["corrected", "progression"], answer
        np.testing.assert_allclose(answer["progression"], expected["progression"], atol=1e-3)
        assert list(answer["corrected"]) == expected["corrected"], answer
    # One output stands bare, and so does it for a model without a handler.
    answer = client.predict({"features": rows}, "bare")
    assert answer.shape == (len(rows), 1), answer
    # Bytes travel in base64.
    picture = (EXAMPLES / "digits/samples/7.png").read_bytes()
    answer = client.predict({"image": [picture]}, "digits")
    assert answer["label"].shape == (1, 3) and answer["label"][0, 0] == "7", answer


def documents(client):
    status = client.get_model_status("progression")
    assert list(status) == [1] and status[1]["state"] == "AVAILABLE", status
    assert (status[1]["error_code"], status[1]["error_message"]) == (0, ""), status
    assert client.get_model_status("progression", 1) == status
    assert client.get_model_status("broken")[1]["state"] == "END"
    metadata = client.get_model_metadata("progression")
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    dim = signature["inputs"]["features"]["tensor_shape"]["dim"]
    assert [size["size"] for size in dim] == ["-1", "10"], metadata
    assert signature["outputs"]["corrected"]["dtype"] == "DT_BOOL", metadata
    assert metadata["model_spec"]["version"] == "1", metadata


def errors(client):
    good = {"features": np.ones((1, 10), np.float32)}

    def expect(kind, text, call, *arguments):
        try:
            answer = call(*arguments)
        except (kinds.ModelServerError, ConnectionError) as error:
            assert isinstance(error, kind) and text in str(error), repr(error)
        else:
            raise AssertionError(f"expected {kind}, got an answer: {answer}")

    expect(kinds.ModelNotFoundError, "`nope`", client.predict, good, "nope")
    expect(kinds.ModelNotFoundError, "no version 7", client.predict, good, "progression", 7)
    expect(kinds.ModelNotFoundError, "`nope`", client.get_model_status, "nope")
    expect(kinds.ModelNotFoundError, "`nope`", client.get_model_metadata, "nope")
    expect(kinds.InvalidInputError, "unknown input `x`", client.predict, {"x": good["features"]}, "progression")
    short = {"features": np.ones((1, 9), np.float32)}
    expect(kinds.InvalidInputError, "[1, 9]", client.predict, short, "progression")
    expect(ConnectionError, "`broken` is unavailable", client.predict, good, "broken")


if __name__ == "__main__":
    for check in (predict, documents, errors):
        check(make_http_client(ADDRESS))
