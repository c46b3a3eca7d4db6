#!/usr/bin/env python3
"""Make calls of gRPC that a real Triton got, and print what a server replies.

    triton_grpc.py ADDRESS CALLS

CALLS is a list in JSON. Each call has an `id`, a `method` and a `request` in protobuf's text format, or several for a
stream. Its line of the output has the `id`, the `code`, and without an error the `reply` in protobuf's JSON, or several
for a stream.
"""

import json
import sys
from pathlib import Path

import grpc
from google.protobuf import json_format, text_format
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2

# The time limit of a call, in seconds.
LIMIT = 60

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"


def messages(method):
    """The path of a method, and its request and response; none for a service that no server has."""
    service, _, name = method.rpartition("/")
    if not service:
        prefix = "ModelInfer" if name == "ModelStreamInfer" else name
        response = "ModelStreamInferResponse" if name == "ModelStreamInfer" else f"{name}Response"
        return f"/{INFERENCE}/{name}", getattr(service_pb2, f"{prefix}Request"), getattr(service_pb2, response)
    if service == HEALTH:
        return f"/{method}", health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    return f"/{method}", service_pb2.ServerLiveRequest, service_pb2.ServerLiveResponse


def ask(channel, call):
    """The reply to a call, as JSON."""
    path, request, response = messages(call["method"])
    texts = call["request"]
    requests = [text_format.Parse(text, request()) for text in ([texts] if isinstance(texts, str) else texts)]
    options = {"timeout": LIMIT}
    if call.get("compression") == "deflate":
        options["compression"] = grpc.Compression.Deflate
    code = (request.SerializeToString, response.FromString)
    if isinstance(texts, list):
        replies = list(channel.stream_stream(path, *code)(iter(requests), **options))
        return [read(reply) for reply in replies]
    if path.endswith("/Watch"):
        watch = channel.unary_stream(path, *code)(requests[0], **options)
        first = read(next(watch))
        watch.cancel()
        return first
    return read(channel.unary_unary(path, *code)(requests[0], **options))


def read(reply):
    return json_format.MessageToDict(reply, preserving_proto_field_name=True)


def main(address, calls):
    with grpc.insecure_channel(address) as channel:
        for call in json.loads(Path(calls).read_text(encoding="utf-8")):
            said = {"id": call["id"], "code": "OK"}
            try:
                said["reply"] = ask(channel, call)
            except grpc.RpcError as error:
                said["code"] = error.code().name
                said["details"] = error.details()
            print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
