#!/usr/bin/env python3
"""Drive a running server with clients of gRPC, as they come from PyPI.

    grpc_clients.py CHECK ADDRESS EXAMPLES

CHECK is a function below `=== Checks ===`. NVIDIA's client speaks V2, Intel's speaks TensorFlow Serving's
protocol, and the messages of the simple one are made from the server's reflection.
"""

import queue
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.http as triton_http
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import InferenceServerException, service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

ADDRESS, EXAMPLES = sys.argv[2], Path(sys.argv[3])

# Two of the wines in wine's request.sh.
WINES = np.array(
    [
        [13.5, 1.81, 2.61, 20, 96, 2.53, 2.61, 0.28, 1.66, 3.52, 1.12, 3.82, 845],
        [12.42, 2.55, 2.27, 22, 90, 1.68, 1.84, 0.66, 1.42, 2.7, 0.86, 3.3, 315],
    ],
    np.float32,
)

# === Asking ===


def to_inputs(tensors):
    inputs = []
    for name, array in tensors.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        inputs.append(tensor.set_data_from_numpy(array))
    return inputs


def picture(digit):
    return np.array([(EXAMPLES / "digits" / "samples" / f"{digit}.png").read_bytes()], np.object_)


def expect_failure(code, text, call, *arguments, **options):
    try:
        answer = call(*arguments, **options)
    except InferenceServerException as error:
        assert error.status() == f"StatusCode.{code}", f"expected {code}, got {error}"
        assert text in error.message(), f"expected `{text}` in: {error}"
    else:
        raise AssertionError(f"expected {code}, got an answer: {answer}")


def expect_status(code, text, call, *arguments):
    try:
        answer = call(*arguments)
    except grpc.RpcError as error:
        assert (error.code().name, text in error.details()) == (code, True), error
    else:
        raise AssertionError(f"expected {code}, got an answer: {answer}")


def ended(stream):
    """What still comes on a stream that was cancelled."""
    try:
        yield from stream
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.CANCELLED, error


def caller(channel, service):
    """Calls the methods of a service, of which nothing is known but what reflection says."""
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service = pool.FindServiceByName(service)

    def call(method, **fields):
        method = service.methods_by_name[method]
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        path = f"/{service.full_name}/{method.name}"
        send = channel.unary_unary(path, request.SerializeToString, response.FromString)
        return send(request(**fields))

    return call


# === Checks ===


def inference():
    with triton.InferenceServerClient(ADDRESS) as client:
        for compression in (None, "gzip", "deflate"):
            answer = client.infer(
                "wine", to_inputs({"features": WINES}), request_id="7", compression_algorithm=compression
            )
            assert list(answer.as_numpy("class")) == [b"class_0", b"class_1"], answer.get_response()
            assert answer.get_response().id == "7" and answer.get_response().model_version == "1"
        only = [triton.InferRequestedOutput("probabilities")]
        answer = client.infer("wine", to_inputs({"features": WINES}), outputs=only)
        assert answer.as_numpy("class") is None and answer.as_numpy("probabilities").shape == (2, 3)
        for digit in range(10):
            answer = client.infer("digits", to_inputs({"image": picture(digit)}), parameters={"top_k": 1})
            assert answer.as_numpy("label").tolist() == [[str(digit).encode()]], answer.get_response()
        # Beyond the 4 MiB that gRPC's own servers stop at.
        large = np.array([bytes(8_000_000)], np.object_)
        expect_failure("INVALID_ARGUMENT", "PNG or JPEG", client.infer, "digits", to_inputs({"image": large}))


def server():
    with triton.InferenceServerClient(ADDRESS) as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.get_server_metadata().name == "wisp"
        for version in ("", "1"):
            assert client.is_model_ready("wine", version)
            metadata = client.get_model_metadata("wine", version)
            assert list(metadata.versions) == ["1"] and list(metadata.inputs[0].shape) == [-1, 13], metadata
        for model, version in (("broken", ""), ("nope", ""), ("a/b", ""), ("wine", "2"), ("wine", "x")):
            assert client.is_model_ready(model, version) is False, (model, version)
        config = client.get_model_config("wine").config
        assert config.name == "wine" and list(config.input[0].dims) == [13], config
        states = {model.name: model.state for model in client.get_model_repository_index().models}
        expected = {"broken": "UNAVAILABLE", "digits": "READY", "progression": "READY", "wine": "READY"}
        assert states == expected, states


