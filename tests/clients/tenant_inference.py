#!/usr/bin/env python3
"""Call the model `own` of a tenant with tritonclient as it comes from PyPI, and print all answers and refusals.

    tenant_inference.py ADDRESS KEY

The output is the same for every server that computes and refuses the same.
"""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

ADDRESS, KEY = sys.argv[1:3]

PATIENTS = np.array(
    [
        [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87],
        [48, 1, 21.6, 87, 183, 103.2, 70, 3, 3.8918, 69],
    ],
    np.float32,
)


def with_key():
    """Returns headers of their own, since the client adds its own to those that it is given."""
    return {"authorization": f"Bearer {KEY}"}


def to_inputs(library, **form):
    tensor = library.InferInput("features", list(PATIENTS.shape), "FP32")
    return [tensor.set_data_from_numpy(PATIENTS, **form)]


def outcome(call, *arguments, **options):
    """Returns the answer, or the refusal that the client shows."""
    try:
        return call(*arguments, **options)
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}


def decoded(result):
    """Returns an answer of either client."""
    answer = result.get_response()
    if isinstance(answer, dict):
        model, version, names = answer["model_name"], answer["model_version"], [o["name"] for o in answer["outputs"]]
    else:
        model, version, names = answer.model_name, answer.model_version, [o.name for o in answer.outputs]
    return {"model": model, "version": version, "outputs": {name: result.as_numpy(name).tolist() for name in names}}


def http():
    with tritonclient.http.InferenceServerClient(ADDRESS) as client:

        def infer(model, form, headers):
            inputs = to_inputs(tritonclient.http, binary_data=form)
            return decoded(client.infer(model, inputs, headers=headers))

        yield "json", infer("own", False, with_key())
        yield "binary", infer("own", True, with_key())
        yield "unknown", outcome(infer, "nothing", True, with_key())
        yield "refused", outcome(infer, "own", True, None)
        yield "ready", client.is_model_ready("own", headers=with_key())
        metadata = client.get_model_metadata("own", headers=with_key())
        yield "metadata", [metadata[part] for part in ("name", "versions", "inputs", "outputs")]
        index = client.get_model_repository_index(headers=with_key())
        yield "index", [[entry[part] for part in ("name", "version", "state")] for entry in index]


def grpc():
    with tritonclient.grpc.InferenceServerClient(ADDRESS) as client:

        def infer(model, headers):
            return decoded(client.infer(model, to_inputs(tritonclient.grpc), headers=headers))

        yield "unary", infer("own", with_key())
        yield "unknown", outcome(infer, "nothing", with_key())
        yield "refused", outcome(infer, "own", None)
        yield "ready", client.is_model_ready("own", headers=with_key())
        metadata = client.get_model_metadata("own", headers=with_key())
        yield "metadata", [metadata.name, *[tensor.name for tensor in [*metadata.inputs, *metadata.outputs]]]
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)), headers=with_key())
        for number, model in enumerate(["own", "nothing", "own"]):
            client.async_stream_infer(model, to_inputs(tritonclient.grpc))
            result, error = answers.get(timeout=60)
            yield f"stream {number}", error.message() if error else decoded(result)
        client.stop_stream()


def main():
    told = {"http": dict(http()), "grpc": dict(grpc())}
    computed = told["http"]["json"]
    assert computed["model"] == "own" and len(computed["outputs"]) == 1, computed
    for answer in (told["http"]["binary"], told["grpc"]["unary"], told["grpc"]["stream 0"], told["grpc"]["stream 2"]):
        assert answer == computed, (answer, computed)
    for protocol, status in (("http", "401"), ("grpc", "StatusCode.UNAUTHENTICATED")):
        assert told[protocol]["refused"]["status"] == status, told[protocol]
    print(json.dumps(told, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
