"""Receives what a server reports about its requests, with the libraries that others wrote for it.

    telemetry.py CHECK WISP REPOSITORY CACHE

starts the program WISP on a repository with the models `progression` and `wine`, sends requests, ends it, and checks
what has arrived: spans with the messages of opentelemetry-proto, payloads with the SDK of CloudEvents. In one check the
spans come through a collector, the agent of Rotel.
"""

import gzip
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc
import rotel
from cloudevents.core.formats.json import JSONFormat
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

TIMEOUT = 60
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
PHASES = ["read", "decode", "queue", "preprocess", "compute", "postprocess", "encode"]
FEATURES = [54, 2, 36.1, 115, 163, 98.4, 43, 4, 4.6821, 101]


class Receiver:
    """A server that stores the requests that it receives and answers all of them alike."""

    def __init__(self, status=200, answer=b""):
        received = self.received = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append((self.path, dict(self.headers.items()), body))
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Collector:
    """A collector of OpenTelemetry, which decodes what it receives and sends it on."""

    def __init__(self, target):
        ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        http, rpc = (f"127.0.0.1:{port.getsockname()[1]}" for port in ports)
        for port in ports:
            port.close()
        self.url = f"http://{http}"
        self.directory = tempfile.TemporaryDirectory()
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "ROTEL_"))}
        self.process = subprocess.Popen(
            [
                Path(rotel.__file__).parent / "rotel-agent", "start", "--otlp-http-endpoint", http, "--otlp-grpc-endpoint", rpc,
                "--pid-file", Path(self.directory.name) / "pid", "--log-file", Path(self.directory.name) / "log",
                "--exporter", "otlp", "--otlp-exporter-endpoint", target, "--otlp-exporter-protocol", "http",
                "--otlp-exporter-custom-headers", "x-key=secret",
            ],
            env=environment,
        )  # fmt: skip
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(http.rpartition(":")[2])), TIMEOUT).close()
                break
            except ConnectionRefusedError:
                assert self.process.poll() is None and time.monotonic() < deadline, "the collector does not start"
                time.sleep(0.02)

    def end(self):
        """Ends the process, which sends on what it has first."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(TIMEOUT) == 0, self.process.returncode
        self.directory.cleanup()


class Wisp:
    """A process that serves the repository, with its log as JSON."""

    def __init__(self, *arguments, **variables):
        program, repository, cache = sys.argv[2:5]
        command = [program, "serve", repository, "--http", "127.0.0.1:0", "--grpc", "none", "--metrics", "none"]
        command += ["--log-format", "json", "--log", "info", *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        environment |= {"XDG_CACHE_HOME": cache} | variables
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["message"] == "serving":
                break
        else:
            raise SystemExit(f"it does not start: {self.lines}")
        self.address = self.lines[-1]["http"].removeprefix("http://")
        # The pipe must not fill.
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            self.lines.append(json.loads(line))

    def post(self, path, body, **headers):
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT)
        connection.request("POST", path, json.dumps(body), {name.replace("_", "-"): v for name, v in headers.items()})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def infer(self, rows=1, model="progression", **headers):
        tensor = {"name": "features", "datatype": "FP32", "shape": [rows, 10], "data": FEATURES * rows}
        return self.post(f"/v2/models/{model}/infer", {"inputs": [tensor]}, **headers)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(TIMEOUT)
        self.reader.join(TIMEOUT)
        assert code == 0, (code, self.lines[-3:])

    def requests(self):
        return [line for line in self.lines if line["target"] == "wisp_server::requests"]


def attributes(owner):
    values = {}
    for pair in owner.attributes:
        values[pair.key] = getattr(pair.value, pair.value.WhichOneof("value"))
    return values


def exported(receiver):
    """Returns the resources and the spans of all requests to the collector."""
    resources, spans = [], []
    for path, headers, body in receiver.received:
        assert path == "/v1/traces", path
        headers = {name.lower(): value for name, value in headers.items()}
        assert headers["content-type"] == "application/x-protobuf", headers
        assert headers["x-key"] == "secret", headers
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resources.append(attributes(resource.resource))
            for scope in resource.scope_spans:
                assert scope.scope.name == "wisp", scope.scope
                spans += scope.spans
    return resources, spans


def traces():
    receiver = Receiver(answer=ExportTraceServiceResponse().SerializeToString())
    check_traces(receiver, receiver.url, lambda: None)


def traces_through_a_collector():
    receiver = Receiver(answer=ExportTraceServiceResponse().SerializeToString())
    collector = Collector(receiver.url)
    check_traces(receiver, collector.url, collector.end)


def check_traces(receiver, endpoint, end):
    """Checks the spans that a server sends to an endpoint, and that the receiver has after `end`."""
    wisp = Wisp(
        "--otlp-endpoint", endpoint, "--request-log", "all",
        OTEL_EXPORTER_OTLP_HEADERS="x-key=secret",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
    )  # fmt: skip
    parent = f"00-{TRACE}-{PARENT}-01"
    assert wisp.infer(x_request_id="own")[0] == 200
    assert wisp.infer(x_request_id="child", traceparent=parent, tracestate="a=1,b=2")[0] == 200
    assert wisp.infer(x_request_id="unsampled", traceparent=parent[:-1] + "0")[0] == 200
    assert wisp.infer(x_request_id="unknown", model="no")[0] == 404
    with grpc.insecure_channel(wisp.address) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        live(b"", metadata=[("traceparent", parent), ("x-request-id", "grpc")], timeout=TIMEOUT)
    wisp.end()
    end()

    resources, spans = exported(receiver)
    for resource in resources:
        assert resource["service.name"] == "wisp", resource
        assert resource["service.version"], resource
        assert resource["deployment.environment.name"] == "test", resource
    assert len({span.span_id for span in spans}) == len(spans)
    servers = {attributes(span)["wisp.request.id"]: span for span in spans if span.kind == Span.SPAN_KIND_SERVER}
    assert sorted(servers) == ["child", "grpc", "own", "unknown"], sorted(servers)

    own, child = servers["own"], servers["child"]
    assert own.name == child.name == "POST /v2/models/{model}/infer", own.name
    assert own.parent_span_id == b"" and own.trace_id.hex() not in ("0" * 32, TRACE)
    assert child.trace_id.hex() == TRACE and child.parent_span_id.hex() == PARENT
    assert child.trace_state == "a=1,b=2", child.trace_state
    expected = {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model}/infer",
        "url.path": "/v2/models/progression/infer",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
        "wisp.model.name": "progression",
        "wisp.model.version": "1",
    }
    found = attributes(own)
    assert expected.items() <= found.items(), found
    assert found["http.request.body.size"] > 0 and found["http.response.body.size"] > 0, found
    for server in (own, child):
        phases = [span for span in spans if span.parent_span_id == server.span_id]
        names = [phase.name for phase in phases]
        assert names == [name for name in PHASES if name in names], names
        assert {"decode", "compute", "encode"} <= set(names), names
        last = server.start_time_unix_nano
        for phase in phases:
            assert phase.kind == Span.SPAN_KIND_INTERNAL and phase.trace_id == server.trace_id
            assert last <= phase.start_time_unix_nano < phase.end_time_unix_nano <= server.end_time_unix_nano
            last = phase.start_time_unix_nano

    unknown = servers["unknown"]
    assert attributes(unknown)["error.type"] == "not_found", unknown
    assert unknown.status.code == Status.STATUS_CODE_UNSET, "the client has made the mistake"
    called = servers["grpc"]
    assert called.name == "inference.GRPCInferenceService/ServerLive", called.name
    assert called.trace_id.hex() == TRACE
    expected = {
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ServerLive",
        "rpc.grpc.status_code": 0,
    }
    assert expected.items() <= attributes(called).items(), attributes(called)

    lines = {line["request_id"]: line for line in wisp.requests()}
    assert sorted(lines) == ["child", "grpc", "own", "unknown", "unsampled"], sorted(lines)
    assert lines["own"]["trace_id"] == own.trace_id.hex() and lines["own"]["span_id"] == own.span_id.hex()
    assert lines["unsampled"]["trace_id"] == TRACE and "span_id" not in lines["unsampled"]
    assert lines["unknown"]["failure"] == "not_found" and lines["unknown"]["status"] == 404
    phases = sum(value for key, value in lines["own"].items() if key.endswith("_microseconds"))
    assert 0 < phases <= lines["own"]["microseconds"], lines["own"]
    assert lines["own"]["received_bytes"] == found["http.request.body.size"]


def sampling():
    """No request of its own is traced, one of a client's trace is, and only failures have lines."""
    receiver = Receiver(answer=ExportTraceServiceResponse().SerializeToString())
    wisp = Wisp(
        "--trace-sample-ratio", "0", "--request-log", "failures",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url + "/", OTEL_EXPORTER_OTLP_HEADERS="x-key=secret",
        OTEL_SERVICE_NAME="named",
    )  # fmt: skip
    for _ in range(20):
        assert wisp.infer()[0] == 200
    assert wisp.infer(x_request_id="unknown", model="no")[0] == 404
    assert wisp.infer(x_request_id="child", traceparent=f"00-{TRACE}-{PARENT}-01")[0] == 200
    wisp.end()
    resources, spans = exported(receiver)
    assert {resource["service.name"] for resource in resources} == {"named"}, resources
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert [line["request_id"] for line in wisp.requests()] == ["unknown"]


