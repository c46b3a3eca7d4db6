"""Write the models of this benchmark, each with one request for it: make_models.py OUT NAME...

OUT/NAME/model.onnx, OUT/NAME/inputs.json with the name, datatype and shape of each input, and
OUT/NAME/inputs.bin with their bytes, one input after the other. All is made from fixed seeds; the weights
of minilm are the published ones. A model that this script has made before is left alone.

  mnist_cnn     the usual network for 28x28: two convolutions, pooling, two dense layers
  mobilenetv2   with folded normalisation, as exporters leave it
  resnet20      the residual network for 32x32 of He et al. 2015, normalisation folded
  resnet50      the topology that the onnx package carries, normalisation as nodes of its own
  minilm        all-MiniLM-L6-v2, as examples/embed/export.py writes it, for 128 tokens
  minilm_random the same network with random weights, which need no download, and with the mean of the tokens and its
                normalisation, so that it returns an embedding
  minilm_int8   the same, by onnxruntime's dynamic quantisation
  gbt           scikit-learn's gradient boosting, 100 trees of depth 3, as skl2onnx writes it

The others are the files of packages on PyPI that tests/clients/published_models.py lists, with its first inputs. Their
names are those of the files, or of the package for a file `model.onnx`.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXPORT = HERE.parents[3] / "examples/embed/export.py"
CLIENTS = HERE.parents[3] / "tests/clients"
TOKENS = 128
VOCABULARY = 30522


def random(name):
    """Numbers that depend on the name alone, not on which models are made before."""
    import numpy as np

    return np.random.default_rng(list(name.encode()))


class Graph:
    """An ONNX graph of float32 under construction, with weights from a seed."""

    def __init__(self, name):
        self.name, self.random = name, random(name)
        self.nodes, self.initializers = [], []

    def weight(self, *shape):
        """Normal with the variance that keeps activations in range through a ReLU (He et al. 2015)."""
        return self.constant(he(self.random, shape))

    def constant(self, array):
        from onnx import numpy_helper

        name = f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator, *inputs, output=None, **attributes):
        from onnx import helper

        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def convolution(self, x, channels, size, **attributes):
        before, after = channels
        kernel = self.weight(after, before // attributes.get("group", 1), size, size)
        bias = self.constant(self.random.normal(0, 0.01, after).astype("f4"))
        return self.add("Conv", x, kernel, bias, kernel_shape=[size, size], **attributes)

    def dense(self, x, before, after, output=None):
        bias = self.constant(self.random.normal(0, 0.01, after).astype("f4"))
        return self.add("Gemm", x, self.weight(after, before), bias, output=output, transB=1)

    def model(self, shape, classes):
        from onnx import TensorProto, helper

        described = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [described("image", TensorProto.FLOAT, ["batch", *shape])],
            [described("scores", TensorProto.FLOAT, ["batch", classes])],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def he(numbers, shape):
    import numpy as np

    return numbers.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype("f4")


def mnist_cnn():
    graph = Graph("mnist_cnn")
    x = graph.add("Relu", graph.convolution("image", (1, 32), 3))
    x = graph.add("Relu", graph.convolution(x, (32, 64), 3))
    x = graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = graph.add("Relu", graph.dense(graph.add("Flatten", x, axis=1), 9216, 128))
    graph.add("Softmax", graph.dense(x, 128, 10), output="scores", axis=1)
    return graph.model((1, 28, 28), 10), image("mnist_cnn", 1, 28, 28)


def mobilenetv2():
    import numpy as np

    graph = Graph("mobilenetv2")
    low, high = graph.constant(np.float32(0)), graph.constant(np.float32(6))

    def layer(x, channels, size, stride=1, group=1):
        pads = [size // 2] * 4
        x = graph.convolution(x, channels, size, strides=[stride, stride], pads=pads, group=group)
        return graph.add("Clip", x, low, high)

    x, before = layer("image", (3, 32), 3, 2), 32
    # Expansion, channels, repetitions and stride: table 2 of Sandler et al. 2018.
    blocks = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, after, repetitions, first_stride in blocks:
        for repetition in range(repetitions):
            stride, wide = 1 if repetition else first_stride, before * expansion
            y = x if expansion == 1 else layer(x, (before, wide), 1)
            y = layer(y, (wide, wide), 3, stride, group=wide)
            y = graph.convolution(y, (wide, after), 1)
            x = graph.add("Add", x, y) if stride == 1 and before == after else y
            before = after
    x = graph.add("GlobalAveragePool", layer(x, (before, 1280), 1))
    graph.dense(graph.add("Flatten", x, axis=1), 1280, 1000, output="scores")
    return graph.model((3, 224, 224), 1000), image("mobilenetv2", 3, 224, 224)


def resnet20():
    graph = Graph("resnet20")

    def layer(x, channels, stride=1):
        return graph.convolution(x, channels, 3, strides=[stride, stride], pads=[1] * 4)

    x, before = graph.add("Relu", layer("image", (3, 16))), 16
    # Channels, and the stride of the first of three blocks.
    for after, first_stride in [(16, 1), (32, 2), (64, 2)]:
        for block in range(3):
            stride = 1 if block else first_stride
            y = graph.add("Relu", layer(x, (before, after), stride))
            y = layer(y, (after, after))
            if before != after:
                x = graph.convolution(x, (before, after), 1, strides=[stride, stride])
            x = graph.add("Relu", graph.add("Add", x, y))
            before = after
    x = graph.add("GlobalAveragePool", x)
    graph.dense(graph.add("Flatten", x, axis=1), 64, 10, output="scores")
    return graph.model((3, 32, 32), 10), image("resnet20", 3, 32, 32)


def resnet50():
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    model = onnx.load(path)
    graph, numbers = model.graph, random("resnet50")
    given = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # Instead of weights the file has nodes that fill their shapes with a constant.
    fills = {node.output[0]: node for node in graph.node if node.op_type == "ConstantOfShape"}
    nodes = [node for node in graph.node if node.op_type != "ConstantOfShape"]
    statistics, shapes = {}, set()
    for node in nodes:
        if node.op_type == "BatchNormalization":
            statistics.update(zip(node.input[1:5], ("scale", "bias", "mean", "variance")))
        elif node.op_type == "Reshape":
            shapes.add(node.input[1])
    initializers = []
    for name, node in fills.items():
        shape = tuple(int(length) for length in given[node.input[0]])
        if statistics.get(name) in ("scale", "variance"):
            array = 1 + 0.1 * numbers.random(shape)
        elif len(shape) >= 2:
            array = he(numbers, shape)
        else:
            array = numbers.normal(0, 0.01, shape)
        initializers.append(numpy_helper.from_array(array.astype("f4"), name))
    used = {name for node in nodes for name in node.input}
    for name, array in given.items():
        if name in shapes and array[0] == 1:
            # The batch is the first axis; 0 keeps it as it is, where -1 is taken.
            array = np.concatenate([[0 if -1 in array else -1], array[1:]])
        if name in used:
            initializers.append(numpy_helper.from_array(array, name))
    known = {tensor.name for tensor in initializers} | set(given)
    (taken,) = [value.name for value in graph.input if value.name not in known]
    for node in nodes:
        node.input[:] = ["image" if name == taken else name for name in node.input]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])]
    graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    for part, content in ((graph.node, nodes), (graph.initializer, initializers), (graph.input, inputs)):
        del part[:]
        part.extend(content)
    del graph.value_info[:]
    model.ir_version = 8
    return model, image("resnet50", 3, 224, 224)


def exporter():
    """The module that builds the network of the example `embed`."""
    spec = importlib.util.spec_from_file_location("export", EXPORT)
    export = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(export)
    return export


def text(name):
    """One text of word pieces, which begin at 1000 in BERT's vocabulary of 30522."""
    import numpy as np

    tokens = random(name).integers(1000, VOCABULARY, (1, TOKENS))
    return {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}


