"""Makes the seeds of all targets from the fixtures of the repository: `python3 tests/fuzz/seed.py`."""

import gzip
import re
import zlib
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
ROOT = FUZZ.parent.parent
VERBS = {"predict": b"\0", "classify": b"\1", "regress": b"\2"}


def seed(target, name, content):
    directory = FUZZ / "corpus" / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)


def request(case):
    """The head and the body of a case's request."""
    head, _, body = (case / "request.http").read_bytes().partition(b"\n\n")
    return head, body


def main():
    fixtures = ROOT / "tests/fixtures"
    for case in sorted(fixtures.glob("*/*")):
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


if __name__ == "__main__":
    main()