def statistics():
    with triton.InferenceServerClient(ADDRESS) as client:
        assert "statistics" in client.get_server_metadata().extensions
        for rows in (1, 2, 1):
            client.infer("wine", to_inputs({"features": WINES[:rows]}))
        double = to_inputs({"features": WINES.astype(np.float64)})
        expect_failure("INVALID_ARGUMENT", "is FP64", client.infer, "wine", double)
        (told,) = client.get_inference_statistics("wine").model_stats
        assert (told.name, told.version) == ("wine", "1"), told
        assert (told.inference_count, told.execution_count) == (4, 3), told
        assert abs(told.last_inference / 1000 - time.time()) < 60, told
        requests = told.inference_stats
        for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
            figure = getattr(requests, name)
            assert figure.count == 3 and figure.ns > 0, (name, figure)
        assert (requests.fail.count, requests.cache_hit.count, requests.cache_miss.count) == (1, 0, 0), requests
        batches = {batch.batch_size: batch.compute_infer.count for batch in told.batch_stats}
        assert batches == {1: 2, 2: 1}, told
        models = [model.name for model in client.get_inference_statistics().model_stats]
        assert models == ["digits", "wine", "wine-bare"], models
        expect_failure("NOT_FOUND", "requested model 'nope' is not available", client.get_inference_statistics, "nope")
        expect_failure("NOT_FOUND", "version is not available for model", client.get_inference_statistics, "wine", "7")
        expect_failure("UNAVAILABLE", "`broken` is unavailable", client.get_inference_statistics, "broken")


def classification():
    with triton.InferenceServerClient(ADDRESS) as client:
        assert "classification" in client.get_server_metadata().extensions
        wines = to_inputs({"features": WINES})
        probabilities = client.infer("wine", wines).as_numpy("probabilities")
        for count in (1, 2, 1000):
            outputs = [triton.InferRequestedOutput("probabilities", class_count=count)]
            classes = client.infer("wine", wines, outputs=outputs).as_numpy("probabilities")
            assert classes.shape == (2, min(count, 3)), classes
            for row, elements in zip(probabilities, classes):
                order = np.argsort(-row)[: len(elements)]
                assert list(elements) == [f"{row[index]:f}:{index}".encode() for index in order], (row, elements)
        strings = [triton.InferRequestedOutput("class", class_count=1)]
        expect_failure("INVALID_ARGUMENT", "is BYTES", client.infer, "wine", wines, outputs=strings)


def timing():
    """The timings in the metadata of a response, which none of these clients shows."""
    with grpc.insecure_channel(ADDRESS) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="wine", raw_input_contents=[WINES.tobytes()])
        request.inputs.add(name="features", datatype="FP32", shape=[2, 13])
        _, call = stub.ModelInfer.with_call(request)
        value = dict(call.initial_metadata())["server-timing"]
        phases = dict(phase.split(";dur=") for phase in value.split(", "))
        assert {"read", "queue", "preprocess", "total"} <= set(phases) and float(phases["total"]) > 0, value


