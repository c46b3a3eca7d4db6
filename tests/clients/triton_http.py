#!/usr/bin/env python3
"""Drive a running server with the HTTP clients of tritonclient, as they come from PyPI.

    triton_http.py CHECK ADDRESS EXAMPLES

CHECK is a function below `=== Checks ===`. What the examples have to answer is read from their golden
cases; every case is asked in each form that the client can write and read: inputs as JSON or binary,
outputs as JSON, binary or left to the client.
"""

import asyncio
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image
from tritonclient.http import InferenceServerClient, InferenceServerException, InferInput, InferRequestedOutput
from tritonclient.http import aio
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

ADDRESS, EXAMPLES = sys.argv[2], Path(sys.argv[3])
JSON, BINARY, UNSAID = False, True, None

# === Asking ===


def to_inputs(tensors, form=BINARY):
    inputs = []
    for name, array in tensors.items():
        tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array, binary_data=form))
    return inputs


def ask(client, model, tensors, outputs=None, form=(BINARY, UNSAID), **options):
    """The outputs as arrays, once their names, order and form are found to be those asked for."""
    inputs = to_inputs(tensors, form[0])
    requested = None
    if form[1] is not UNSAID:
        requested = [InferRequestedOutput(name, binary_data=form[1]) for name in outputs]
    result = client.infer(model, inputs, outputs=requested, **options)
    answer = result.get_response()
    assert (answer["model_name"], answer["model_version"]) == (model, "1"), answer
    assert answer.get("id") == options.get("request_id"), answer
    names = [output["name"] for output in answer["outputs"]]
    assert outputs is None or names == outputs, answer
    for output in answer["outputs"]:
        # Unsaid means binary: the client then asks for that itself.
        is_json = form[1] is JSON
        assert ("data" in output) == is_json, answer
        assert ("binary_data_size" in output.get("parameters", {})) != is_json, answer
    return {name: decoded(result.as_numpy(name)) for name in names}


def decoded(array):
    """BYTES come as bytes from binary data and as strings from JSON."""
    if array.dtype != np.object_:
        return array
    texts = [item.decode() if isinstance(item, bytes) else item for item in array.flat]
    return np.array(texts, np.object_).reshape(array.shape)


def texts(*elements):
    return np.array(elements, np.object_)


def expect_failure(status, text, call, *arguments, **options):
    try:
        answer = call(*arguments, **options)
    except InferenceServerException as error:
        assert error.status() == str(status), f"expected {status}, got {error}"
        assert text in error.message(), f"expected `{text}` in: {error}"
    else:
        raise AssertionError(f"expected {status}, got an answer: {answer}")


# === Golden cases ===


def tensor_of(entry, folder):
    if "file" in entry:
        array = texts((folder / entry["file"]).read_bytes())
    elif entry["datatype"] == "BYTES":
        array = texts(*(text.encode() for text in entry["data"]))
    else:
        array = np.array(entry["data"], triton_to_np_dtype(entry["datatype"]))
    return array.reshape(entry["shape"])


def has_json_form(array):
    try:
        return array.dtype != np.object_ or bool([item.decode() for item in array.flat])
    except UnicodeDecodeError:
        return False


def check_golden_case(client, model, name):
    path = EXAMPLES / model / "cases" / f"{name}.json"
    case = json.loads(path.read_text(encoding="utf-8"))
    tensors = {entry["name"]: tensor_of(entry, path.parent) for entry in case["request"]["inputs"]}
    parameters = case["request"].get("parameters")
    expected = {output["name"]: output for output in case["expect"]["outputs"]}
    asked = 0
    for inputs in (JSON, BINARY):
        if inputs is JSON and not all(map(has_json_form, tensors.values())):
            continue
        for outputs in (JSON, BINARY, UNSAID):
            form = (inputs, outputs)
            answer = ask(client, model, tensors, list(expected), form, parameters=parameters)
            for output, values in answer.items():
                check_output(expected[output], values, case["expect"].get("tolerance", 1e-4), f"{name} {form} {output}")
            asked += 1
    print(f"{model} {name}: {asked} forms")


