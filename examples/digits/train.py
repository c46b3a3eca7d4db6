#!/usr/bin/env python3
"""Train the digit classifier and write everything in this example that is not written by hand.

Writes 1/model.onnx, samples/ and cases/. The network is small enough to train in plain numpy: two 3x3
convolutions, a pooling and two dense layers. Arithmetic is float64 and the finished weights are rounded
to a coarse grid, so that the last bits in which machines and BLAS builds differ do not reach the file.

What the cases expect is computed here with Pillow, numpy and onnxruntime, never by Wisp.
"""

import io
import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).resolve().parent
SEED = 0
EPOCHS = 60
BATCH = 32
LEARNING_RATE = 2e-3
# Targets are 0.95 and the rest spread over the other classes: scores then say something about doubt.
SMOOTHING = 0.05
# Weights are multiples of this.
GRID = 1 / 4096

# === The network ===


def shape_of_parameters():
    return {
        "conv1.weight": (16, 1, 3, 3),
        "conv1.bias": (16,),
        "conv2.weight": (32, 16, 3, 3),
        "conv2.bias": (32,),
        "hidden.weight": (32, 512),
        "hidden.bias": (32,),
        "logits.weight": (10, 32),
        "logits.bias": (10,),
    }


def initial_parameters(random):
    """He-normal weights, zero biases."""
    parameters = {}
    for name, shape in shape_of_parameters().items():
        if name.endswith("bias"):
            parameters[name] = np.zeros(shape)
        else:
            parameters[name] = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    return parameters


def patches(x):
    """The 3x3 neighbourhoods of every pixel, padded with zeros: [batch, height, width, channels * 9]."""
    batch, channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(batch, height, width, channels * 9)


def unpatch(gradient, channels):
    """The gradient of `patches`: every neighbourhood adds back to the pixels it was taken from."""
    batch, height, width, _ = gradient.shape
    gradient = gradient.reshape(batch, height, width, channels, 3, 3)
    padded = np.zeros((batch, channels, height + 2, width + 2))
    for row in range(3):
        for column in range(3):
            window = gradient[:, :, :, :, row, column].transpose(0, 3, 1, 2)
            padded[:, :, row : row + height, column : column + width] += window
    return padded[:, :, 1:-1, 1:-1]


def convolve(x, weight, bias):
    columns = patches(x)
    return (columns @ weight.reshape(len(weight), -1).T + bias).transpose(0, 3, 1, 2), columns


def forward(p, x):
    """The logits, and what `backward` needs of the way there."""
    one, columns1 = convolve(x, p["conv1.weight"], p["conv1.bias"])
    one = np.maximum(one, 0)
    two, columns2 = convolve(one, p["conv2.weight"], p["conv2.bias"])
    two = np.maximum(two, 0)
    cells = two.reshape(len(x), 32, 4, 2, 4, 2)
    pooled = cells.max(axis=(3, 5))
    flat = pooled.reshape(len(x), 512)
    hidden = np.maximum(flat @ p["hidden.weight"].T + p["hidden.bias"], 0)
    logits = hidden @ p["logits.weight"].T + p["logits.bias"]
    return logits, (one, columns1, two, columns2, cells, pooled, flat, hidden)


def backward(p, kept, gradient):
    one, columns1, two, columns2, cells, pooled, flat, hidden = kept
    batch = len(gradient)
    g = {"logits.weight": gradient.T @ hidden, "logits.bias": gradient.sum(0)}
    d = (gradient @ p["logits.weight"]) * (hidden > 0)
    g["hidden.weight"], g["hidden.bias"] = d.T @ flat, d.sum(0)
    d = (d @ p["hidden.weight"]).reshape(pooled.shape)
    winners = cells == pooled[:, :, :, None, :, None]
    # Of equal maxima (mostly zeros, whose gradient Relu stops) each gets its share.
    winners = winners / winners.sum(axis=(3, 5), keepdims=True)
    d = (winners * d[:, :, :, None, :, None]).reshape(two.shape) * (two > 0)
    d = d.transpose(0, 2, 3, 1)
    rows = d.reshape(-1, 32)
    g["conv2.weight"] = (rows.T @ columns2.reshape(-1, 144)).reshape(p["conv2.weight"].shape)
    g["conv2.bias"] = rows.sum(0)
    d = unpatch(d @ p["conv2.weight"].reshape(32, -1), 16) * (one > 0)
    rows = d.transpose(0, 2, 3, 1).reshape(-1, 16)
    g["conv1.weight"] = (rows.T @ columns1.reshape(-1, 9)).reshape(p["conv1.weight"].shape)
    g["conv1.bias"] = rows.sum(0)
    return {name: value / batch for name, value in g.items()}


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


