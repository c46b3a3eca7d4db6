#!/usr/bin/env python3
"""Train the regression of disease progression and write everything in this example that is not written by hand.

Writes 1/model.onnx and cases/. The scaling is part of the graph, so clients and the handler deal in
years, kg/m2 and mmHg.

What the cases expect is computed here with numpy and onnxruntime, never by Wisp.
"""

import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import RepeatedKFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).resolve().parent
SEED = 0
# The best of 0, 1, 3, 10, 30 and 100 in cross-validation on the training rows.
PENALTY = 30
# The scale of the measure: nobody in the study scored outside it. The handler corrects to it.
LOWEST, HIGHEST = 25.0, 346.0


def export(mean, deviation, weight, bias, path):
    nodes = [
        helper.make_node("Sub", ["features", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "deviation"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "weight", "bias"], ["progression"], transB=1),
    ]
    parameters = {"mean": mean, "deviation": deviation, "weight": weight, "bias": bias}
    graph = helper.make_graph(
        nodes,
        "progression",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 10])],
        [helper.make_tensor_value_info("progression", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(value, name) for name, value in parameters.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="examples/progression/train.py",
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


def write_cases(predict, rows):
    def write(name, about, rows, corrected):
        raw = predict(rows)
        outside = (raw < LOWEST) | (raw > HIGHEST)
        # A prediction at the very edge would test the last bits of the engine, not the handler.
        assert (np.abs(raw - LOWEST) > 1).all() and (np.abs(raw - HIGHEST) > 1).all(), raw
        assert outside.tolist() == corrected, raw
        features = {
            "name": "features",
            "datatype": "FP32",
            "shape": list(rows.shape),
            "data": [float(value) for value in rows.flat],
        }
        outputs = [
            {
                "name": "progression",
                "datatype": "FP32",
                "shape": [len(rows)],
                "data": [round(float(value), 4) for value in np.clip(raw, LOWEST, HIGHEST)],
            },
            {"name": "corrected", "datatype": "BOOL", "shape": [len(rows)], "data": corrected},
        ]
        write_case(name, about, {"inputs": [features]}, {"outputs": outputs, "tolerance": 1e-3})

    # age, sex, bmi, bp, s1 to s6: far from anybody in the study, who had a bmi of 18 to 42 and a bp of 62 to 133.
    severe = np.array([[68, 1, 62.5, 165, 180, 90, 25, 7.5, 6.6, 190]])
    slight = np.array([[24, 2, 14, 55, 190, 110, 95, 2, 2.8, 60]])
    write("one_patient", "A held-out patient.", rows[:1], [False])
    write("a_ward", "Four held-out patients at once.", rows[1:5], [False] * 4)
    write("above_the_scale", "Values far beyond the study drive the line over the scale's top.", severe, [True])
    write(
        "some_corrected",
        "One below the scale, one on it, one above: only the first and last are corrected.",
        np.concatenate([slight, rows[5:6], severe]),
        [True, False, True],
    )


def main():
    diabetes = load_diabetes(scaled=False)
    assert (diabetes.target.min(), diabetes.target.max()) == (LOWEST, HIGHEST)
    rows, held_rows, targets, held_targets = train_test_split(
        diabetes.data, diabetes.target, test_size=0.25, random_state=SEED
    )
    folds = RepeatedKFold(n_splits=5, n_repeats=5, random_state=SEED)
    cross = cross_val_score(make_pipeline(StandardScaler(), Ridge(PENALTY)), rows, targets, cv=folds)

    mean, deviation = rows.mean(0).astype(np.float32), rows.std(0).astype(np.float32)
    ridge = Ridge(PENALTY).fit((rows - mean) / deviation, targets)
    # Six decimals: more would be noise of the solver, and differ from machine to machine.
    weight = np.round(ridge.coef_, 6).astype(np.float32)[None]
    bias = np.round(np.array([ridge.intercept_]), 6).astype(np.float32)
    model = HERE / "1" / "model.onnx"
    export(mean, deviation, weight, bias, model)

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def predict(rows):
        return session.run(None, {"features": rows.astype(np.float32)})[0][:, 0]

    print(f"training rows, 5 x 5-fold cross-validation: R2 {cross.mean():.3f}")
    for name, x, y in (("training", rows, targets), ("held-out", held_rows, held_targets)):
        predicted = np.clip(predict(x), LOWEST, HIGHEST)
        error = np.abs(predicted - y).mean()
        share = 1 - ((predicted - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        guess = np.abs(targets.mean() - y).mean()
        print(f"{name}: {len(y)} rows, R2 {share:.3f}, mean absolute error {error:.1f} (always the mean: {guess:.1f})")
    write_cases(predict, held_rows)


if __name__ == "__main__":
    main()
