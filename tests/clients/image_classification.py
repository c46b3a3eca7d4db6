#!/usr/bin/env python3
"""Classify pictures as NVIDIA's image_client.py and grpc_image_client.py do, by the calls that they make.

    image_classification.py make REPOSITORY
    image_classification.py ask HTTP_ADDRESS GRPC_ADDRESS

The examples are in no package. They read the metadata and the configuration of a model with one input and one output of
FP32, take the order of the axes from the input's `format`, and ask for classes. The models score the channels of a
picture by their means: `first` takes the channels first, `last` takes them last, and the graph of `stated` does not
show the order.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2

COLOURS = ["red", "green", "blue"]
SIZE = 8
FORMATS = {"first": "FORMAT_NCHW", "last": "FORMAT_NHWC", "stated": "FORMAT_NHWC", "unstated": "FORMAT_NONE"}


def write(folder, nodes, shape, constants):
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *shape])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(COLOURS)])]
    constants = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    (folder / "1").mkdir(parents=True)
    onnx.save(model, folder / "1" / "model.onnx")
    (folder / "labels.txt").write_text("\n".join(COLOURS), encoding="utf-8")
    (folder / "model.toml").write_text('outputs.scores.labels = "labels.txt"\n', encoding="utf-8")


def make(repository):
    means = [
        helper.make_node("Conv", ["planes", "identity"], ["filtered"]),
        helper.make_node("GlobalAveragePool", ["filtered"], ["means"]),
        helper.make_node("Flatten", ["means"], ["scores"]),
    ]
    identity = {"identity": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)}
    scaled = [helper.make_node("Mul", ["image", "scale"], ["planes"])]
    scale = {"scale": np.array(1 / 255, np.float32)}
    write(repository / "first", scaled + means, [3, SIZE, SIZE], identity | scale)
    transposed = [helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2])]
    write(repository / "last", transposed + means, [SIZE, SIZE, 3], identity)
    product = [
        helper.make_node("Flatten", ["image"], ["pixels"]),
        helper.make_node("MatMul", ["pixels", "weights"], ["scores"]),
    ]
    weights = {"weights": np.tile(np.eye(3, dtype=np.float32), (SIZE * SIZE, 1)) / (SIZE * SIZE)}
    for name in ("stated", "unstated"):
        write(repository / name, product, [SIZE, SIZE, 3], weights)
    with (repository / "stated" / "model.toml").open("a", encoding="utf-8") as file:
        file.write('inputs.image.format = "NHWC"\n')


def described(client, model):
    """The metadata and the configuration, in the terms of gRPC's messages."""
    if isinstance(client, triton_grpc.InferenceServerClient):
        metadata, config = client.get_model_metadata(model), client.get_model_config(model).config
        format = model_config_pb2.ModelInput.Format.Name(config.input[0].format)
        return metadata.inputs[0].name, list(metadata.inputs[0].shape), config, format
    metadata, config = client.get_model_metadata(model), client.get_model_config(model)
    assert len(metadata["inputs"]) == len(metadata["outputs"]) == 1, metadata
    assert metadata["outputs"][0]["datatype"] == "FP32", metadata
    (tensor,) = metadata["inputs"]
    # The members that a client in Python reads by name must be there.
    message = model_config_pb2.ModelConfig(max_batch_size=config["max_batch_size"])
    message.output.add(name=config["output"][0]["name"], label_filename=config["output"][0]["label_filename"])
    message.input.add(optional=config["input"][0]["optional"], dims=config["input"][0]["dims"])
    return tensor["name"], tensor["shape"], message, config["input"][0]["format"]


def pictures(format, shape):
    """A picture of each colour, in the order of axes that the configuration states."""
    assert len(shape) == 4, shape
    batch = np.zeros((len(COLOURS), SIZE, SIZE, 3), np.float32)
    for channel in range(len(COLOURS)):
        batch[channel, :, :, channel] = 255
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) if format == "FORMAT_NCHW" else batch


def check(package, client, model):
    name, shape, config, format = described(client, model)
    assert format == FORMATS[model], (model, format)
    assert config.max_batch_size > 0 and not config.input[0].optional, config
    assert list(config.input[0].dims) == shape[1:], config
    assert config.output[0].label_filename == "labels.txt", config
    batch = pictures(format, shape)
    tensor = package.InferInput(name, list(batch.shape), "FP32").set_data_from_numpy(batch)
    outputs = [package.InferRequestedOutput("scores", class_count=1)]
    classes = client.infer(model, [tensor], outputs=outputs).as_numpy("scores")
    assert classes.shape == (len(COLOURS), 1), classes
    for colour, (element,) in zip(COLOURS, classes):
        text = element.decode() if isinstance(element, bytes) else element
        assert text.split(":")[2] == colour, classes


def ask(http_address, grpc_address):
    for package, address in ((triton_http, http_address), (triton_grpc, grpc_address)):
        with package.InferenceServerClient(address) as client:
            for model in FORMATS:
                check(package, client, model)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        ask(*sys.argv[2:])