def errors():
    with triton.InferenceServerClient(ADDRESS) as client:
        wines = to_inputs({"features": WINES})
        unknown = "Request for unknown model: 'nope' is not found"
        expect_failure("NOT_FOUND", unknown, client.infer, "nope", wines)
        expect_failure("NOT_FOUND", "'wine' version 7 is not found", client.infer, "wine", wines, model_version="7")
        # NVIDIA's examples look for the beginning of this text.
        number = "failed to get model version from specified version string 'x', version should be an integral value > 0"
        for call, arguments in ((client.infer, [wines]), (client.get_model_metadata, []), (client.get_model_config, [])):
            expect_failure("INVALID_ARGUMENT", number, call, "wine", *arguments, model_version="x")
        expect_failure("NOT_FOUND", unknown, client.get_model_metadata, "nope")
        expect_failure("NOT_FOUND", unknown, client.get_model_config, "nope")
        expect_failure("UNAVAILABLE", "`broken` is unavailable", client.infer, "broken", wines)
        double = to_inputs({"features": WINES.astype(np.float64)})
        expect_failure("INVALID_ARGUMENT", "is FP64, expected FP32", client.infer, "wine", double)
        shared = triton.InferInput("features", [2, 13], "FP32")
        shared.set_shared_memory("region", 104)
        expect_failure("UNIMPLEMENTED", "shared memory", client.infer, "wine", [shared])
        client.unload_model("wine")
        assert not client.is_model_ready("wine")
        expect_failure("NOT_FOUND", "'wine' has no available versions", client.infer, "wine", wines)
        client.load_model("wine")
        assert client.is_model_ready("wine")
        expect_failure("NOT_FOUND", "failed to load 'nope', failed to poll from", client.load_model, "nope")
        overrides(client)
        register = client.register_system_shared_memory
        expect_failure("UNIMPLEMENTED", "shared memory", register, "region", "/region", 104)
        large = np.array([bytes(65 << 20)], np.object_)
        for text in ("too large", str(64 << 20), "--max-body-bytes"):
            expect_failure("RESOURCE_EXHAUSTED", text, client.infer, "digits", to_inputs({"image": large}))
        assert client.is_server_live()
    with grpc.insecure_channel(ADDRESS) as channel:
        for method in ("/no.Service/Method", "/inference.GRPCInferenceService/Method", "/x"):
            call = channel.unary_unary(method, lambda message: message, lambda message: message)
            expect_status("UNIMPLEMENTED", method, call, b"")
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", lambda m: m, lambda m: m)
        expect_status("INVALID_ARGUMENT", "", call, b"\xff\xff\xff")


def texts():
    """What went wrong is said in the words of REST, which is served on the same port."""

    def said(package, model, tensors, outputs=(), **options):
        inputs = []
        for name, array in tensors.items():
            tensor = package.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
            inputs.append(tensor.set_data_from_numpy(array))
        requested = [package.InferRequestedOutput(name) for name in outputs] or None
        with package.InferenceServerClient(ADDRESS) as client:
            try:
                client.infer(model, inputs, outputs=requested, **options)
            except InferenceServerException as error:
                return error.message()
        raise AssertionError(f"{model} has answered")

    for arguments, options in (
        (("nope", {"features": WINES}), {}),
        (("wine", {"features": WINES}), {"model_version": "9"}),
        (("broken", {"features": WINES}), {}),
        (("wine", {}), {}),
        (("wine", {"features": WINES[:, :12]}), {}),
        (("wine", {"features": WINES.astype(np.float64)}), {}),
        (("wine", {"x": WINES}), {}),
        (("wine", {"features": WINES, "ash": WINES[:, 2].copy()}), {}),
        (("wine", {"features": WINES}, ["nope"]), {}),
        (("wine-bare", {"x": WINES}), {}),
        (("wine", {"features": np.tile(WINES, (17, 1))}), {}),
        (("digits", {"image": np.array([b"seven"], np.object_)}), {}),
        (("digits", {"image": picture(7)}), {"parameters": {"top_k": 11}}),
    ):
        over_grpc, over_http = (said(package, *arguments, **options) for package in (triton, triton_http))
        assert over_grpc == over_http, (over_grpc, over_http)


def stream():
    """A request that fails is one among the others, and the stream goes on."""
    answers = queue.Queue()
    with triton.InferenceServerClient(ADDRESS) as client:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        bad = to_inputs({"features": WINES.astype(np.float64)})
        for number in range(9):
            inputs = bad if number == 4 else to_inputs({"features": WINES[number % 2 :][:1]})
            # As clients do that also know models with several answers.
            final = {"enable_empty_final_response": number % 2 == 0}
            client.async_stream_infer("wine", inputs, request_id=str(number), **final)
        for number in range(9):
            result, error = answers.get(timeout=30)
            if number == 4:
                assert "is FP64" in error.message(), error
                continue
            assert error is None and result.get_response().id == str(number), (number, error)
            assert result.get_response().parameters["triton_final_response"].bool_param, number
            assert result.as_numpy("class")[0] == f"class_{number % 2}".encode(), number
        client.stop_stream()


