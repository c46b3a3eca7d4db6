#!/usr/bin/env python3
"""Compare the drift that a server reports with that of scipy and numpy, and check its refusals.

    data_quality.py write DIRECTORY          the data of a baseline, as CSV and as Parquet
    data_quality.py drift HTTP GRPC DIRECTORY
    data_quality.py rules HTTP GRPC

The model has three inputs in one table: a column of many values, one of few values, and one with missing values.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import scipy.special
import scipy.stats
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

NAMES = ["many", "few", "sparse"]
BINS = 10


def sample(seed, rows, shift):
    random = np.random.default_rng(seed)
    many = random.normal(shift, 1, rows)
    few = random.choice([1, 2, 5], rows, p=[0.6 - shift / 10, 0.3, 0.1 + shift / 10])
    sparse = random.exponential(1 + shift, rows)
    sparse[random.random(rows) < 0.2] = np.nan
    return np.stack([many, few, sparse], axis=1).astype(np.float32)


def baseline():
    """Few enough rows for all of them to be points of the baseline."""
    return sample(1, 200, 0)


# === The references ===


def bins(train, values):
    """The number of values in each bin: those between deciles, or those of few values and all others."""
    distinct = np.unique(train)
    if distinct.size <= BINS:
        counts = [np.count_nonzero(values == value) for value in distinct]
        return np.array([*counts, values.size - sum(counts)])
    ordered = np.sort(train)
    edges = np.unique([ordered[-(-k * ordered.size // BINS) - 1] for k in range(1, BINS)])
    edges = edges[edges != ordered[-1]]
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=edges.size + 1)


def psi(train, values):
    expected, actual = (np.clip(bins(train, x) / x.size, 1e-4, None) for x in (train, values))
    return float(((actual - expected) * np.log(actual / expected)).sum())


def check_feature(told, train, values):
    assert told["observations"] == values.size, told
    close(told["missing"], np.isnan(values).mean())
    close(told["baseline_missing"], np.isnan(train).mean())
    train, values = train[~np.isnan(train)], values[~np.isnan(values)]
    close(told["psi"], psi(train, values))
    statistic = scipy.stats.ks_2samp(train, values).statistic
    close(told["ks"], statistic)
    effective = train.size * values.size / (train.size + values.size)
    close(told["p_value"], scipy.special.kolmogorov(np.sqrt(effective) * statistic))


def close(found, expected):
    assert abs(found - expected) < 1e-6, f"{found} instead of {expected}"


# === Asking ===


def infer(client, library, rows):
    tensor = library.InferInput("x", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows)
    return client.infer("m", [tensor]).as_numpy("y")


def told(client):
    (statistics,) = client.get_inference_statistics("m")["model_stats"]
    quality = statistics["data_quality"]
    (of_input,) = quality["inputs"]
    assert of_input["name"] == "x", of_input
    features = of_input["features"]
    assert [feature["name"] for feature in features] == NAMES, features
    return quality, features


def expect_failure(call, *texts):
    try:
        answer = call()
    except InferenceServerException as error:
        for text in texts:
            assert text in error.message(), f"expected `{text}` in: {error}"
    else:
        raise AssertionError(f"expected a failure, got {answer}")


# === Commands ===


def write(directory):
    rows = baseline().astype(np.float64)
    target = np.arange(len(rows))
    columns = dict(zip(NAMES, rows.T)) | {"target": target}
    lines = [",".join(columns)]
    for row in zip(*columns.values()):
        lines.append(",".join("" if value != value else repr(value.item()) for value in row))
    Path(directory, "train.csv").write_text("\n".join(lines) + "\n")
    arrays = {name: pyarrow.array(column, from_pandas=True) for name, column in columns.items()}
    arrays["few"] = pyarrow.array(columns["few"].astype(np.int16))
    arrays["many"] = pyarrow.array(columns["many"].astype(np.float32))
    table = pyarrow.table(arrays)
    for codec in ("none", "snappy", "gzip", "zstd"):
        pyarrow.parquet.write_table(table, Path(directory, f"train-{codec}.parquet"), compression=codec)


def drift(http, grpc, directory):
    train = baseline()
    assert json.loads(Path(directory, "m", "baseline.json").read_text())["window"] == 500
    client, other = triton_http.InferenceServerClient(http), triton_grpc.InferenceServerClient(grpc)
    same, shifted = sample(2, 500, 0), sample(3, 500, 1)
    for start in range(0, 500, 50):
        rows = same[start : start + 50]
        answer = infer(client, triton_http, rows) if start % 100 else infer(other, triton_grpc, rows)
        np.testing.assert_array_equal(answer, rows)
    quality, features = told(client)
    assert (quality["window"], quality["rejected_inputs"]) == (500, 0), quality
    for feature, of_train, values in zip(features, train.T, same.T):
        check_feature(feature, of_train, values)
        assert feature["psi"] < 0.2, feature
    # The window slides over the later rows, half and then all of them.
    for start in range(0, 500, 50):
        infer(client, triton_http, shifted[start : start + 50])
        if start == 200:
            mixed = np.concatenate([same[250:], shifted[:250]])
            for feature, of_train, values in zip(told(client)[1], train.T, mixed.T):
                check_feature(feature, of_train, values)
    for feature, of_train, values in zip(told(client)[1], train.T, shifted.T):
        check_feature(feature, of_train, values)
    assert told(client)[1][0]["psi"] > 0.25
    # Statistics over gRPC have the fields of Triton and no others.
    (statistics,) = other.get_inference_statistics("m").model_stats
    assert statistics.inference_count == 1000, statistics


def rules(http, grpc):
    client, other = triton_http.InferenceServerClient(http), triton_grpc.InferenceServerClient(grpc)
    good = np.array([[0, 1, 2], [1, 5, np.nan]], np.float32)
    for library, client in ((triton_http, client), (triton_grpc, other)):
        np.testing.assert_array_equal(infer(client, library, good), good)
        for place, value, texts in (
            ((1, 0), 99.5, ("input `x` has 99.5 at [1, 0] (feature `many`), expected -10 to 10",)),
            ((0, 0), np.nan, ("has NaN at [0, 0]",)),
            ((1, 1), 3, ("has 3.0 at [1, 1] (feature `few`)", "one of 1, 2, 5")),
        ):
            bad = good.copy()
            bad[place] = value
            expect_failure(lambda: infer(client, library, bad), *texts)


if __name__ == "__main__":
    {"write": write, "drift": drift, "rules": rules}[sys.argv[1]](*sys.argv[2:])
