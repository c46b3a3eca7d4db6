#!/usr/bin/env python3
"""Drive a running server with one client through the cells of the matrix.

    cells.py CLIENT ADDRESS GRPC SLOW SLOW_GRPC EXAMPLES CELL...

Every client is behind the same few methods (see `Client`), so that a cell is written once. A line of JSON
comes out for each cell: its name, and what went wrong, or null. At SLOW there is a server whose model `hostile`
computes for longer than anybody waits.
"""

import importlib
import json
import sys
import threading
import time
import traceback
from pathlib import Path
from socket import SHUT_RDWR, create_connection, create_server

import numpy as np

JSON, BINARY = "values", "bytes"

# Which module of this directory has the client, and which class it is.
CLIENTS = {
    "tritonclient.http": ("triton", "Http"),
    "tritonclient.http.aio": ("triton", "HttpAio"),
    "tritonclient.grpc": ("triton", "Grpc"),
    "tritonclient.grpc.aio": ("triton", "GrpcAio"),
    "kserve REST v1": ("kserves", "RestV1"),
    "kserve REST v2": ("kserves", "RestV2"),
    "kserve gRPC": ("kserves", "Grpc"),
    "ovmsclient REST": ("ovms", "Rest"),
    "ovmsclient gRPC": ("ovms", "Grpc"),
    "httpx over HTTP/2": ("http2", "Httpx"),
}


class Client:
    """What a cell asks of a client. `outputs` are the names of what the model gives."""

    # Which of its two ports the server is asked at.
    GRPC = False
    # Whether arrays come back in the datatype that the model gives.
    TYPED = True
    # Whether the client can ask for some of the outputs.
    CHOOSES = True
    # What of an exchange it compresses.
    COMPRESSES = ("requests", "answers")

    def __init__(self, address):
        self.address = address

    def infer(self, model, inputs, outputs, *, form=None, version=None, gzip=False, timeout=None):
        """The named outputs as arrays."""
        raise NotImplementedError

    def raw(self, model, content):
        """The content of the only output, for a request that is the content of the only input."""
        raise NotImplementedError

    def failure(self, error):
        """`not found` or `invalid`, and the text."""
        raise NotImplementedError

    def gave_up(self, error):
        """Whether this is what the client raises when it does not wait any longer."""
        raise NotImplementedError