def ended_stream():
    """A client that asks for statuses gets one for the first request that fails, and its stream ends."""
    answers = queue.Queue()
    with triton.InferenceServerClient(ADDRESS) as client:
        client.start_stream(
            callback=lambda result, error: answers.put((result, error)), headers={"triton_grpc_error": "true"}
        )
        client.async_stream_infer("wine", to_inputs({"features": WINES}), request_id="good")
        result, error = answers.get(timeout=30)
        assert error is None and result.get_response().id == "good", error
        client.async_stream_infer("nope", to_inputs({"features": WINES}), request_id="bad")
        result, error = answers.get(timeout=30)
        assert result is None and error.status() == "StatusCode.NOT_FOUND", error
        assert error.message() == "Request for unknown model: 'nope' is not found", error
        client.stop_stream()


def settings():
    """What clients read and send back at start, and what would change something."""
    with triton.InferenceServerClient(ADDRESS) as client:
        traces = client.get_trace_settings()
        read = {name: list(setting.value) for name, setting in traces.settings.items()}
        assert read["trace_level"] == ["OFF"] and read["trace_rate"] == ["1000"], read
        assert client.get_trace_settings("wine") == traces
        assert client.update_trace_settings(settings=read) == traces
        assert client.update_trace_settings("wine", {"trace_level": None}) == traces
        change = {"trace_level": ["TIMESTAMPS"]}
        expect_failure("UNIMPLEMENTED", "`trace_level` cannot be changed", client.update_trace_settings, None, change)
        expect_failure("NOT_FOUND", "Request for unknown model: 'nope'", client.get_trace_settings, "nope")
        log = client.get_log_settings()
        assert log.settings["log_verbose_level"].uint32_param == 0, log
        assert client.update_log_settings({"log_verbose_level": 0, "log_format": "default"}) == log
        change = {"log_verbose_level": 1}
        expect_failure("UNIMPLEMENTED", "`log_verbose_level` cannot be changed", client.update_log_settings, change)
        for memory in ("system", "cuda"):
            getattr(client, f"unregister_{memory}_shared_memory")()
            getattr(client, f"unregister_{memory}_shared_memory")("region")
            status = getattr(client, f"get_{memory}_shared_memory_status")
            assert not status().regions
            expect_failure("NOT_FOUND", f"Unable to find {memory} shared memory region", status, "region")


def ovms():
    import ovmsclient

    client = ovmsclient.make_grpc_client(ADDRESS)
    assert client.get_model_status("wine-bare")[1]["state"] == "AVAILABLE"
    metadata = client.get_model_metadata("wine-bare")
    assert list(metadata["inputs"]) and metadata["model_version"] == 1, metadata
    (name,) = metadata["inputs"]
    answer = client.predict({name: WINES}, "wine-bare")
    outputs = answer.values() if isinstance(answer, dict) else [answer]
    assert all(len(output) == 2 for output in outputs), answer
    try:
        client.predict({name: WINES}, "nope")
        raise AssertionError("an unknown model has answered")
    except ovmsclient.ModelNotFoundError as error:
        assert "`nope`" in str(error), error


def health():
    with grpc.insecure_channel(ADDRESS) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        status = lambda name: stub.Check(health_pb2.HealthCheckRequest(service=name)).status
        serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        assert [status(""), status("wine"), status("broken")] == [serving, serving, not_serving]
        for service in (
            "inference.GRPCInferenceService",
            "tensorflow.serving.PredictionService",
            "tensorflow.serving.ModelService",
            "prediction.PredictionService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        ):
            assert status(service) == serving, service
            watched = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=60)
            assert next(watched).status == serving, service
            watched.cancel()
        expect_status("NOT_FOUND", "this name", status, "nope")
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="wine"), timeout=60)
        server, unknown = (
            stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=60) for name in ("", "nope")
        )
        assert next(watch).status == serving
        assert next(server).status == serving
        assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        with triton.InferenceServerClient(ADDRESS) as client:
            client.unload_model("wine")
            assert next(watch).status == not_serving
            client.load_model("wine")
            assert next(watch).status == serving
        # Nothing has changed for these.
        for quiet in (server, unknown):
            quiet.cancel()
            assert [answer.status for answer in ended(quiet)] == []
        watch.cancel()


