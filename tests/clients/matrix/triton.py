"""NVIDIA's clients of V2, over HTTP and gRPC, each with threads and with asyncio."""

import asyncio
import queue

import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from cells import BINARY, JSON, Client
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

KINDS = {
    "404": "not found",
    "400": "invalid",
    "StatusCode.NOT_FOUND": "not found",
    "StatusCode.INVALID_ARGUMENT": "invalid",
}


class Triton(Client):
    PACKAGE = None

    def inputs(self, tensors, **options):
        inputs = []
        for name, array in tensors.items():
            tensor = self.PACKAGE.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            inputs.append(tensor.set_data_from_numpy(array, **options))
        return inputs

    def failure(self, error):
        assert isinstance(error, InferenceServerException), repr(error)
        return KINDS[error.status()], error.message()


class Http(Triton):
    PACKAGE = triton_http

    def arguments(self, model, inputs, outputs, form=None, version=None, gzip=False):
        is_binary = form != JSON
        coding = "gzip" if gzip else None
        return {
            "model_name": model,
            "inputs": self.inputs(inputs, binary_data=is_binary),
            "outputs": [triton_http.InferRequestedOutput(name, binary_data=is_binary) for name in outputs],
            "model_version": "" if version is None else str(version),
            "request_compression_algorithm": coding,
            "response_compression_algorithm": coding,
        }

    def infer(self, model, inputs, outputs, *, timeout=60, **options):
        with triton_http.InferenceServerClient(self.address, network_timeout=timeout) as client:
            answer = client.infer(**self.arguments(model, inputs, outputs, **options))
        return self.read(answer, options.get("form"))

    def read(self, answer, form):
        described = answer.get_response()["outputs"]
        assert all(("data" in output) == (form == JSON) for output in described), described
        return {output["name"]: answer.as_numpy(output["name"]) for output in described}

    def gave_up(self, error):
        # The client lets through what its transport says.
        return isinstance(error, TimeoutError)


class HttpAio(Http):
    def infer(self, model, inputs, outputs, *, timeout=60, **options):
        async def ask():
            async with triton_http_aio.InferenceServerClient(self.address) as client:
                arguments = self.arguments(model, inputs, outputs, **options)
                return await asyncio.wait_for(client.infer(**arguments), timeout)

        return self.read(asyncio.run(ask()), options.get("form"))


class Grpc(Triton):
    GRPC = True
    PACKAGE = triton_grpc

    def arguments(self, model, inputs, outputs, form=BINARY, version=None, gzip=False):
        assert form == BINARY
        return {
            "model_name": model,
            "inputs": self.inputs(inputs),
            "outputs": [triton_grpc.InferRequestedOutput(name) for name in outputs],
            "model_version": "" if version is None else str(version),
            "compression_algorithm": "gzip" if gzip else None,
        }

    def infer(self, model, inputs, outputs, *, timeout=None, **options):
        arguments = self.arguments(model, inputs, outputs, **options)
        with triton_grpc.InferenceServerClient(self.address) as client:
            if timeout is not None:
                # Both ways to give up that it has: at once, and after a while.
                self.call_off(client, arguments)
            answer = client.infer(**arguments, client_timeout=timeout)
        return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}

    def call_off(self, client, arguments):
        outcomes = queue.SimpleQueue()
        context = client.async_infer(**arguments, callback=lambda result, error: outcomes.put((result, error)))
        context.cancel()
        result, error = outcomes.get(timeout=60)
        assert result is None and error.status() == "StatusCode.CANCELLED", (result, error)

    def gave_up(self, error):
        return isinstance(error, InferenceServerException) and error.status() == "StatusCode.DEADLINE_EXCEEDED"


class GrpcAio(Grpc):
    def infer(self, model, inputs, outputs, *, timeout=None, **options):
        async def ask():
            async with triton_grpc_aio.InferenceServerClient(self.address) as client:
                arguments = self.arguments(model, inputs, outputs, **options)
                return await client.infer(**arguments, client_timeout=timeout)

        answer = asyncio.run(ask())
        return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}