class Meter:
    """Relays connections to an address, and counts the bytes of each direction."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.target = (host, int(port))
        self.listener = create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.sent = self.received = 0

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = create_connection(self.target)
            for source, sink, counter in ((near, far, "sent"), (far, near, "received")):
                threading.Thread(target=self.relay, args=(source, sink, counter), daemon=True).start()

    def relay(self, source, sink, counter):
        try:
            while piece := source.recv(1 << 16):
                # One thread a direction, so nobody else changes the counter meanwhile.
                setattr(self, counter, getattr(self, counter) + len(piece))
                sink.sendall(piece)
            sink.shutdown(SHUT_RDWR)
        except OSError:
            pass


# === Asking ===

A = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
B = np.array([[0.5, -2, 30], [4, 1e-3, -6]], np.float32)
CALC = ("sum", "difference")


def expect(client, actual, expected):
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    assert not client.TYPED or actual.dtype == expected.dtype, f"{actual.dtype}, expected {expected.dtype}"
    np.testing.assert_allclose(actual.astype(np.float64), expected.astype(np.float64), rtol=1e-6)


def expect_calc(client, a, b, offset=1000, **options):
    answer = client.infer("calc", {"a": a, "b": b}, CALC, **options)
    assert sorted(answer) == sorted(CALC), answer
    expect(client, answer["sum"], a + b + np.float32(offset))
    expect(client, answer["difference"], a - b)


def expect_failure(client, kind, text, *arguments, **options):
    try:
        answer = client.infer(*arguments, **options)
    except Exception as error:
        found, said = client.failure(error)
        assert found == kind and text in said, f"expected {kind} with `{text}`, got {found}: {said}"
    else:
        raise AssertionError(f"expected {kind}, got an answer: {answer}")


def text_of(element):
    return element.decode() if isinstance(element, bytes) else str(element)


# === Cells ===


def values(client):
    expect_calc(client, A, B, form=JSON)


def binary(client):
    expect_calc(client, A, B, form=BINARY)


def raw(client):
    x = np.array([[1, -2.5, 0, 1e6]], np.float32)
    answer = client.raw("double", x.tobytes())
    expect(client, np.frombuffer(answer, np.float32).reshape(1, 4), x + x)


def gzip(client):
    a = np.zeros((2, 16_384), np.float32)
    with Meter(client.address) as meter:
        metered = type(client)(meter.address)
        expect_calc(metered, a, a, gzip=True)
        # 256 KiB each way, or as much again in JSON, and all of it the same.
        counts = {"requests": meter.sent, "answers": meter.received}
    for direction, count in counts.items():
        is_small = 0 < count < 32_768
        assert is_small == (direction in client.COMPRESSES), counts


def versioned(client):
    expect_calc(client, A, B, offset=0, version=1)
    expect_calc(client, A, B, offset=1000, version=2)
    expect_failure(client, "not found", "version 7", "calc", {"a": A, "b": B}, CALC, version=7)


def error(client):
    x = np.ones((1, 4), np.float32)
    expect_failure(client, "not found", "nope", "nope", {"x": x}, ["y"])
    expect_failure(client, "invalid", "3], expected", "double", {"x": x[:, :3]}, ["y"])
    expect_failure(client, "invalid", "`z`", "double", {"z": x}, ["y"])
    expect(client, client.infer("double", {"x": x}, ["y"])["y"], x + x)


def elements(client):
    pictures = [(EXAMPLES / "digits" / "samples" / f"{digit}.png").read_bytes() for digit in (7, 3)]
    answer = client.infer("digits", {"image": np.array(pictures, np.object_)}, ["label", "score"])
    assert answer["label"].shape == answer["score"].shape == (2, 3), answer
    assert [text_of(label) for label in answer["label"][:, 0]] == ["7", "3"], answer


def fp16(client):
    x = np.array([[1, -2.5, 0.0999755859375, 30_000]], np.float16)
    expect(client, client.infer("half", {"x": x}, ["y"])["y"], x + x)


def zero_size(client):
    empty = np.zeros((2, 0), np.float32)
    expect_calc(client, empty, empty)


def two_outputs(client):
    expect_calc(client, A, B)
    if client.CHOOSES:
        answer = client.infer("calc", {"a": A, "b": B}, ["difference"])
        assert list(answer) == ["difference"], answer
        expect(client, answer["difference"], A - B)


def cancel(client):
    slow = type(client)(SLOW[client.GRPC])
    start = time.monotonic()
    try:
        slow.infer("hostile", {"behaviour": np.array([b"loop"], np.object_)}, ["outcome"], timeout=1)
    except Exception as error:
        assert client.gave_up(error), repr(error)
    else:
        raise AssertionError("an endless loop has answered")
    assert time.monotonic() - start < 60
    expect_calc(client, A, B)


# === Besides ===


def readiness(client):
    for state in client.SERVER_STATES:
        assert client.ask(state) is True, state
    assert client.ask("is_model_ready", "calc") is True
    assert client.ask("is_model_ready", "broken") is False
    try:
        is_ready = client.ask("is_model_ready", "nope")
    except Exception as error:
        kind, text = client.failure(error)
        assert kind == "not found" and "nope" in text, repr(error)
    else:
        assert is_ready is False


CELLS = {
    "JSON": values,
    "binary": binary,
    "raw": raw,
    "gzip": gzip,
    "versioned": versioned,
    "error": error,
    "BYTES": elements,
    "FP16": fp16,
    "zero-size": zero_size,
    "two outputs": two_outputs,
    "cancel": cancel,
    "readiness": readiness,
}


def run(name, cell):
    try:
        module, kind = CLIENTS[name]
        kind = getattr(importlib.import_module(module), kind)
        CELLS[cell](kind(ADDRESSES[kind.GRPC]))
    except Exception:
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    # The modules of clients import this one, and must not get it a second time.
    sys.modules["cells"] = sys.modules["__main__"]
    NAME, ADDRESSES, SLOW, EXAMPLES = sys.argv[1], sys.argv[2:4], sys.argv[4:6], Path(sys.argv[6])
    for name in sys.argv[7:]:
        print(json.dumps({"cell": name, "error": run(NAME, name)}), flush=True)