# === Training ===


def augment(images, random):
    """Shifts by up to a pixel, paper that is not quite white and ink that is not quite black."""
    batch = len(images)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    for axis in (2, 3):
        shift = random.uniform(-1, 1, (batch, 1, 1, 1))
        ahead, behind = np.roll(padded, 1, axis), np.roll(padded, -1, axis)
        part = np.abs(shift)
        padded = (1 - part) * padded + part * np.where(shift > 0, ahead, behind)
    shifted = padded[:, :, 2:-2, 2:-2]
    paper = random.uniform(0, 0.15, (batch, 1, 1, 1))
    ink = random.uniform(0.75, 1, (batch, 1, 1, 1))
    return paper + shifted * (ink - paper)


def train(images, labels):
    """Adam with a cosine learning rate, on smoothed targets."""
    random = np.random.default_rng(SEED)
    p = initial_parameters(random)
    first = {name: np.zeros_like(value) for name, value in p.items()}
    second = {name: np.zeros_like(value) for name, value in p.items()}
    targets = np.full((len(labels), 10), SMOOTHING / 9)
    targets[np.arange(len(labels)), labels] = 1 - SMOOTHING
    per_epoch = len(images) // BATCH
    steps = EPOCHS * per_epoch
    for step in range(steps):
        if step % per_epoch == 0:
            order = random.permutation(len(images))
        chosen = order[(step % per_epoch) * BATCH :][:BATCH]
        logits, kept = forward(p, augment(images[chosen], random))
        gradients = backward(p, kept, softmax(logits) - targets[chosen])
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
        for name, gradient in gradients.items():
            first[name] = 0.9 * first[name] + 0.1 * gradient
            second[name] = 0.999 * second[name] + 0.001 * gradient**2
            direction = first[name] / (1 - 0.9 ** (step + 1))
            scale = np.sqrt(second[name] / (1 - 0.999 ** (step + 1))) + 1e-8
            p[name] -= rate * direction / scale
    return {name: (np.round(value / GRID) * GRID).astype(np.float32) for name, value in p.items()}


