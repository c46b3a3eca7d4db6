"""Attributes, defaults and versions of operators that an engine does not read, or operators that no engine has."""

import numpy as np
from onnx import TensorProto, helper
from regressions.graph import declared, model, numbers, weights

node = helper.make_node


def one(operator, x, constants=None, *, opset=13, free=("n",), inputs=("x",), rank=None, **attributes):
    """A model of one operator on `x`, whose first axes have these names, and constants."""
    constants = constants or {}
    shape = [*free, *x.shape[len(free) :]]
    output = None if rank is None else [f"y{axis}" for axis in range(rank)]
    built = node(operator, [*inputs, *constants], ["y"], **attributes)
    return model([built], [declared("x", shape)], [declared("y", output)], constants, opset=opset)


def global_norms():
    """The norm of each channel, of positive and negative numbers."""
    x = numbers(1, 2, 3, 4, 5) - 0.5
    for p in (1, 2, 3):
        yield f"global_norm_{p}", one("GlobalLpPool", x, p=p, rank=4), {"x": x}


def sized_deconvolutions():
    """The size of the output is stated and the padding follows, with an odd number of elements to cut."""
    x = numbers(2, 2, 3, 4, 5)
    filters = {"w": weights(3, 3, 2, 3, 3)}
    for auto_pad in ("NOTSET", "SAME_UPPER", "SAME_LOWER"):
        for padding in ([0, 0], [1, 1]):
            attributes = {"strides": [2, 3], "output_shape": [8, 10], "output_padding": padding, "auto_pad": auto_pad}
            name = f"sized_deconvolution_{auto_pad}_{padding[0]}"
            yield name, one("ConvTranspose", x, filters, rank=4, **attributes), {"x": x}
    # Larger than without padding.
    yield "sized_deconvolution_larger", one("ConvTranspose", x, filters, rank=4, strides=[2, 3], output_shape=[10, 17]), {"x": x}
    built = one("ConvTranspose", x, {**filters, "b": weights(4, 2)}, free=("n", 3, "h", "w"), rank=4, strides=[2, 3], output_shape=[8, 13])
    yield "sized_deconvolution_of_any_size", built, {"x": x}


def plain_resizes():
    """The first version of Resize takes the nearest element below where it enlarges, and above where it reduces."""
    x = numbers(5, 1, 2, 5, 4)
    for name, scales in (("up", (1.5, 2.5)), ("down", (0.8, 0.3)), ("both", (1.6, 0.55))):
        constants = {"scales": np.array([1, 1, *scales], np.float32)}
        yield f"plain_resize_{name}", one("Resize", x, constants, opset=10, mode="nearest", rank=4), {"x": x}


def derived_paddings():
    """Padding is derived, so that `pads` have no effect."""
    x = numbers(6, 1, 2, 6, 7)
    for operator in ("MaxPool", "AveragePool"):
        for auto_pad in ("VALID", "SAME_UPPER", "SAME_LOWER"):
            attributes = {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": auto_pad, "pads": [1, 1, 1, 1]}
            yield f"derived_padding_{operator}_{auto_pad}", one(operator, x, opset=12, rank=4, **attributes), {"x": x}


def reversed_sequences():
    """Recurrent operators that read their sequences backwards, with all outputs that have a use."""
    sequence, batch, size, hidden = 4, 2, 3, 5
    x = numbers(7, sequence, batch, size)
    for operator, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        constants = {
            "w": weights(8, 1, gates * hidden, size),
            "r": weights(9, 1, gates * hidden, hidden),
            "b": weights(10, 1, 2 * gates * hidden),
        }
        nodes = [node(operator, ["x", *constants], ["y", "h"], hidden_size=hidden, direction="reverse")]
        outputs = [declared("y", ["s", 1, batch, hidden]), declared("h", [1, batch, hidden])]
        yield f"reversed_{operator}", model(nodes, [declared("x", ["s", batch, size])], outputs, constants, opset=14), {"x": x}


def compressed():
    """Slices, or elements, at which a condition is true."""
    x, chosen = numbers(11, 2, 3, 4), np.array([True, False, True])
    for name, attributes, rank in (("slices", {"axis": 1}, 3), ("last_slices", {"axis": -2}, 3), ("elements", {}, 1)):
        for opset in (11, 13):
            nodes = [node("Compress", ["x", "c"], ["y"], **attributes)]
            inputs = [declared("x", ["n", 3, 4]), declared("c", ["k"], TensorProto.BOOL)]
            output = declared("y", [f"y{axis}" for axis in range(rank)])
            yield f"compressed_{name}_{opset}", model(nodes, inputs, [output], opset=opset), {"x": x, "c": chosen}


def columns():
    """Columns as vectors: each element is a row."""
    nodes = [node("FeatureVectorizer", ["a", "b"], ["y"], domain="ai.onnx.ml", inputdimensions=[1, 1])]
    inputs = [declared("a", ["n"]), declared("b", ["n"])]
    built = model(nodes, inputs, [declared("y", ["m", "k"])], ml=1)
    return built, {"a": numbers(12, 3), "b": numbers(13, 3)}


def cases():
    found = [*global_norms(), *sized_deconvolutions(), *plain_resizes(), *derived_paddings(), *reversed_sequences(), *compressed()]
    x = numbers(14, 2, 3, 8, 2)
    found.append(("transformed_axis", one("DFT", x, opset=20, rank=4), {"x": x}))
    x = numbers(15, 4, 4)
    for name, equation, rank in (("diagonal", "ij,ij", 0), ("product", "ij , jk", 2), ("order", "ba", 2)):
        operands = {} if rank == 2 and name == "order" else {"w": weights(16, 4, 4)}
        found.append((f"implied_{name}", one("Einsum", x, operands, rank=rank, free=(4,), equation=equation), {"x": x}))
    x = np.concatenate([numbers(17, 4, 3) * 10, [[-np.inf, np.nan, np.inf]]]).astype(np.float32)
    for alpha in (0.5, 1.0, 2.0):
        found.append((f"celu_{alpha}", one("Celu", x, alpha=alpha, rank=2), {"x": x}))
    x = numbers(18, 4, 3)
    found.append(("swish", one("Swish", x, alpha=1.5, opset=24, rank=2), {"x": x}))
    found.append(("columns", *columns()))
    for name, built, inputs in found:
        yield f"attributes/{name}", built, inputs, None
