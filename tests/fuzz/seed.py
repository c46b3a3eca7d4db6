"""Makes the seeds of all targets from the fixtures of the repository: `python3 tests/fuzz/seed.py`.

They are written below `tests/fuzz/corpus`, where cargo-fuzz looks for them, or below the directory that is given.
"""

import gzip
import json
import re
import sys
import zlib
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
ROOT = FUZZ.parent.parent
CORPUS = Path(sys.argv[1]) if len(sys.argv) > 1 else FUZZ / "corpus"
VERBS = {"predict": b"\0", "classify": b"\1", "regress": b"\2"}


def seed(target, name, content):
    directory = CORPUS / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)


def request(case):
    """The head and the body of a case's request."""
    head, _, body = (case / "request.http").read_bytes().partition(b"\n\n")
    return head, body


def main():
    fixtures = ROOT / "tests/fixtures"
    for case in sorted(path.parent for path in fixtures.glob("*/*/request.http")):
        head, body = request(case)
        line, *headers = head.replace(b" HTTP/1.1", b"").split(b"\n")
        seed("route", f"{case.parent.name}-{case.name}", b"\n".join([line, *headers]))
        path = line.split(b" ")[1]
        if not body:
            continue
        for coding, compressed in ((b"\0", gzip.compress(body, mtime=0)), (b"\1", zlib.compress(body))):
            seed("content_coding", f"{case.parent.name}-{case.name}-{coding[0]}", coding + compressed)
        if path.endswith(b"/infer"):
            length = re.search(rb"inference-header-content-length: (\d+)$", head, re.M | re.I)
            if length is None:
                seed("v2_json", case.name, body)
            length = int(length[1]) if length else len(body)
            seed("v2_binary", case.name, (length & 0xFFFF).to_bytes(2, "little") + body)
        if verb := re.search(rb":(predict|classify|regress)$", path):
            seed("tfs_json", case.name, VERBS[verb[1].decode()] + body)
        if verb := re.match(rb"/(batch_)?predict", path):
            seed("predict_json", case.name, (b"\1" if verb[1] else b"\0") + body)
    # Long enough for the way that long lists take.
    numbers = ", ".join(["1.5, -0.8444218635559082, 2e-7"] * 40)
    long = '{"inputs": [{"name": "wide", "shape": [1, 30, 2, 2], "datatype": "FP32", "data": [%s]}]}' % numbers
    seed("v2_json", "long_list", long.encode())
    for message in sorted((ROOT / "host/protocol/src/grpc/tests/fixtures").glob("*.bin")):
        content = message.read_bytes()
        if message.name.startswith("triton"):
            seed("grpc_v2", message.stem, content)
        for method in range(4):
            seed("tfs_grpc", f"{message.stem}-{method}", bytes([method]) + content)
    # An example with the feature `x`, two singles.
    example = bytes.fromhex("1219 0a17 0a15 0a13 0a11 0a0178 120c 120a 0a08") + b"\0\0\x80\x3f" * 2
    for method in (1, 2):
        seed("tfs_grpc", f"example-{method}", bytes([method]) + example)
    # A row of three singles for no model by name, and two of them.
    row = b"\x12\x0c" + b"\0\0\x80\x3f" * 3
    seed("predict_grpc", "one", b"\0" + row)
    seed("predict_grpc", "two", b"\1" + (b"\x0a" + bytes([len(row)]) + row) * 2)
    for kind, message in enumerate(["triton*", "triton*", "ovms*", "ovms*", "*"]):
        for path in sorted((ROOT / "host/protocol/src/grpc/tests/fixtures").glob(message + ".bin")):
            seed("grpc_limits", f"{path.stem}-{kind}", bytes([kind]) + path.read_bytes())
    seed("grpc_limits", "row", b"\4" + (b"\x0a" + bytes([len(row)]) + row) * 2)
    for case in sorted((ROOT / "examples").glob("*/cases/*.json")):
        seed("golden_case", f"{case.parent.parent.name}-{case.stem}", case.read_bytes())
    for model in sorted((ROOT / "examples").glob("*/1/model.onnx")):
        # The last bytes declare the inputs and outputs; in the first ones is the beginning of the graph.
        content = model.read_bytes()
        seed("model_outline", model.parent.parent.name, content if len(content) < 8192 else content[:4096])
    for name, content in documents().items():
        target, _, name = name.partition("/")
        seed(target, name, content if isinstance(content, bytes) else json.dumps(content).encode())


def documents():
    """Seeds without a fixture, by target and name."""
    config = {
        "name": "m",
        "backend": "onnxruntime",
        "maxBatchSize": "8",
        "input": [{"name": "features", "data_type": "TYPE_FP32", "dims": [10]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": ["1"], "reshape": {"shape": []}}],
        "instance_group": [{"kind": "KIND_CPU", "count": 2}],
        "dynamic_batching": {"preferred_batch_size": [4, 8], "max_queue_delay_microseconds": 100},
        "version_policy": {"specific": {"versions": [1, 2]}},
        "parameters": {"key": {"string_value": "value"}},
    }
    files = {"config": json.dumps(config), "file:1/model.onnx": "CAgSAA==", "file:1/labels.txt": "YQpi"}
    settings = {"weight_percent": 5.5, "shadow_percent": 0, "min_requests": 100, "max_error_percent": 1}
    start = {"candidate": "2", "stable": "1", "settings": settings | {"latency": "mean", "max_latency_ratio": 1.5}}
    record = {
        "format": 1,
        "model": "m",
        "stable": "1",
        "candidate": "2",
        "phase": "running",
        "settings": settings,
        "events": [{"unix_milliseconds": 1700000000000, "event": "started", "reason": "a reason"}],
    }
    return {
        "config_text/whole": b"""name: "m"
platform: 'onnxruntime_onnx'  # a comment
max_batch_size: 8
input [ { name: "features" data_type: TYPE_FP32 dims: [ 3, -1, 0x10 ] format: FORMAT_NCHW } ]
output { name: "y\\x41\\n" "z"; data_type: TYPE_STRING; dims: 1, label_filename: "labels.txt" }
instance_group [ { count: 2 kind: KIND_CPU gpus: [] } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100
  default_queue_policy < timeout_action: DELAY allow_timeout_override: true > }
version_policy: { latest { num_versions: 2 } }
parameters { key: "k" value: { string_value: "v" } }
response_cache { enable: true }
""",
        "config_text/short": b"backend: \"none\" input { name: \"x\" data_type: TYPE_INT64 dims: -1 }",
        "load_request/files": {"parameters": files},
        "load_request/plain": {},
        "release/without_limit": b"\0" + json.dumps({"candidate": 2, "settings": {"max_error_percent": None}}).encode(),
        "release/start": b"\0" + json.dumps(start).encode(),
        "release/record": b"\1" + json.dumps(record).encode(),
        "v2_control/unload": {"parameters": {"unload_dependents": False}},
        "v2_control/index": {"ready": True},
        "v2_control/trace": {"trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1", "trace_file": ""},
        "v2_control/log": {"log_info": True, "log_verbose_level": 0, "log_format": "default"},
        "model_outline/json": b'{"format": "a model of another program"}',
        "model_outline/zip": b"PK\3\4" + bytes(64) + b"archive/data.pkl",
        "model_outline/hdf5": b"\x89HDF\r\n\x1a\n" + bytes(64),
    }


if __name__ == "__main__":
    main()