def reflection():
    """The simple protocol, by a client that takes everything from reflection."""
    with grpc.insecure_channel(ADDRESS) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = set(database.get_services())
        for name in (
            "inference.GRPCInferenceService",
            "tensorflow.serving.PredictionService",
            "tensorflow.serving.ModelService",
            "prediction.PredictionService",
            "grpc.health.v1.Health",
        ):
            assert name in services, services
        call = caller(channel, "prediction.PredictionService")
        assert call("HealthCheck").status == "healthy"
        answer = call("Predict", model_name="wine-bare", features=WINES[0].tolist())
        assert answer.WhichOneof("prediction") is not None, answer
        rows = [{"features": WINES[0].tolist()}, {"features": [1.0]}, {"features": WINES[1].tolist()}]
        answer = call("BatchPredict", model_name="wine-bare", requests=rows)
        failed = [bool(row.error) for row in answer.responses]
        assert failed == [False, True, False], answer
        bad = [{"features": [1.0]}]
        expect_status("INVALID_ARGUMENT", "`features`", lambda: call("BatchPredict", model_name="wine-bare", requests=bad))
        expect_status("NOT_FOUND", "name one", lambda: call("Predict", features=[1.0]))
        answer = call("Predict", model_name="wine-bare", model_version="1", features=WINES[0].tolist())
        assert answer.model_version == "1", answer
        named = {"model_name": "wine-bare", "features": [1.0]}
        expect_status("NOT_FOUND", "no version 9", lambda: call("Predict", model_version="9", **named))
        expect_status("NOT_FOUND", "no label", lambda: call("Predict", version_label="beta", **named))


def overrides(client):
    """A load with a configuration, and with files that are not in the repository."""
    client.load_model("wine", config='{"max_batch_size": 1}')
    assert client.get_model_config("wine").config.max_batch_size == 1
    client.load_model("wine")
    assert client.get_model_config("wine").config.max_batch_size == 32
    graph = (EXAMPLES / "progression" / "1" / "model.onnx").read_bytes()
    client.load_model("sent", config='{"max_batch_size": 4}', files={"file:3/model.onnx": graph})
    assert list(client.get_model_metadata("sent").versions) == ["3"]
    client.unload_model("sent")
    for code, text, options in (
        ("INVALID_ARGUMENT", "needs the parameter `config`", {"files": {"file:1/model.onnx": graph}}),
        ("INVALID_ARGUMENT", "does not name a file", {"config": "{}", "files": {"file:1/a/b": graph}}),
        ("INVALID_ARGUMENT", "failed to load `refused`: `config` is not a model configuration", {"config": "{"}),
        ("UNIMPLEMENTED", "`runtime` is not supported", {"config": '{"runtime": "x"}'}),
    ):
        expect_failure(code, text, client.load_model, "refused", **options)


def reload():
    """A configuration of TensorFlow Serving says which models are served."""
    with grpc.insecure_channel(ADDRESS) as channel, triton.InferenceServerClient(ADDRESS) as client:
        call = caller(channel, "tensorflow.serving.ModelService")

        def configure(*models):
            configs = [{"model_platform": "tensorflow", "base_path": "/models/m"} | model for model in models]
            return call("HandleReloadConfigRequest", config={"model_config_list": {"config": configs}})

        def ready():
            return {model.name for model in client.get_model_repository_index().models if model.state == "READY"}

        assert ready() == {"digits", "wine", "wine-bare"}
        assert configure({"name": "wine"}).status.error_code == 0
        assert ready() == {"wine"}
        expect_status("NOT_FOUND", "`nope`", lambda: configure({"name": "digits"}, {"name": "nope"}))
        expect_status("INVALID_ARGUMENT", "`broken`", lambda: configure({"name": "broken"}))
        policy = {"name": "digits", "model_version_policy": {"all": {}}}
        expect_status("UNIMPLEMENTED", "`model_version_policy` of model `digits`", lambda: configure(policy))
        expect_status("INVALID_ARGUMENT", "model_config_list", lambda: call("HandleReloadConfigRequest"))
        assert ready() == {"wine"}
        configure({"name": "digits"}, {"name": "wine-bare"})
        assert ready() == {"digits", "wine-bare"}


