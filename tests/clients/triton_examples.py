#!/usr/bin/env python3
"""Make the calls of NVIDIA's example scripts, and look for the words that they look for.

    triton_examples.py CHECK HTTP GRPC

CHECK is a function below `=== Checks ===`, HTTP and GRPC are the addresses of a server of the models that
`triton_models.py` writes. The scripts themselves are in no package.
"""

import sys

import grpc
import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

HTTP, GRPC = sys.argv[2:]


def failure(call, *arguments, **options):
    try:
        answer = call(*arguments, **options)
    except InferenceServerException as error:
        return error.message()
    raise AssertionError(f"expected an error, got an answer: {answer}")


# === Checks ===


def explicit_contents():
    """`grpc_explicit_int_content_client.py` and `grpc_explicit_int8_content_client.py`: numbers in typed fields."""
    with grpc.insecure_channel(GRPC) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for model, dtype in (("simple", np.int32), ("simple_int8", np.int8)):
            request = service_pb2.ModelInferRequest(model_name=model)
            numbers = list(range(16)), [1] * 16
            for index, values in enumerate(numbers):
                tensor = request.inputs.add(name=f"INPUT{index}", datatype=np.dtype(dtype).name.upper(), shape=[1, 16])
                tensor.contents.int_contents[:] = values
                request.outputs.add(name=f"OUTPUT{index}")
            response = stub.ModelInfer(request)
            sums, differences = (np.frombuffer(content, dtype) for content in response.raw_output_contents)
            assert list(sums) == [first + 1 for first in numbers[0]], response
            assert list(differences) == [first - 1 for first in numbers[0]], response
            request.model_version = "wrong_specification"
            try:
                answer = stub.ModelInfer(request)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
                words = "failed to get model version from specified version string 'wrong_specification'"
                assert words in str(error), error
            else:
                raise AssertionError(f"a version that is no number has answered: {answer}")


def model_control():
    """`simple_http_model_control.py` and `simple_grpc_model_control.py`, but for the number of models."""
    for package, address in ((tritonclient.http, HTTP), (tritonclient.grpc, GRPC)):
        with package.InferenceServerClient(address) as client:
            client.load_model("simple")
            assert client.is_model_ready("simple")
            config = '"parameters": {"config": {{"max_batch_size": "16"}}}'
            text = failure(client.load_model, "simple", config=config)
            assert "failed to load" in text, text
            client.load_model("simple", config='{"max_batch_size":"16"}')
            config = client.get_model_config("simple")
            size = config["max_batch_size"] if package is tritonclient.http else config.config.max_batch_size
            assert size == 16, config
            client.unload_model("simple")
            assert not client.is_model_ready("simple")
            text = failure(client.load_model, "wrong_model_name")
            assert "failed to load" in text, text


def identity():
    """Rows of strings of any length, by `simple_identity`."""
    rows = np.array([[b"", b"a", "\u00e9".encode()]] * 8, np.object_)
    for package, address in ((tritonclient.http, HTTP), (tritonclient.grpc, GRPC)):
        with package.InferenceServerClient(address) as client:
            tensor = package.InferInput("INPUT0", list(rows.shape), "BYTES").set_data_from_numpy(rows)
            answer = client.infer("simple_identity", [tensor]).as_numpy("OUTPUT0")
            assert answer.tolist() == rows.tolist(), answer


CHECKS = (explicit_contents, model_control, identity)

if __name__ == "__main__":
    next(check for check in CHECKS if check.__name__ == sys.argv[1])()
