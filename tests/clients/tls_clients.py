#!/usr/bin/env python3
"""Speak TLS with a running server of `wine`, through clients as they come from PyPI.

    tls_clients.py CHECK HTTP_PORT GRPC_PORT AUTHORITY

CHECK is a function below `=== Checks ===`, AUTHORITY the certificate to trust.
"""

import sys

import gevent.ssl
import grpc
import numpy as np
import requests
import tritonclient.grpc
import tritonclient.http

HTTP, GRPC, AUTHORITY = f"localhost:{sys.argv[2]}", f"localhost:{sys.argv[3]}", sys.argv[4]

WINES = np.array([[13.5, 1.81, 2.61, 20, 96, 2.53, 2.61, 0.28, 1.66, 3.52, 1.12, 3.82, 845]], np.float32)


def infer(package, client):
    features = package.InferInput("features", [1, 13], "FP32").set_data_from_numpy(WINES)
    assert list(client.infer("wine", [features]).as_numpy("class")) == [b"class_0"]


# === Checks ===


def http():
    with requests.Session() as session:
        for _ in range(2):
            # Said with each request: what the environment trusts would go before the session's own word.
            answer = session.get(f"https://{HTTP}/v2/health/ready", verify=AUTHORITY)
            assert answer.json() == {"ready": True}
    try:
        requests.get(f"https://{HTTP}/v2")
        raise AssertionError("a certificate that nobody vouches for is trusted")
    except requests.exceptions.SSLError:
        pass
    context = lambda: gevent.ssl.create_default_context(cafile=AUTHORITY)
    with tritonclient.http.InferenceServerClient(HTTP, ssl=True, ssl_context_factory=context) as client:
        infer(tritonclient.http, client)


def grpc_():
    for address in (GRPC, HTTP):
        with tritonclient.grpc.InferenceServerClient(address, ssl=True, root_certificates=AUTHORITY) as client:
            assert client.is_server_ready()
            infer(tritonclient.grpc, client)


def plain():
    try:
        requests.get(f"http://{HTTP}/v2/health/live", timeout=30)
        raise AssertionError("answered in the clear")
    except requests.exceptions.ConnectionError:
        pass
    with grpc.insecure_channel(GRPC) as channel:
        try:
            channel.unary_unary("/inference.GRPCInferenceService/ServerLive", lambda m: m, lambda m: m)(b"")
            raise AssertionError("answered in the clear")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
    http()


CHECKS = {"http": http, "grpc": grpc_, "plain": plain}

if __name__ == "__main__":
    CHECKS[sys.argv[1]]()