def export(p, path):
    nodes = [
        helper.make_node("Conv", ["pixels", "conv1.weight", "conv1.bias"], ["conv1"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["conv1"], ["relu1"]),
        helper.make_node("Conv", ["relu1", "conv2.weight", "conv2.bias"], ["conv2"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["conv2"], ["relu2"]),
        helper.make_node("MaxPool", ["relu2"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "hidden.weight", "hidden.bias"], ["dense"], transB=1),
        helper.make_node("Relu", ["dense"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "logits.weight", "logits.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value, name) for name, value in p.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="examples/digits/train.py",
    )
    onnx.checker.check_model(model)
    path.parent.mkdir(exist_ok=True)
    onnx.save(model, path)


# === Samples ===


def paper(image, size):
    """A held-out 8x8 digit (ink 0..16) as dark ink on white paper, enlarged without smoothing."""
    grey = 255 - np.round(image * (255 / 16)).astype(np.uint8)
    return Image.fromarray(grey).resize((size, size), Image.Resampling.NEAREST)


def coloured(image, size):
    """Red ink on cream paper: reading it takes the right luma."""
    share = np.asarray(paper(image, size), np.float64)[:, :, None] / 255
    ink, cream = np.array([196, 24, 38]), np.array([250, 243, 224])
    return Image.fromarray(np.round(ink + share * (cream - ink)).astype(np.uint8))


def write_samples(images, labels):
    """The first held-out image of every class, and a few in other clothes."""
    folder = HERE / "samples"
    folder.mkdir(exist_ok=True)
    of = {digit: images[labels == digit] for digit in range(10)}
    for digit in range(10):
        paper(of[digit][0], 64).save(folder / f"{digit}.png", optimize=True)
    negative = 255 - np.asarray(paper(of[2][1], 64))
    Image.fromarray(negative).save(folder / "2-light-on-dark.png", optimize=True)
    paper(of[3][1], 64).save(folder / "3.jpg", quality=95)
    # 100 is no multiple of 8, so that cells straddle pixels when the handler reduces it.
    coloured(of[5][1], 100).save(folder / "5-colour.jpg", quality=95, subsampling=0)


# === Golden cases ===


def cells(length):
    """The share of each of `length` pixels in each of 8 cells of equal size: [8, length]."""
    edges = np.linspace(0, length, 9)
    start, end = edges[:-1, None], edges[1:, None]
    pixel = np.arange(length)[None]
    overlap = np.clip(np.minimum(end, pixel + 1) - np.maximum(start, pixel), 0, None)
    return overlap / (end - start)


def normalise(grey):
    """What the handler does to a greyscale image: average to 8x8, make the ink 1 and the paper 0."""
    height, width = grey.shape
    small = cells(height) @ grey.astype(np.float64) @ cells(width).T / 255
    border = np.concatenate([small[0], small[-1], small[1:-1, 0], small[1:-1, -1]])
    return 1 - small if border.mean() > 0.5 else small


def decode(content):
    """ITU-R 601 luma of an encoded image."""
    colours = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.float64)
    return colours @ np.array([0.299, 0.587, 0.114])


def expected(session, greys, top_k, tolerance):
    pixels = np.stack([normalise(grey) for grey in greys])[:, None].astype(np.float32)
    (logits,) = session.run(None, {"pixels": pixels})
    scores = softmax(logits.astype(np.float64))
    order = np.argsort(-scores, axis=1)[:, : top_k + 1]
    ranked = np.take_along_axis(scores, order, axis=1)
    # A case whose ranks are nearly tied would test the last bits of the engine, not the handler.
    assert (ranked[:, :-1] - ranked[:, 1:] > 3 * tolerance).all(), ranked
    shape = [len(greys), top_k]
    return {
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": shape, "data": [str(i) for i in order[:, :top_k].flat]},
            {
                "name": "score",
                "datatype": "FP32",
                "shape": shape,
                "data": [round(float(s), 6) for s in ranked[:, :top_k].flat],
            },
        ],
        "tolerance": tolerance,
    }


def write_case(name, about, request, expect):
    text = json.dumps({"about": about, "request": request, "expect": expect}, indent=2, ensure_ascii=False)
    # Arrays of plain values on one line.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda array: re.sub(r"\s*\n\s*", " ", array[0]), text)
    text = re.sub(r"\[ (.*?) \]", r"[\1]", text)
    (HERE / "cases").mkdir(exist_ok=True)
    (HERE / "cases" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def write_cases(session, images, labels):
    def of_file(name, about, file, tolerance, top_k=None):
        request = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "file": f"../samples/{file}"}]}
        if top_k is not None:
            request["parameters"] = {"top_k": top_k}
        grey = decode((HERE / "samples" / file).read_bytes())
        write_case(name, about, request, expected(session, [grey], top_k or 3, tolerance))

    of_file("png", "A PNG, dark ink on white paper; without top_k there are three labels.", "7.png", 1e-4)
    of_file("light_on_dark", "Light ink on dark paper reads the same.", "2-light-on-dark.png", 1e-4, top_k=2)
    # Decoders of JPEG may differ by a grey level, hence the wider tolerance and the single label.
    of_file(
        "colour_jpeg",
        "A colour JPEG of 100x100: luma, then area averages over cells that straddle pixels.",
        "5-colour.jpg",
        2e-3,
        top_k=1,
    )

    pair = [np.asarray(paper(images[labels == digit][2], 8)) for digit in (4, 8)]
    pair[1] = 255 - pair[1]
    write_case(
        "pixels",
        "Two images as greyscale pixels instead of an encoded image, the second one light on dark.",
        {
            "inputs": [
                {
                    "name": "pixels",
                    "datatype": "UINT8",
                    "shape": [2, 8, 8],
                    "data": [int(v) for grey in pair for v in grey.flat],
                }
            ],
            "parameters": {"top_k": 1},
        },
        expected(session, pair, 1, 1e-4),
    )
    write_case(
        "not_an_image",
        "Bytes that are neither PNG nor JPEG are a client error.",
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["seven"]}]},
        {"failure": "client", "message": "image"},
    )
    write_case(
        "top_k_too_large",
        "There are ten classes, so nobody can have eleven labels.",
        {
            "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "file": "../samples/7.png"}],
            "parameters": {"top_k": 11},
        },
        {"failure": "client", "message": "top_k"},
    )


def main():
    digits = load_digits()
    images, held_images, labels, held_labels = train_test_split(
        digits.images, digits.target, test_size=0.25, stratify=digits.target, random_state=SEED
    )
    model = HERE / "1" / "model.onnx"
    export(train(images[:, None] / 16, labels), model)

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for name, x, y in (("training", images, labels), ("held-out", held_images, held_labels)):
        (logits,) = session.run(None, {"pixels": (x[:, None] / 16).astype(np.float32)})
        right = int((logits.argmax(1) == y).sum())
        print(f"{name}: {right} of {len(y)} right, accuracy {right / len(y):.4f}")

    write_samples(held_images, held_labels)
    write_cases(session, held_images, held_labels)


if __name__ == "__main__":
    main()
