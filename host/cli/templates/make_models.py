#!/usr/bin/env python3
"""Write the placeholder models of the templates, their sample requests and their golden cases.

    pip install numpy onnx && python3 host/cli/templates/make_models.py

Nothing is trained: the weights are written down here, so that a new project answers something that
anyone can judge by eye. What the cases expect is computed here with numpy, never by Wisp.
"""

import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
TOLERANCE = 0.0001


def save(template, nodes, value_in, value_out, weights):
    """One graph with a variable first axis, as small as it gets."""
    (name_in, shape_in), (name_out, shape_out) = value_in, value_out
    graph = helper.make_graph(
        nodes,
        "placeholder",
        [helper.make_tensor_value_info(name_in, TensorProto.FLOAT, ["batch", *shape_in])],
        [helper.make_tensor_value_info(name_out, TensorProto.FLOAT, ["batch", *shape_out])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(
        graph, producer_name="wisp make_models.py", opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, directory(template, "1") / "model.onnx")


def directory(template, name):
    path = HERE / template / "models" / "template" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_json(path, content):
    text = json.dumps(content, indent=2)
    # Innermost arrays on one line.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda array: re.sub(r"\s*\n\s*", " ", array[0]), text)
    text = re.sub(r"\[ (.*?) \]", r"[\1]", text)
    path.write_text(text + "\n")


def case(template, name, about, request, expect):
    write_json(directory(template, "cases") / f"{name}.json", {"about": about, "request": request, "expect": expect})


def tensor(name, datatype, shape, data=None, file=None):
    content = {"data": data} if file is None else {"file": file}
    return {"name": name, "datatype": datatype, "shape": shape, **content}


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def rounded(array):
    return [round(float(value), 6) for value in np.asarray(array).ravel()]


def tabular():
    """The class follows from the mean of the four scaled features."""
    mean, deviation = np.array([30, 20, 15, 2]), np.array([15, 10, 10, 2])
    weights = np.array([[-0.75, 0.0, 0.75]] * 4)
    bias = np.array([0.0, 1.0, 0.0])
    save(
        "tabular",
        [helper.make_node("Gemm", ["features", "weights", "bias"], ["logits"])],
        ("features", [4]),
        ("logits", [3]),
        {"weights": weights, "bias": bias},
    )
    rows = np.array([[12.0, 8.0, 5.0, 0.2], [35.0, 25.0, 15.0, 2.5], [80.0, 60.0, 40.0, 18.0]])
    request = {"inputs": [tensor("features", "FP32", [3, 4], rows.ravel().tolist())]}
    probabilities = softmax((rows - mean) / deviation @ weights + bias)
    classes = [["small", "medium", "large"][index] for index in probabilities.argmax(axis=1)]
    outputs = [
        tensor("class", "BYTES", [3], classes),
        tensor("probabilities", "FP32", [3, 3], rounded(probabilities)),
    ]
    write_json(directory("tabular", "samples") / "request.json", request)
    case("tabular", "one_of_each", "Three parcels, one of each class.", request, {"outputs": outputs, "tolerance": TOLERANCE})
    bad = {"inputs": [tensor("features", "FP32", [1, 4], [35.0, 25.0, 15.0, -1.0])]}
    about = "A negative weight: the error names the feature."
    case("tabular", "negative_weight", about, bad, {"failure": "client", "message": "weight_kg"})


def text():
    """A word is positive, negative or ignored; the handler finds its column by hashing."""
    columns = 512
    good = "good great excellent love loved lovely nice happy wonderful best better fine perfect enjoy enjoyed thanks".split()
    bad = "bad terrible hate hated ugly sad horrible worst worse broken poor angry boring useless wrong".split()

    def column(word):
        value = 0x811C9DC5
        for byte in word.encode():
            value = ((value ^ byte) * 0x01000193) % 2**32
        return value % columns

    assert len({column(word) for word in good + bad}) == len(good + bad), "two words share a column"
    weights = np.zeros((columns, 2))
    for word in good:
        weights[column(word)] = [-1.0, 1.0]
    for word in bad:
        weights[column(word)] = [1.0, -1.0]
    save(
        "text",
        [helper.make_node("MatMul", ["counts", "weights"], ["logits"])],
        ("counts", [columns]),
        ("logits", [2]),
        {"weights": weights},
    )
    texts = ["What a lovely day, thanks!", "The worst film I ever saw: boring, boring."]
    signs = np.array([2, -3])
    scores = softmax(np.stack([-signs, signs], axis=1).astype(float))
    request = {"inputs": [tensor("text", "BYTES", [2], texts)]}
    outputs = [
        tensor("label", "BYTES", [2], ["positive", "negative"]),
        tensor("scores", "FP32", [2, 2], rounded(scores)),
    ]
    write_json(directory("text", "samples") / "request.json", request)
    case("text", "both_moods", "One text of each mood.", request, {"outputs": outputs, "tolerance": TOLERANCE})
    neutral = "The train leaves at noon."
    assert all(not weights[column(word)].any() for word in ["the", "train", "leaves", "at", "noon"])
    request = {"inputs": [tensor("text", "BYTES", [1], [neutral])]}
    outputs = [tensor("scores", "FP32", [1, 2], [0.5, 0.5])]
    about = "A text without any of the words has equal scores."
    case("text", "neutral", about, request, {"outputs": outputs, "tolerance": TOLERANCE})


def image():
    """The label is the most frequent colour."""
    side = 32
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    sharpness = 8.0
    save(
        "image",
        [
            helper.make_node("GlobalAveragePool", ["pixels"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["colours"]),
            helper.make_node("Gemm", ["colours", "weights", "bias"], ["logits"]),
        ],
        ("pixels", [3, side, side]),
        ("logits", [3]),
        {"weights": np.diag(sharpness * deviation), "bias": sharpness * mean},
    )
    for name, disc in [("red", (220, 40, 30)), ("blue", (30, 60, 210))]:
        pixels = draw_disc(side, disc)
        (directory("image", "samples") / f"{name}.png").write_bytes(png(pixels))
        scores = softmax(sharpness * pixels.reshape(-1, 3).mean(axis=0) / 255)
        order = np.argsort(-scores)
        outputs = [
            tensor("label", "BYTES", [1, 3], [["red", "green", "blue"][index] for index in order]),
            tensor("score", "FP32", [1, 3], rounded(scores[order])),
        ]
        request = {"inputs": [tensor("image", "BYTES", [1], file=f"../samples/{name}.png")]}
        case("image", name, f"A {name} disc on white.", request, {"outputs": outputs, "tolerance": TOLERANCE})
    bad = {"inputs": [tensor("image", "BYTES", [1], ["not a picture"])]}
    about = "Bytes that are no PNG, JPEG or WebP are a client error."
    case("image", "not_a_picture", about, bad, {"failure": "client", "message": "not a PNG, JPEG or WebP image"})


def draw_disc(side, colour):
    rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
    inside = np.hypot(rows, columns) <= 0.45 * side
    return np.where(inside[..., None], np.array(colour), 255).astype(np.uint8)


def png(pixels):
    """An RGB image as the shortest PNG file that holds it without filters."""
    height, width, _ = pixels.shape

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    tabular()
    text()
    image()
