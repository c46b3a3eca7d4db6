#!/usr/bin/env python3
"""Call the models of triton_models.py with pytriton's clients, over HTTP and gRPC.

    pytriton_clients.py CHECK ADDRESS GRPC_ADDRESS

pytriton's clients wait until the model is ready, read its configuration, and derive from it the names, datatypes and
shapes of tensors, and whether there is a batch axis.
"""

import asyncio
import sys
import warnings

import numpy as np
from pytriton.client import AsyncioModelClient, FuturesModelClient, ModelClient
from pytriton.client.exceptions import (
    PyTritonClientInferenceServerError,
    PyTritonClientModelDoesntSupportBatchingError,
    PyTritonClientTimeoutError,
)

A, B = np.arange(16, dtype=np.int32), np.full(16, 3, np.int32)
ROWS = np.stack([A, B]), np.stack([B, B])
# The longest wait for a model, in seconds, and the shortest that the clients can be given.
LONG, SHORT = 60, 1


def expect(outputs, a, b):
    assert sorted(outputs) == ["OUTPUT0", "OUTPUT1"], outputs
    for name, expected in (("OUTPUT0", a + b), ("OUTPUT1", a - b)):
        actual = outputs[name]
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape), actual
        assert (actual == expected).all(), actual


def expect_error(kind, text, call):
    try:
        outputs = call()
    except kind as error:
        assert text in str(error), error
    else:
        raise AssertionError(f"expected {kind.__name__}, got {outputs}")


def expect_simple(config):
    assert (config.model_name, config.max_batch_size, config.batching) == ("simple", 8, True), config
    assert not config.decoupled, config
    for kind, specs in (("INPUT", config.inputs), ("OUTPUT", config.outputs)):
        found = [(spec.name, spec.shape, spec.dtype, spec.optional) for spec in specs]
        assert found == [(f"{kind}{index}", (16,), np.int32, False) for index in (0, 1)], found


def synchronous(url):
    with ModelClient(url, "simple") as client:
        client.wait_for_model(timeout_s=LONG)
        expect_simple(client.model_config)
        expect(client.infer_sample(A, B), A, B)
        expect(client.infer_sample(INPUT0=A, INPUT1=B), A, B)
        expect(client.infer_sample(A, B, parameters={"count": 1, "name": "x", "flag": True}), A, B)
        expect(client.infer_batch(*ROWS), *ROWS)
    with ModelClient(url, "simple", "1") as client:
        expect(client.infer_sample(A, B), A, B)
    with ModelClient(url, "unbatched") as client:
        expect(client.infer_sample(A, B), A, B)
        kind = PyTritonClientModelDoesntSupportBatchingError
        expect_error(kind, "unbatched", lambda: client.infer_batch(*ROWS))
    with ModelClient(url, "simple_string") as client:
        texts = [np.array([str(number).encode() for number in numbers], np.object_) for numbers in (A, B)]
        sums = client.infer_sample(*texts)["OUTPUT0"]
        assert [int(text) for text in sums] == list(A + B), sums
    texts = np.array([f"Größe {number}".encode() for number in range(16)], np.object_)
    with ModelClient(url, "strings") as client:
        assert list(client.infer_sample(texts)["OUTPUT0"]) == list(texts)


def with_futures(url):
    with FuturesModelClient(url, "simple", max_workers=4) as client:
        client.wait_for_model(LONG).result()
        expect_simple(client.model_config().result())
        samples = [(A + number, B) for number in range(16)]
        futures = [client.infer_sample(*sample) for sample in samples]
        for future, sample in zip(futures, samples):
            expect(future.result(), *sample)
        expect(client.infer_batch(*ROWS).result(), *ROWS)


def with_asyncio(url):
    async def ask():
        async with AsyncioModelClient(url, "simple") as client:
            await client.wait_for_model(timeout_s=LONG)
            expect_simple(await client.model_config)
            samples = [(A + number, B) for number in range(16)]
            answers = await asyncio.gather(*(client.infer_sample(*sample) for sample in samples))
            for answer, sample in zip(answers, samples):
                expect(answer, *sample)
            expect(await client.infer_batch(*ROWS), *ROWS)

    asyncio.run(ask())


def errors(url):
    for model, version in (("nope", None), ("simple", "9"), ("broken", None)):
        with ModelClient(url, model, version, init_timeout_s=SHORT) as client:
            expect_error(PyTritonClientTimeoutError, model, lambda: client.wait_for_model(timeout_s=SHORT))
    with ModelClient(url, "simple") as client:
        for inputs, text in (
            ((A.astype(np.float32), B), "input `INPUT0` is FP32, expected INT32"),
            ((A[:3], B[:3]), "input `INPUT0` has shape [1, 3], expected [-1, 16]"),
            ((A,), "input `INPUT1` is missing"),
        ):
            expect_error(PyTritonClientInferenceServerError, text, lambda: client.infer_sample(*inputs))
        expect(client.infer_sample(A, B), A, B)


if __name__ == "__main__":
    # The clients warn of their own default timeouts.
    warnings.simplefilter("ignore")
    CHECKS = {"synchronous": synchronous, "futures": with_futures, "asyncio": with_asyncio, "errors": errors}
    for scheme, address in zip(("http", "grpc"), sys.argv[2:]):
        CHECKS[sys.argv[1]](f"{scheme}://{address}")
