#!/usr/bin/env python3
"""Drive a running server with kserve's REST client, as it comes from PyPI, in both of its protocols.

    kserve_rest.py ADDRESS

`import kserve` runs Kubernetes' client and a web server besides: the package's own `__init__` is passed
over, and its client module imported as it is.
"""

import asyncio
import importlib.util
import sys
import types

import httpx
import numpy as np

package = types.ModuleType("kserve")
package.__path__ = list(importlib.util.find_spec("kserve").submodule_search_locations)
sys.modules["kserve"] = package

from kserve.inference_client import InferenceRESTClient, RESTConfig  # noqa: E402
from kserve.protocol.infer_type import InferInput, InferRequest  # noqa: E402

URL = f"http://{sys.argv[1]}"
ROWS = [
    [54, 2, 36.1, 115, 163, 98.4, 43, 4, 4.6821, 101],
    [36, 1, 22.3, 88, 150, 80.5, 60, 3, 4.2, 85],
]


async def expect_failure(status, text, request):
    try:
        answer = await request
    except httpx.HTTPStatusError as error:
        assert error.response.status_code == status and text in str(error), error
    else:
        raise AssertionError(f"expected {status}, got an answer: {answer}")


async def v1():
    async with InferenceRESTClient(RESTConfig(protocol="v1", retries=0)) as client:
        assert await client.is_server_live(URL) is True
        assert await client.is_model_ready(URL, "bare") is True
        assert await client.is_model_ready(URL, "broken") is False
        await expect_failure(404, "`nope`", client.is_model_ready(URL, "nope"))
        answer = await client.infer(URL, {"instances": ROWS}, model_name="progression")
        (first, second) = answer["predictions"]
        assert abs(first["progression"] - 235.637) < 1e-2, answer
        assert second["corrected"] is False, answer
        await expect_failure(400, "instance 0", client.infer(URL, {"instances": [[1]]}, model_name="bare"))
        await expect_failure(404, "`nope`", client.infer(URL, {"instances": ROWS}, model_name="nope"))
        return [row["progression"] for row in answer["predictions"]]


async def v2(expected):
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        assert await client.is_server_live(URL) is True
        assert await client.is_server_ready(URL) is True
        assert await client.is_model_ready(URL, "bare") is True
        assert await client.is_model_ready(URL, "broken") is False
        assert await client.is_model_ready(URL, "nope") is False
        for binary in (True, False):
            features = InferInput("features", [2, 10], "FP32")
            features.set_data_from_numpy(np.array(ROWS, np.float32), binary_data=binary)
            request = InferRequest("progression", [features], request_id="x")
            response = await client.infer(URL, request, model_name="progression")
            assert (response.id, response.model_name) == ("x", "progression"), response
            outputs = {output.name: output.as_numpy() for output in response.outputs}
            np.testing.assert_allclose(outputs["progression"], expected, atol=1e-3)
            assert list(outputs["corrected"]) == [False, False], outputs
        short = InferInput("features", [2, 5], "FP32")
        short.set_data_from_numpy(np.ones((2, 5), np.float32))
        request = InferRequest("progression", [short])
        await expect_failure(400, "[2, 5]", client.infer(URL, request, model_name="progression"))


async def main():
    await v2(await v1())


asyncio.run(main())