def check_events(events):
    """Checks the events of a call of one row and of one with more bytes than the limit."""
    for event in events:
        assert event.get_specversion() == "1.0"
        assert event.get_source() == "/v2/models/progression/versions/1"
        assert event.get_extension("inferenceservicename") == "progression"
        assert event.get_datacontenttype() == "application/json"
        assert event.get_time() is not None
    calls = {}
    for event in events:
        calls.setdefault(event.get_id(), []).append(event)
    small, large = calls.values()
    for call in (small, large):
        types = [event.get_type().rpartition(".")[2] for event in call]
        assert types == ["request", "response"], types
        assert all(event.get_type().startswith("org.kubeflow.serving.inference.") for event in call)
    request, response = (event.get_data() for event in small)
    (tensor,) = request["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("features", "FP32", [1, 10]), tensor
    assert all(abs(a - b) < 1e-4 for a, b in zip(tensor["data"], FEATURES, strict=True)), tensor
    assert response["model_name"] == "progression" and response["outputs"][0]["data"], response
    assert small[0].get_extension("requestid") == "small"
    (tensor,) = large[0].get_data()["inputs"]
    assert tensor == {"name": "features", "datatype": "FP32", "shape": [9, 10]}, tensor
    assert large[0].get_extension("leftout") is True


def payloads_in_a_file():
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "payloads.ndjson"
        wisp = Wisp("--payload-log", f"file:{path}", "--payload-log-max-bytes", "200")
        assert wisp.infer(x_request_id="small")[0] == 200
        assert wisp.infer(rows=9, x_request_id="large")[0] == 200
        # wine does not log its payloads.
        features = {"name": "features", "datatype": "FP32", "shape": [1, 13], "data": [1.0] * 13}
        wisp.post("/v2/models/wine/infer", {"inputs": [features]})
        wisp.end()
        lines = path.read_bytes().splitlines()
        check_events([JSONFormat().read(None, line) for line in lines])


def payloads_at_a_server():
    receiver = Receiver(status=202)
    wisp = Wisp("--payload-log", receiver.url + "/events", "--payload-log-max-bytes", "200")
    assert wisp.infer(x_request_id="small")[0] == 200
    assert wisp.infer(rows=9, x_request_id="large")[0] == 200
    wisp.end()
    events = []
    for path, headers, body in receiver.received:
        assert path == "/events", path
        headers = {name.lower(): value for name, value in headers.items()}
        assert headers["content-type"].startswith("application/cloudevents+json"), headers
        events.append(JSONFormat().read(None, body))
    check_events(events)


def dead_ends():
    """A collector that never answers and a server of payloads that is not there cost events and nothing else."""
    silent = socket.create_server(("127.0.0.1", 0))
    closed = socket.create_server(("127.0.0.1", 0))
    addresses = [f"http://127.0.0.1:{end.getsockname()[1]}" for end in (silent, closed)]
    closed.close()
    wisp = Wisp("--otlp-endpoint", addresses[0], "--payload-log", addresses[1])
    for _ in range(100):
        assert wisp.infer()[0] == 200
    wisp.end()
    lost = {line["events"]: line for line in wisp.lines if line["message"] == "not all events were written"}
    assert lost["payloads"]["written"] == 0 and lost["payloads"]["dropped"] > 0, lost


CHECKS = [traces, traces_through_a_collector, sampling, payloads_in_a_file, payloads_at_a_server, dead_ends]

if __name__ == "__main__":
    {check.__name__: check for check in CHECKS}[sys.argv[1]]()
