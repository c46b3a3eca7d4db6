"""httpx, which speaks HTTP/2 without TLS to a server known to understand it, and V2 written by hand."""

import gzip as gzip_file
import json

import httpx
import numpy as np
from cells import BINARY, JSON, Client

DATATYPES = {"float32": "FP32", "float16": "FP16", "object": "BYTES"}
DTYPES = {"FP32": np.float32, "FP16": np.float16}


def content(array):
    if array.dtype != np.object_:
        return array.tobytes()
    return b"".join(len(element).to_bytes(4, "little") + element for element in array.flat)


def parsed(datatype, shape, content):
    if datatype != "BYTES":
        return np.frombuffer(content, DTYPES[datatype]).reshape(shape)
    elements = []
    while content:
        end = 4 + int.from_bytes(content[:4], "little")
        elements.append(content[4:end])
        content = content[end:]
    return np.array(elements, np.object_).reshape(shape)


class Httpx(Client):
    def post(self, path, body, headers, timeout=60):
        with httpx.Client(http1=False, http2=True, timeout=timeout) as client:
            response = client.post(f"http://{self.address}{path}", content=body, headers=headers)
        assert response.http_version == "HTTP/2", response.http_version
        response.raise_for_status()
        return response

    def infer(self, model, inputs, outputs, *, form=BINARY, version=None, gzip=False, timeout=60):
        is_binary, tail = form != JSON, b""
        tensors = []
        for name, array in inputs.items():
            tensor = {"name": name, "shape": array.shape, "datatype": DATATYPES[array.dtype.name]}
            if is_binary:
                tail += content(array)
                tensor["parameters"] = {"binary_data_size": len(content(array))}
            else:
                tensor["data"] = array.tolist()
            tensors.append(tensor)
        requested = [{"name": name, "parameters": {"binary_data": is_binary}} for name in outputs]
        head = json.dumps({"inputs": tensors, "outputs": requested}).encode()
        body, headers = head + tail, {}
        if is_binary:
            headers["inference-header-content-length"] = str(len(head))
        if gzip:
            body, headers["content-encoding"] = gzip_file.compress(body), "gzip"
        model = model if version is None else f"{model}/versions/{version}"
        return self.read(self.post(f"/v2/models/{model}/infer", body, headers, timeout))

    def read(self, response):
        length = int(response.headers.get("inference-header-content-length", len(response.content)))
        start, arrays = length, {}
        for output in json.loads(response.content[:length])["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                array = np.array(output["data"], DTYPES[output["datatype"]]).reshape(output["shape"])
            else:
                array = parsed(output["datatype"], output["shape"], response.content[start : start + size])
                start += size
            arrays[output["name"]] = array
        assert start == len(response.content), "bytes that belong to nothing"
        return arrays

    def raw(self, model, content):
        response = self.post(f"/v2/models/{model}/infer", content, {"inference-header-content-length": "0"})
        (array,) = self.read(response).values()
        return array.tobytes()

    def failure(self, error):
        assert isinstance(error, httpx.HTTPStatusError), repr(error)
        assert error.response.headers["content-type"] == "application/json"
        kind = {404: "not found", 400: "invalid"}[error.response.status_code]
        return kind, error.response.json()["error"]

    def gave_up(self, error):
        return isinstance(error, httpx.ReadTimeout)
