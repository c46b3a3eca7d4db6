"""KServe's clients: REST in both of its protocols, and gRPC. All of them are asynchronous.

`import kserve` runs Kubernetes' client and a web server besides: the package's own `__init__` is passed
over, and its client module imported as it is.
"""

import asyncio
import base64
import gzip as gzip_file
import importlib.util
import sys
import types

import grpc
import httpx
import numpy as np
import orjson
from cells import BINARY, JSON, Client

package = types.ModuleType("kserve")
package.__path__ = list(importlib.util.find_spec("kserve").submodule_search_locations)
sys.modules["kserve"] = package

from kserve.inference_client import InferenceGRPCClient, InferenceRESTClient, RESTConfig  # noqa: E402
from kserve.protocol.infer_type import InferInput, InferRequest, RequestedOutput  # noqa: E402

DATATYPES = {"float32": "FP32", "float16": "FP16", "object": "BYTES"}


def to_inputs(tensors, form):
    inputs = []
    for name, array in tensors.items():
        tensor = InferInput(name, list(array.shape), DATATYPES[array.dtype.name])
        # An empty tensor has no binary form in this client, which takes no bytes for no data.
        tensor.set_data_from_numpy(array, binary_data=form != JSON and array.size > 0)
        inputs.append(tensor)
    return inputs


def is_empty(tensors):
    return any(array.size == 0 for array in tensors.values())


class Rest(Client):
    PROTOCOL = None

    def ask(self, method, *arguments, **options):
        async def ask():
            async with InferenceRESTClient(RESTConfig(protocol=self.PROTOCOL, retries=0)) as client:
                return await getattr(client, method)(f"http://{self.address}", *arguments, **options)

        return asyncio.run(ask())

    def post(self, data, model, **options):
        return self.ask("infer", data, model_name=model, **options)

    def path(self, model, version):
        # The client has no version, but puts the name into the path as it is.
        return model if version is None else f"{model}/versions/{version}"

    def failure(self, error):
        assert isinstance(error, httpx.HTTPStatusError), repr(error)
        return {404: "not found", 400: "invalid"}[error.response.status_code], str(error)

    def gave_up(self, error):
        return isinstance(error, httpx.ReadTimeout)


class RestV1(Rest):
    PROTOCOL = "v1"
    SERVER_STATES = ("is_server_live",)
    TYPED = False
    CHOOSES = False

    def infer(self, model, inputs, outputs, *, form=None, version=None, gzip=False, timeout=60):
        assert form != BINARY

        def value(item):
            return {"b64": base64.b64encode(item).decode()} if isinstance(item, bytes) else np.asarray(item).tolist()

        rows = [dict(zip(inputs, map(value, row))) for row in zip(*inputs.values())]
        data, headers = {"instances": rows}, None
        if gzip:
            data, headers = gzip_file.compress(orjson.dumps(data)), {"content-encoding": "gzip"}
        answer = self.post(data, self.path(model, version), headers=headers, timeout=timeout)["predictions"]
        if len(outputs) == 1:
            return {outputs[0]: np.array(answer)}
        return {name: np.array([row[name] for row in answer]) for name in answer[0]}


class RestV2(Rest):
    PROTOCOL = "v2"
    SERVER_STATES = ("is_server_live", "is_server_ready")

    def infer(self, model, inputs, outputs, *, form=BINARY, version=None, gzip=False, timeout=60):
        is_binary = form != JSON and not is_empty(inputs)
        requested = [RequestedOutput(name, {"binary_data": is_binary}) for name in outputs]
        data, headers = InferRequest(model, to_inputs(inputs, form), request_id="x", request_outputs=requested), {}
        if gzip:
            data, length = data.to_rest()
            data = gzip_file.compress(data)
            headers = {"content-encoding": "gzip", "inference-header-content-length": str(length)}
        response = self.post(data, self.path(model, version), headers=headers, timeout=timeout)
        assert (response.id, response.model_name) == ("x", model), response
        return {output.name: output.as_numpy() for output in response.outputs}

    def raw(self, model, content):
        # What is not one of its own requests it sends as it is.
        response = self.post(content, model, headers={"inference-header-content-length": "0"})
        (output,) = response.outputs
        return output.as_numpy().tobytes()


class Grpc(Client):
    GRPC = True
    SERVER_STATES = ("is_server_live", "is_server_ready")

    def infer(self, model, inputs, outputs, *, form=BINARY, version=None, gzip=False, timeout=60):
        requested = [RequestedOutput(name) for name in outputs]
        request = InferRequest(
            model,
            to_inputs(inputs, form),
            request_id="x",
            request_outputs=requested,
            model_version=None if version is None else str(version),
        )

        async def ask():
            compression = [("grpc.default_compression_algorithm", grpc.Compression.Gzip.value)] if gzip else []
            async with InferenceGRPCClient(self.address, channel_args=compression, retries=0) as client:
                return await asyncio.wait_for(client.infer(request), timeout)

        response = asyncio.run(ask())
        assert (response.id, response.model_name) == ("x", model), response
        return {output.name: output.as_numpy() for output in response.outputs}

    def ask(self, state, *arguments):
        async def ask():
            async with InferenceGRPCClient(self.address, retries=0) as client:
                return await getattr(client, state)(*arguments)

        return asyncio.run(ask())

    def failure(self, error):
        assert isinstance(error, grpc.RpcError), repr(error)
        kinds = {grpc.StatusCode.NOT_FOUND: "not found", grpc.StatusCode.INVALID_ARGUMENT: "invalid"}
        return kinds[error.code()], error.details()

    def gave_up(self, error):
        # The task that asks was cancelled, and with it the call.
        return isinstance(error, asyncio.TimeoutError)