def minilm():
    export = exporter()
    model = export.build(export.read_weights(export.wheel_directory() / "model.safetensors"))
    return model, text("minilm")


def minilm_random():
    export = exporter()
    return pooled(export.build(bert_weights(export, random("minilm_random")))), text("minilm")


def bert_weights(export, numbers):
    """The arrays of a new BERT by name: normal with a deviation of 0.02, and normalisations that change nothing."""
    import numpy as np

    hidden, inner = export.HIDDEN, 4 * export.HIDDEN
    matrices = {
        "embeddings.word_embeddings.weight": (VOCABULARY, hidden),
        "embeddings.position_embeddings.weight": (export.POSITIONS, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
    }
    norms, linear = ["embeddings.LayerNorm"], {}
    for layer in range(export.LAYERS):
        prefix = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linear[f"{prefix}.attention.{part}"] = (hidden, hidden)
        linear[f"{prefix}.intermediate.dense"] = (inner, hidden)
        linear[f"{prefix}.output.dense"] = (hidden, inner)
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
    matrices.update((f"{name}.weight", shape) for name, shape in linear.items())
    weights = {name: numbers.normal(0, 0.02, shape).astype("f4") for name, shape in matrices.items()}
    weights.update((f"{name}.bias", np.zeros(shape[0], "f4")) for name, shape in linear.items())
    for name in norms:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = np.ones(hidden, "f4"), np.zeros(hidden, "f4")
    return weights


def pooled(model):
    """The encoder with the mean over the tokens that are no padding, divided by its length, as its only output."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    (states,) = graph.output
    hidden = states.type.tensor_type.shape.dim[2].dim_value

    def add(operator, name, *inputs, **attributes):
        graph.node.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    for name, axis in (("pool.last", 2), ("pool.tokens", 1)):
        graph.initializer.append(numpy_helper.from_array(np.array([axis], np.int64), name))
    # Cast for the attention before.
    mask = add("Unsqueeze", "pool.mask", "mask.float", "pool.last")
    kept = add("Mul", "pool.kept", states.name, mask)
    total = add("ReduceSum", "pool.sum", kept, "pool.tokens", keepdims=0)
    count = add("ReduceSum", "pool.count", mask, "pool.tokens", keepdims=0)
    mean = add("Div", "pool.mean", total, count)
    square = add("ReduceSum", "pool.square", add("Mul", "pool.squares", mean, mean), "pool.tokens", keepdims=1)
    add("Div", "embedding", mean, add("Sqrt", "pool.length", square))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", hidden]))
    return model


def minilm_int8():
    import tempfile

    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model, inputs = minilm()
    with tempfile.TemporaryDirectory() as directory:
        source, target = os.path.join(directory, "f32.onnx"), os.path.join(directory, "int8.onnx")
        onnx.save(model, source)
        quantize_dynamic(source, target, weight_type=QuantType.QInt8)
        return onnx.load(target), inputs


def gbt():
    from skl2onnx import to_onnx
    from sklearn.datasets import make_classification
    from sklearn.ensemble import GradientBoostingClassifier

    rows, classes = make_classification(4000, 20, n_informative=12, random_state=3)
    rows = rows.astype("f4")
    fitted = GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=0).fit(rows, classes)
    model = to_onnx(fitted, rows[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    return model, {"X": rows[:1]}


def image(name, *shape):
    """One image, normalised."""
    return {"image": random(f"image of {name}").normal(0, 1, (1, *shape)).astype("f4")}


MADE = (mnist_cnn, mobilenetv2, resnet20, resnet50, minilm, minilm_random, minilm_int8, gbt)
MODELS = {made.__name__: made for made in MADE}
DATATYPES = {"float32": "FP32", "int64": "INT64", "int32": "INT32"}


def published():
    """The path and the inputs of each published model, by its name."""
    sys.path.append(str(CLIENTS))
    import published_models

    def name(file):
        path = Path(file)
        return path.stem if path.stem != "model" else path.parts[0]

    return {name(file): (published_models.PACKAGES / file, sizes[0]) for file, sizes in published_models.MODELS.items()}


def write(name, directory):
    import onnx

    directory.mkdir(parents=True, exist_ok=True)
    if name in MODELS:
        model, inputs = MODELS[name]()
        onnx.checker.check_model(model)
        onnx.save(model, directory / "model.onnx")
    else:
        path, inputs = published()[name]
        shutil.copyfile(path, directory / "model.onnx")
    described = [
        {"name": name, "datatype": DATATYPES[array.dtype.name], "shape": array.shape} for name, array in inputs.items()
    ]
    (directory / "inputs.json").write_text(json.dumps(described))
    (directory / "inputs.bin").write_bytes(b"".join(array.tobytes() for array in inputs.values()))


def main():
    out, names = Path(sys.argv[1]), sys.argv[2:]
    sources = [Path(__file__), HERE / "models.txt", EXPORT, CLIENTS / "published_models.py"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    for name in names:
        if name not in MODELS and name not in published():
            sys.exit(f"there is no model `{name}`, but {', '.join([*MODELS, *published()])}")
        made = out / name / "made"
        if made.is_file() and made.read_text() == digest:
            continue
        print(f"making {name}", flush=True)
        write(name, out / name)
        made.write_text(digest)


if __name__ == "__main__":
    main()