def check_output(expected, values, tolerance, place):
    assert list(values.shape) == expected["shape"], f"{place}: shape {values.shape}"
    if expected["datatype"] == "BYTES":
        assert list(values.flat) == expected["data"], f"{place}: {values}"
        return
    assert values.dtype == triton_to_np_dtype(expected["datatype"]), f"{place}: {values.dtype}"
    flat = np.array(expected["data"], values.dtype)
    np.testing.assert_allclose(values.ravel(), flat, rtol=0, atol=tolerance, err_msg=place)


# === Checks ===


def digits(client):
    for case in ("png", "colour_jpeg", "light_on_dark", "pixels"):
        check_golden_case(client, "digits", case)
    samples = EXAMPLES / "digits" / "samples"
    batch = texts(*((samples / f"{digit}.png").read_bytes() for digit in range(10)))
    answer = ask(client, "digits", {"image": batch}, parameters={"top_k": 10})
    assert list(answer["label"][:, 0]) == [str(digit) for digit in range(10)], answer
    assert answer["score"].shape == (10, 10), answer
    np.testing.assert_allclose(answer["score"].sum(1), 1, atol=1e-5)
    assert (np.diff(answer["score"], axis=1) <= 0).all(), answer
    jpeg = (samples / "3.jpg").read_bytes()
    for top_k in (1, 3, 10):
        answer = ask(client, "digits", {"image": texts(jpeg)}, parameters={"top_k": top_k}, request_id=f"jpeg-{top_k}")
        assert answer["label"].shape == (1, top_k), answer
        assert answer["label"][0, 0] == "3", answer
    # Several megabytes in one element: a large picture with noise, which no encoder makes small.
    seven = Image.open(samples / "7.png").convert("L").resize((2000, 2000), Image.Resampling.NEAREST)
    noise = np.random.default_rng(0).integers(-40, 41, (2000, 2000))
    noisy = Image.fromarray(np.clip(np.asarray(seven, int) + noise, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    noisy.save(file, "PNG")
    assert file.tell() > 2_000_000, file.tell()
    assert ask(client, "digits", {"image": texts(file.getvalue())})["label"][0, 0] == "7"


def wine(client):
    check_golden_case(client, "wine", "one_of_each")
    check_golden_case(client, "wine", "by_name")
    rows = {"features": WINES}
    both = ask(client, "wine", rows, ["probabilities", "class"], (JSON, BINARY))
    alone = ask(client, "wine", rows, ["class"], (BINARY, JSON))
    assert list(both) == ["probabilities", "class"] and list(alone) == ["class"]
    assert list(both["class"]) == list(alone["class"]) == ["class_0", "class_1"], (both, alone)


def progression(client):
    for case in ("one_patient", "a_ward", "some_corrected"):
        check_golden_case(client, "progression", case)
    answer = ask(client, "progression", {"features": patients(3)}, ["corrected"], (BINARY, BINARY), model_version="1")
    assert answer["corrected"].dtype == bool and answer["corrected"].shape == (3,), answer


def embed(client):
    for case in ("lengths", "scripts", "empty", "truncated"):
        check_golden_case(client, "embed", case)
    sentences = texts(b"A man is eating food.", b"A man eats something.", b"The server was restarted at night.")
    embeddings = ask(client, "embed", {"text": sentences})["embedding"]
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    similar, different = embeddings[0] @ embeddings[1], embeddings[0] @ embeddings[2]
    assert similar > 0.7 > 0.3 > different, (similar, different)
    # A text of megabytes, full of what JSON has to escape: what counts is its beginning.
    start = 'She said: "Tea\\time?" \t\u00e9\u4e2d\U0001f642\n'
    both = {}
    for form in (JSON, BINARY):
        for length, repeats in (("short", 100), ("long", 100_000)):
            text = texts((start * repeats).encode())
            both[form, length] = ask(client, "embed", {"text": text}, ["embedding"], (form, form))["embedding"]
    for answer in both.values():
        np.testing.assert_allclose(answer, both[BINARY, "short"], atol=1e-6)


def server(client):
    assert client.is_server_live() and client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata["name"] == "wisp" and "binary_tensor_data" in metadata["extensions"], metadata
    for version in ("", "1"):
        assert client.is_model_ready("wine", version)
        metadata = client.get_model_metadata("wine", version)
        assert metadata["versions"] == ["1"] and len(metadata["inputs"]) == 14, metadata
        assert metadata["inputs"][0] == {"name": "features", "datatype": "FP32", "shape": [-1, 13]}, metadata
        assert [output["name"] for output in metadata["outputs"]] == ["class", "probabilities"], metadata
    for model, version in (("nope", ""), ("wine", "2"), ("broken", "")):
        assert not client.is_model_ready(model, version), (model, version)
    index = {entry["name"]: entry for entry in client.get_model_repository_index()}
    assert sorted(index) == ["broken", "digits", "progression", "wine"], index
    assert index["wine"] == {"name": "wine", "version": "1", "state": "READY"}, index
    assert index["broken"]["state"] == "UNAVAILABLE" and index["broken"]["reason"], index


def control(client):
    assert "model_repository" in client.get_server_metadata()["extensions"]
    config = client.get_model_config("wine")
    assert (config["name"], config["backend"], config["max_batch_size"]) == ("wine", "tract", 32), config
    tensor = {name: config["input"][0][name] for name in ("name", "data_type", "format", "dims")}
    expected = {"name": "features", "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": [13]}
    assert tensor == expected, config
    client.unload_model("wine")
    assert not client.is_model_ready("wine")
    expect_failure(404, "'wine' has no available versions", client.infer, "wine", to_inputs({"features": WINES}))
    client.load_model("wine")
    assert client.is_model_ready("wine")
    client.infer("wine", to_inputs({"features": WINES}))
    expect_failure(404, "failed to load 'nope', failed to poll from model repository", client.load_model, "nope")
    expect_failure(400, "failed to load `broken`", client.load_model, "broken")
    overrides(client)


def overrides(client):
    """A load with a configuration, and with files that are not in the repository."""
    config = json.dumps({"max_batch_size": 1, "output": [{"name": "class", "data_type": "TYPE_STRING"}]})
    client.load_model("wine", config=config)
    assert client.get_model_config("wine")["max_batch_size"] == 1
    expect_failure(400, "", client.infer, "wine", to_inputs({"features": WINES}))
    client.load_model("wine")
    client.infer("wine", to_inputs({"features": WINES}))
    # A configuration as it was read may be sent back.
    client.load_model("wine", config=json.dumps(client.get_model_config("wine")))

    graph = (EXAMPLES / "progression" / "1" / "model.onnx").read_bytes()
    config = json.dumps({"name": "sent", "max_batch_size": 4, "version_policy": {"all": {}}})
    client.load_model("sent", config=config, files={"file:1/model.onnx": graph, "file:7/model.onnx": graph})
    assert client.get_model_metadata("sent")["versions"] == ["1", "7"]
    assert client.get_model_config("sent")["max_batch_size"] == 4
    result = client.infer("sent", to_inputs({"features": patients(2)}))
    assert result.get_response()["model_version"] == "7", result.get_response()
    expect_failure(400, "", client.infer, "sent", to_inputs({"features": patients(5)}))
    # The next load is of the repository, where there is no such model; what is served stays.
    expect_failure(404, "sent", client.load_model, "sent")
    assert client.is_model_ready("sent", "1")
    client.unload_model("sent")
    assert not client.is_model_ready("sent")

    files = {"file:1/model.onnx": graph}
    for status, text, options in (
        (400, "needs the parameter `config`", {"files": files}),
        (400, "`file:../model.onnx` does not name a file", {"config": "{}", "files": {"file:../model.onnx": graph}}),
        (400, "failed to load `refused`: `config` has the unknown field `max_batch`", {"config": '{"max_batch":1}'}),
        # What NVIDIA's examples send, and the words that they look for.
        (400, "failed to load `refused`: `config` is not a", {"config": '"parameters": {"config": {{"x": "16"}}}'}),
        (501, "`ensemble_scheduling` is not supported", {"config": '{"ensemble_scheduling":{"step":[{}]}}'}),
        (400, "`config` is for model `other`", {"config": '{"name":"other"}', "files": files}),
        (400, "there is no backend `python`", {"config": '{"backend":"python"}', "files": files}),
        (400, "declares input `x`", {"config": '{"input":[{"name":"x"}]}', "files": files}),
        (400, "it is a text file", {"config": "{}", "files": {"file:1/model.onnx": b"not a model"}}),
    ):
        expect_failure(status, text, client.load_model, "refused", **options)
    names = [model["name"] for model in client.get_model_repository_index()]
    assert "refused" not in names, names


def statistics(client):
    assert "statistics" in client.get_server_metadata()["extensions"]
    (idle,) = client.get_inference_statistics("progression", "1")["model_stats"]
    assert idle["last_inference"] == idle["inference_count"] == idle["inference_stats"]["success"]["count"] == 0, idle
    before = time.time()
    for rows in (1, 2, 1):
        ask(client, "progression", {"features": patients(rows)})
    expect_failure(400, "is FP64", client.infer, "progression", to_inputs({"features": np.zeros((1, 10))}))
    expect_failure(404, "version 7 is not", client.infer, "progression", to_inputs({"features": patients(1)}), "7")
    (told,) = client.get_inference_statistics("progression")["model_stats"]
    assert (told["name"], told["version"]) == ("progression", "1"), told
    assert (told["inference_count"], told["execution_count"]) == (4, 3), told
    assert before - 1 < told["last_inference"] / 1000 < time.time() + 1, told
    requests = told["inference_stats"]
    counts = {name: figure["count"] for name, figure in requests.items()}
    once_each = dict.fromkeys(("success", "queue", "compute_input", "compute_infer", "compute_output"), 3)
    # The version that does not exist has no statistics to count in.
    assert counts == once_each | {"fail": 1, "cache_hit": 0, "cache_miss": 0}, counts
    phases = ("queue", "compute_input", "compute_infer", "compute_output")
    assert all(requests[phase]["ns"] > 0 for phase in phases), requests
    assert sum(requests[phase]["ns"] for phase in phases) <= requests["success"]["ns"], requests
    batches = {batch["batch_size"]: batch["compute_infer"]["count"] for batch in told["batch_stats"]}
    assert batches == {1: 2, 2: 1}, told
    # A member that Triton does not have; the client returns it as it is.
    (batching,) = told["batching"]
    assert batching["graph"] == "model" and batching["decision"].startswith("auto: "), told
    models = [model["name"] for model in client.get_inference_statistics()["model_stats"]]
    assert models == ["digits", "progression", "wine"], models
    expect_failure(404, "requested model 'nope' is not available", client.get_inference_statistics, "nope")
    expect_failure(503, "`broken` is unavailable", client.get_inference_statistics, "broken")
    # An unchanged model is not loaded again, and keeps its counts.
    client.load_model("progression")
    (kept,) = client.get_inference_statistics("progression")["model_stats"]
    assert kept["inference_count"] == 4 and kept["inference_stats"]["fail"]["count"] == 1, kept
    client.unload_model("progression")
    expect_failure(404, "requested model 'progression' is not available", client.get_inference_statistics, "progression")
    client.load_model("progression")
    (again,) = client.get_inference_statistics("progression")["model_stats"]
    assert again["inference_count"] == 0, again


def classification(client):
    assert "classification" in client.get_server_metadata()["extensions"]
    probabilities = ask(client, "wine", {"features": WINES})["probabilities"]
    for form in (JSON, BINARY):
        for count in (1, 2, 3, 1000):
            outputs = [InferRequestedOutput("probabilities", form, class_count=count), InferRequestedOutput("class")]
            result = client.infer("wine", to_inputs({"features": WINES}), outputs=outputs)
            classes = decoded(result.as_numpy("probabilities"))
            assert classes.shape == (2, min(count, 3)), classes
            for row, elements in zip(probabilities, classes):
                order = np.argsort(-row)[: len(elements)]
                assert list(elements) == [f"{row[index]:f}:{index}" for index in order], (row, elements)
            assert list(decoded(result.as_numpy("class"))) == ["class_0", "class_1"], result.get_response()
    strings = [InferRequestedOutput("class", class_count=1)]
    expect_failure(400, "is BYTES", client.infer, "wine", to_inputs({"features": WINES}), outputs=strings)


def errors(client):
    good = {"features": patients(1)}

    def infer(model, tensors, **options):
        return client.infer(model, to_inputs(tensors), **options)

    absent = "Request for unknown model: 'nope' is not found"
    expect_failure(404, absent, infer, "nope", good)
    expect_failure(404, "'progression' version 7 is not found", infer, "progression", good, model_version="7")
    expect_failure(404, absent, client.get_model_metadata, "nope")
    expect_failure(404, absent, client.get_model_config, "nope")
    expect_failure(503, "`broken` is unavailable", infer, "broken", good)
    expect_failure(400, "is FP64, expected FP32", infer, "progression", {"features": np.zeros((1, 10))})
    expect_failure(400, "[2, 5], expected [-1, 10]", infer, "progression", {"features": np.zeros((2, 5), np.float32)})
    expect_failure(400, "expected 1 to 32", infer, "progression", {"features": patients(33)})
    expect_failure(400, "unknown name `x`", infer, "progression", {"x": patients(1)})
    unknown = [InferRequestedOutput("nope")]
    expect_failure(400, "unknown output `nope`", infer, "progression", good, outputs=unknown)
    expect_failure(400, "PNG or JPEG", infer, "digits", {"image": texts(b"seven")})
    picture = texts((EXAMPLES / "digits" / "samples" / "7.png").read_bytes())
    expect_failure(400, "`top_k` is 11", infer, "digits", {"image": picture}, parameters={"top_k": 11})
    nonsense = WINES.copy()
    nonsense[1, 0] = 124.2
    expect_failure(400, "feature `alcohol` of row 1", infer, "wine", {"features": nonsense})
    expect_failure(400, "feature `alcohol` is missing", infer, "wine", {"ash": WINES[:, 2].copy()})

    # Parts of the protocol that are left out are refused as such, never misread.
    shared = InferInput("features", [1, 10], "FP32")
    shared.set_shared_memory("region", 40)
    expect_failure(501, "shared memory", client.infer, "progression", [shared])
    expect_failure(501, "shared memory", client.register_system_shared_memory, "region", "/region", 40)

    answer = ask(client, "progression", good)
    assert answer["progression"].shape == (1,), answer


def settings(client):
    """What clients read and send back at start, and what would change something."""
    traces = client.get_trace_settings()
    assert traces["trace_level"] == ["OFF"] and traces["trace_rate"] == "1000", traces
    assert client.get_trace_settings("wine") == traces
    assert client.update_trace_settings(settings=traces) == traces
    assert client.update_trace_settings("wine", {"trace_level": None}) == traces
    change = {"trace_level": ["TIMESTAMPS"]}
    expect_failure(501, "`trace_level` cannot be changed", client.update_trace_settings, None, change)
    expect_failure(404, "Request for unknown model: 'nope'", client.get_trace_settings, "nope")
    log = client.get_log_settings()
    assert log["log_verbose_level"] == 0 and isinstance(log["log_info"], bool), log
    assert client.update_log_settings(log) == log
    expect_failure(501, "`log_verbose_level` cannot be changed", client.update_log_settings, {"log_verbose_level": 1})
    for memory in ("system", "cuda"):
        getattr(client, f"unregister_{memory}_shared_memory")()
        getattr(client, f"unregister_{memory}_shared_memory")("region")
        assert getattr(client, f"get_{memory}_shared_memory_status")() == []
        status = getattr(client, f"get_{memory}_shared_memory_status")
        expect_failure(404, f"Unable to find {memory} shared memory region: 'region'", status, "region")


def concurrency(_client):
    """Many requests at once: everybody gets the answer to his own question, and to no other."""
    expected = ask(_client, "progression", {"features": patients(32)})["progression"]
    rows = [patients(32)[row : row + 1] for row in range(32)] * 4
    with InferenceServerClient(ADDRESS, concurrency=16) as client:
        pending = [
            client.async_infer("progression", to_inputs({"features": row}, number % 2 == 0), request_id=str(number))
            for number, row in enumerate(rows)
        ]
        answers = [request.get_result() for request in pending]
    for number, answer in enumerate(answers):
        assert answer.get_response()["id"] == str(number), answer.get_response()
        np.testing.assert_allclose(answer.as_numpy("progression"), expected[number % 32], atol=1e-4)


def asynchronous(_client):
    """The same over asyncio, which is another HTTP implementation (aiohttp)."""

    async def main():
        async with aio.InferenceServerClient(ADDRESS) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("digits"))["name"] == "digits"
            pictures = [(EXAMPLES / "digits" / "samples" / f"{digit}.png").read_bytes() for digit in range(10)]
            requests = [
                client.infer("digits", to_inputs({"image": texts(picture)}), request_id=str(digit))
                for digit, picture in enumerate(pictures)
            ]
            for digit, answer in enumerate(await asyncio.gather(*requests)):
                assert answer.get_response()["id"] == str(digit), answer.get_response()
                assert answer.as_numpy("label")[0, 0] == str(digit).encode()
            try:
                await client.infer("nope", to_inputs({"image": texts(b"x")}))
                raise AssertionError("an unknown model has answered")
            except InferenceServerException as error:
                assert error.status() == "404", error

    asyncio.run(main())


def compression(client):
    """Bodies compressed in one direction, the other or both, for the answer that plain ones get."""
    rows = patients(32)
    plain = ask(client, "progression", {"features": rows})
    long_id = "x" * 1024
    for request in (None, "gzip", "deflate"):
        for response in (None, "gzip", "deflate"):
            for form in ((BINARY, UNSAID), (JSON, JSON), (BINARY, JSON), (JSON, BINARY)):
                answer = ask(
                    client,
                    "progression",
                    {"features": rows},
                    ["progression", "corrected"],
                    form,
                    # Long enough for an answer that is worth compressing.
                    request_id=long_id,
                    request_compression_algorithm=request,
                    response_compression_algorithm=response,
                )
                for name, values in plain.items():
                    np.testing.assert_allclose(answer[name], values, atol=1e-4, err_msg=f"{request} {response} {form}")
    pending = client.async_infer(
        "progression",
        to_inputs({"features": rows}),
        request_id=long_id,
        request_compression_algorithm="gzip",
        response_compression_algorithm="gzip",
    )
    answer = pending.get_result().as_numpy("progression")
    np.testing.assert_allclose(answer, plain["progression"], atol=1e-4)

    async def main():
        async with aio.InferenceServerClient(ADDRESS) as client:
            for request in (None, "gzip", "deflate"):
                for response in (None, "gzip", "deflate"):
                    answer = await client.infer(
                        "progression",
                        to_inputs({"features": rows}),
                        request_id=long_id,
                        request_compression_algorithm=request,
                        response_compression_algorithm=response,
                    )
                    np.testing.assert_allclose(answer.as_numpy("progression"), plain["progression"], atol=1e-4)
            # It accepts gzip unasked, and inflates nothing but answers.
            assert len((await client.get_model_metadata("wine"))["inputs"]) == 14

    asyncio.run(main())


# Two of the wines in wine's request.sh.
WINES = np.array(
    [
        [13.5, 1.81, 2.61, 20, 96, 2.53, 2.61, 0.28, 1.66, 3.52, 1.12, 3.82, 845],
        [12.42, 2.55, 2.27, 22, 90, 1.68, 1.84, 0.66, 1.42, 2.7, 0.86, 3.3, 315],
    ],
    np.float32,
)


def patients(count):
    """Rows within the ranges of the study, the same ones every time."""
    low = [19, 1, 18, 62, 97, 42, 22, 2, 3.3, 58]
    high = [79, 2, 42, 133, 301, 242, 99, 9, 6.1, 124]
    return np.random.default_rng(1).uniform(low, high, (count, 10)).astype(np.float32)


CHECKS = (digits, wine, progression, embed, server, control, statistics, classification, errors, concurrency, asynchronous, compression, settings)

if __name__ == "__main__":
    check = next(check for check in CHECKS if check.__name__ == sys.argv[1])
    with InferenceServerClient(ADDRESS) as client:
        check(client)