def large():
    """A message beyond the default limit, which its server has raised."""
    with triton.InferenceServerClient(ADDRESS) as client:
        rows = np.repeat(WINES[:1], 1_300_000, axis=0)
        assert rows.nbytes > 64 << 20
        answer = client.infer("wine-bare", to_inputs({"features": rows}))
        outputs = answer.get_response().outputs
        assert all(output.shape[0] == len(rows) for output in outputs), outputs


def examples():
    """Classes and values of examples in TensorFlow Serving's protocol, alone and several at once."""
    with grpc.insecure_channel(ADDRESS) as channel:
        call = caller(channel, "tensorflow.serving.PredictionService")

        def asked(model, rows):
            features = [{"features": {"feature": {"features": {"float_list": {"value": row}}}}} for row in rows]
            return {"model_spec": {"name": model}}, {"example_list": {"examples": features}}

        wine, wines = asked("wine", WINES.tolist())
        answer = call("Classify", **wine, input=wines)
        assert (answer.model_spec.name, answer.model_spec.version.value) == ("wine", 1), answer
        classes = [{item.label: item.score for item in row.classes} for row in answer.result.classifications]
        assert [max(row, key=row.get) for row in classes] == ["class_0", "class_1"], classes

        progression, patients = asked("progression", [[54, 2, 36.1, 115, 163, 98.4, 43, 4, 4.6821, 101]] * 2)
        answer = call("Regress", **progression, input=patients)
        values = [regression.value for regression in answer.result.regressions]
        np.testing.assert_allclose(values, [235.637] * 2, atol=1e-2)

        classify = {**wine, "method_name": "tensorflow/serving/classify"}
        answer = call("MultiInference", tasks=[classify, classify], input=wines)
        for result in answer.results:
            found = [max(row.classes, key=lambda item: item.score).label for row in result.classification_result.classifications]
            assert found == ["class_0", "class_1"], answer
        assert len(answer.results) == 2, answer
        regress = {**progression, "method_name": "tensorflow/serving/regress"}
        answer = call("MultiInference", tasks=[regress], input=patients)
        (result,) = answer.results
        np.testing.assert_allclose([row.value for row in result.regression_result.regressions], values)

        several = lambda: call("MultiInference", tasks=[classify, regress], input=wines)
        expect_status("INVALID_ARGUMENT", "model", several)
        expect_status("NOT_FOUND", "`nope`", lambda: call("Classify", model_spec={"name": "nope"}, input=wines))
        expect_status("INVALID_ARGUMENT", "", lambda: call("Regress", **progression, input=wines))


def disconnect():
    """A client that goes away in the middle of a call, and one in the middle of a stream."""
    loop, honest = (to_inputs({"behaviour": np.array([name], np.object_)}) for name in (b"loop", b"honest"))
    outcomes = queue.SimpleQueue()
    streaming = triton.InferenceServerClient(ADDRESS)
    streaming.start_stream(callback=lambda result, error: outcomes.put(error))
    streaming.async_stream_infer("hostile", honest)
    # The stream is one of the server's by now.
    assert outcomes.get(timeout=60) is None
    streaming.async_stream_infer("hostile", loop)
    client = triton.InferenceServerClient(ADDRESS)
    client.async_infer("hostile", loop, callback=lambda result, error: outcomes.put(error))
    streaming.stop_stream(cancel_requests=True)
    assert outcomes.get(timeout=60).status() == "StatusCode.CANCELLED"
    client.close()
    assert outcomes.get(timeout=60).status() == "StatusCode.CANCELLED"
    streaming.close()


CHECKS = (inference, server, statistics, classification, timing, errors, texts, stream, ovms, health, reflection, reload, large, examples, disconnect, settings, ended_stream)

if __name__ == "__main__":
    next(check for check in CHECKS if check.__name__ == sys.argv[1])()
