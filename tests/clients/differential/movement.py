"""Operators that only move or copy elements, of every type: each bit must arrive."""

import numpy as np
from differential.case import one_node
from differential.indexing import KINDS, table
from differential.values import FLOATS, name


def cases():
    for kind in KINDS:
        x = table(kind)
        variant = name(kind)

        def moved(operator, right, detail="", constants=None, **more):
            constants = {key: np.array(value, np.int64) for key, value in (constants or {}).items()}
            right = [np.ascontiguousarray(part) for part in (right if isinstance(right, list) else [right])]
            return one_node(variant + detail, operator, {"x": x}, right=right, outputs=len(right), accuracy="bits", constants=constants, **more)

        yield moved("Identity", x)
        yield moved("Transpose", x.T, perm=[1, 0])
        yield moved("Reshape", x.reshape(2, 3, 4), constants={"shape": [2, -1, 4]})
        yield moved("Flatten", x.reshape(6, 4), axis=1)
        yield moved("Unsqueeze", x[:, None], constants={"axes": [1]})
        yield moved("Expand", np.broadcast_to(x, (2, 6, 4)), constants={"shape": [2, 1, 1]})
        yield moved("Tile", np.tile(x, (2, 1)), constants={"repeats": [2, 1]})
        yield moved("Split", [x[:2], x[2:]], constants={"split": [2, 4]}, axis=0)
        forwards = {"from": [1, -3], "to": [2**31 - 1, 2**63 - 1], "axes": [0, 1], "by": [2, 1]}
        yield moved("Slice", x[1::2, -3:], "_forwards", constants=forwards)
        backwards = {"from": [-1, 2**31 - 1], "to": [-(2**31), -(2**63)], "axes": [0, 1], "by": [-1, -2]}
        yield moved("Slice", x[::-1, ::-2], "_backwards", constants=backwards)
        yield moved("Slice", x[6:], "_empty", constants={"from": [6], "to": [100], "axes": [0]})
        both = {"x": x, "z": x[::-1].copy()}
        yield one_node(variant, "Concat", both, right=np.concatenate(list(both.values()), axis=1), accuracy="bits", axis=1)
        if kind != object:
            for mode in ("constant", "edge", "reflect"):
                right = np.pad(x, ((1, 2), (0, 3)), mode={"constant": "constant"}.get(mode, mode))
                yield moved("Pad", right, f"_{mode}", constants={"pads": [1, 0, 2, 3]}, opset=18, mode=mode)
        blocks = np.resize(x, (1, 4, 3, 2))
        if kind in FLOATS:
            depth = blocks.reshape(1, 2, 2, 1, 3, 2).transpose(0, 3, 4, 1, 5, 2).reshape(1, 1, 6, 4)
            yield one_node(variant, "DepthToSpace", {"x": blocks}, right=depth, accuracy="bits", blocksize=2, mode="DCR")
            image = np.resize(x, (1, 1, 4, 6))
            space = image.reshape(1, 1, 2, 2, 3, 2).transpose(0, 3, 5, 1, 2, 4).reshape(1, 4, 2, 3)
            yield one_node(variant, "SpaceToDepth", {"x": image}, right=space, accuracy="bits", blocksize=2)
