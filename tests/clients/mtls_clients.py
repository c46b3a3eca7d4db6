#!/usr/bin/env python3
"""Call `wine` with the certificate of a client in place of a key, through clients as they come from PyPI.

    mtls_clients.py HTTP_PORT GRPC_PORT AUTHORITY CERTIFICATE KEY

AUTHORITY is the certificate to trust, CERTIFICATE that of a client of a tenant.
"""

import sys

import grpc
import numpy as np
import requests
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

HTTP, GRPC = (f"localhost:{port}" for port in sys.argv[1:3])
AUTHORITY, CERTIFICATE, KEY = sys.argv[3:6]

WINES = np.array([[13.5, 1.81, 2.61, 20, 96, 2.53, 2.61, 0.28, 1.66, 3.52, 1.12, 3.82, 845]], np.float32)


def http():
    body = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 13], "data": WINES.tolist()}]}
    url = f"https://{HTTP}/v2/models/wine/infer"
    for certificate, status in [((CERTIFICATE, KEY), 200), (None, 401)]:
        answer = requests.post(url, json=body, verify=AUTHORITY, cert=certificate)
        assert answer.status_code == status, answer.text


def infer(address, **files):
    with tritonclient.grpc.InferenceServerClient(
        address, ssl=True, root_certificates=AUTHORITY, **files
    ) as client:
        # Anybody may ask for the state of the server.
        assert client.is_server_ready()
        features = tritonclient.grpc.InferInput("features", [1, 13], "FP32").set_data_from_numpy(WINES)
        return list(client.infer("wine", [features]).as_numpy("class"))


def grpc_():
    for address in (GRPC, HTTP):
        assert infer(address, private_key=KEY, certificate_chain=CERTIFICATE) == [b"class_0"]
        try:
            infer(address)
            raise AssertionError("answered without a certificate")
        except InferenceServerException as error:
            assert error.status() == str(grpc.StatusCode.UNAUTHENTICATED), error


if __name__ == "__main__":
    http()
    grpc_()
