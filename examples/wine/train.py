#!/usr/bin/env python3
"""Train the wine classifier and write everything in this example that is not written by hand.

Writes 1/model.onnx, cases/, and the handler's table of features, guest-models/wine/src/features.rs: the
graph takes features that are already standardised, so the means, deviations and bounds are the
handler's.

What the cases expect is computed here with numpy and onnxruntime, never by Wisp.
"""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
TABLE = HERE.parent.parent / "guest-models" / "wine" / "src" / "features.rs"
SEED = 0
# Inverse regularisation: the best of 0.01, 0.03, 0.1, 0.3, 1 and 10 in cross-validation on the training rows.
INVERSE_REGULARISATION = 0.1
CLASSES = ["class_0", "class_1", "class_2"]

# name, lowest and highest value that is not absurd. The bounds are no model of wine: they are several
# times wider than what the data holds, and catch a wrong unit, a shifted column or a missing value
# written as -1 or 9999. The README says where each comes from.
FEATURES = [
    ("alcohol", 0.0, 25.0),
    ("malic_acid", 0.0, 20.0),
    ("ash", 0.1, 15.0),
    ("alcalinity_of_ash", 1.0, 100.0),
    ("magnesium", 5.0, 1000.0),
    ("total_phenols", 0.0, 20.0),
    ("flavanoids", 0.0, 20.0),
    ("nonflavanoid_phenols", 0.0, 5.0),
    ("proanthocyanins", 0.0, 20.0),
    ("color_intensity", 0.0, 60.0),
    ("hue", 0.0, 10.0),
    ("od280_od315", 0.0, 10.0),
    ("proline", 1.0, 10000.0),
]
NAMES = [name for name, _, _ in FEATURES]


def standardise(x, mean, deviation):
    """In float32, as the handler does it."""
    return (x.astype(np.float32) - mean) / deviation


def significant(values, digits=6):
    """Rounded to so many significant digits, as float32: what the table says is what was trained with."""
    return np.array([np.float32(f"{value:.{digits}g}") for value in values])


def write_table(mean, deviation):
    def literal(value):
        return np.format_float_positional(np.float32(value), unique=True, trim="0")

    lines = [
        "//! The features of the wine model, in the order of the graph's columns.",
        "//!",
        "//! Written by `examples/wine/train.py`: do not edit, run that again.",
        "",
        "/// One column: `mean` and `std` standardise it, outside `min..=max` it is absurd.",
        "#[derive(Debug)]",
        "pub(crate) struct Feature {",
        "    pub(crate) name: &'static str,",
        *(f"    pub(crate) {field}: f32," for field in ("mean", "std", "min", "max")),
        "}",
        "",
        "// A row each, whatever the width of lines: a table is read by its columns.",
        "#[rustfmt::skip]",
        "pub(crate) const FEATURES: [Feature; 13] = [",
    ]
    for (name, low, high), m, s in zip(FEATURES, mean, deviation, strict=True):
        fields = f'name: "{name}", mean: {literal(m)}, std: {literal(s)}, min: {literal(low)}, max: {literal(high)}'
        lines.append(f"    Feature {{ {fields} }},")
    lines.append("];")
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def export(weight, bias, path):
    nodes = [
        helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "wine",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 13])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="examples/wine/train.py",
    )
    onnx.checker.check_model(model)
    path.parent.mkdir(exist_ok=True)
    onnx.save(model, path)


# === Golden cases ===


def write_case(name, about, request, expect):
    text = json.dumps({"about": about, "request": request, "expect": expect}, indent=2, ensure_ascii=False)
    # Arrays of plain values on one line.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda array: re.sub(r"\s*\n\s*", " ", array[0]), text)
    text = re.sub(r"\[ (.*?) \]", r"[\1]", text)
    (HERE / "cases").mkdir(exist_ok=True)
    (HERE / "cases" / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def matrix(rows):
    data = [float(value) for value in rows.flat]
    return {"name": "features", "datatype": "FP32", "shape": list(rows.shape), "data": data}


def columns(rows, names):
    return [
        {
            "name": name,
            "datatype": "FP32",
            "shape": [len(rows)],
            "data": [float(value) for value in rows[:, NAMES.index(name)]],
        }
        for name in names
    ]


def write_cases(probabilities_of, rows, labels):
    def expected(rows):
        probabilities = probabilities_of(rows)
        return {
            "outputs": [
                {
                    "name": "class",
                    "datatype": "BYTES",
                    "shape": [len(rows)],
                    "data": [CLASSES[i] for i in probabilities.argmax(1)],
                },
                {
                    "name": "probabilities",
                    "datatype": "FP32",
                    "shape": [len(rows), 3],
                    "data": [round(float(p), 6) for p in probabilities.flat],
                },
            ],
            "tolerance": 1e-4,
        }

    one_of_each = np.stack([rows[labels == label][0] for label in range(3)])
    write_case(
        "one_of_each",
        "Three held-out wines, one of each cultivar, as a matrix.",
        {"inputs": [matrix(one_of_each)]},
        expected(one_of_each),
    )

    pair = np.stack([rows[labels == 1][1], rows[labels == 2][1]])
    # Backwards, because the order in which a client names the features means nothing.
    write_case(
        "by_name",
        "The thirteen features by name, in another order than the graph's, two wines.",
        {"inputs": columns(pair, NAMES[::-1])},
        expected(pair),
    )
    write_case(
        "missing_feature",
        "Twelve features by name: the answer says which one is missing.",
        {"inputs": columns(pair, [name for name in NAMES if name != "proline"])},
        {"failure": "client", "message": "proline"},
    )

    absurd = one_of_each.copy()
    absurd[1, NAMES.index("alcohol")] *= 10
    write_case(
        "absurd_feature",
        "Alcohol in per mille instead of per cent: the answer names the feature.",
        {"inputs": [matrix(absurd)]},
        {"failure": "client", "message": "alcohol"},
    )
    absent = one_of_each[:1].copy()
    absent[0, NAMES.index("magnesium")] = -1
    write_case(
        "negative_feature",
        "A missing value written as -1 is not computed with.",
        {"inputs": columns(absent, NAMES)},
        {"failure": "client", "message": "magnesium"},
    )


def main():
    wine = load_wine()
    rows, held_rows, labels, held_labels = train_test_split(
        wine.data, wine.target, test_size=0.25, stratify=wine.target, random_state=SEED
    )
    mean, deviation = significant(rows.mean(0)), significant(rows.std(0))
    classifier = LogisticRegression(C=INVERSE_REGULARISATION, tol=1e-10, max_iter=10000)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=5, random_state=SEED)
    cross = cross_val_score(make_pipeline(StandardScaler(), classifier), rows, labels, cv=folds)

    classifier.fit(standardise(rows, mean, deviation), labels)
    # Six decimals: more would be noise of the optimiser, and differ from machine to machine.
    weight = np.round(classifier.coef_, 6).astype(np.float32)
    bias = np.round(classifier.intercept_, 6).astype(np.float32)
    model = HERE / "1" / "model.onnx"
    export(weight, bias, model)
    write_table(mean, deviation)

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def probabilities_of(rows):
        return session.run(None, {"features": standardise(rows, mean, deviation)})[0]

    print(f"training rows, 5 x 5-fold cross-validation: accuracy {cross.mean():.4f}")
    for name, x, y in (("training", rows, labels), ("held-out", held_rows, held_labels)):
        right = int((probabilities_of(x).argmax(1) == y).sum())
        print(f"{name}: {right} of {len(y)} right, accuracy {right / len(y):.4f}")
    write_cases(probabilities_of, held_rows, held_labels)


if __name__ == "__main__":
    main()
