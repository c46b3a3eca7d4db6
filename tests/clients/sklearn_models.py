#!/usr/bin/env python3
"""Train what scikit-learn's users have, and note what onnxruntime computes with it.

    sklearn_models.py DIRECTORY

DIRECTORY gets a file `NAME.onnx` for each model, `tensors.bin` with the contents of all tensors, and
`manifest.json`, which says for each model how far an answer may be off, and the computations to make: inputs and expected outputs, each
with name, datatype (as V2 names it), shape, and its place in `tensors.bin`. Strings lie there as V2
sends them, each behind its length in four bytes.

Everything is seeded. Support vector machines get scaled columns and targets, as they need: otherwise what is left
of their sums is the rounding of onnxruntime's floats. Models are as skl2onnx writes them, without the maps that no tensor can hold
(`zipmap`) unless the model's name says otherwise.
"""

import json
import sys
import warnings
from pathlib import Path

import ml_operators
import numpy as np
import onnx.helper
import onnxruntime
import trained_models
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, preprocessing, svm, tree
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris, make_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

BATCHES = (1, 4, 33)
OPSETS = {"": 17, "ai.onnx.ml": 3}
DATATYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "bool": "BOOL", "object": "BYTES"}

warnings.filterwarnings("ignore")

# skl2onnx 1.20 hands numpy's integers and booleans, which trees of HistGradientBoosting have, to onnx 1.23,
# which takes Python's integers only.
MAKE_ATTRIBUTE = onnx.helper.make_attribute


def make_attribute(key, value, *rest, **more):
    if isinstance(value, list):
        value = [plain_number(entry) for entry in value]
    return MAKE_ATTRIBUTE(key, value, *rest, **more)


def plain_number(entry):
    entry = entry.item() if isinstance(entry, np.generic) else entry
    return int(entry) if isinstance(entry, bool) else entry


onnx.helper.make_attribute = make_attribute


# === Rows to learn from ===

IRIS = load_iris(return_X_y=True)
BINARY = make_classification(600, 20, n_informative=12, weights=[0.7], random_state=3)
REGRESSION = make_regression(400, 20, random_state=0)
SPECIES = np.array(["setosa", "versicolor", "virginica"])
NAMED_IRIS = (IRIS[0], SPECIES[IRIS[1]])


def with_gaps(table):
    rows, target = table
    rows = rows.copy()
    rows[np.random.default_rng(4).random(rows.shape) < 0.15] = np.nan
    return rows, target


def counts(table):
    """The rows as small integers of both signs."""
    return np.round(table[0]).astype(np.int64), table[1]


def people():
    """Columns as people have them: words, counts, amounts."""
    random = np.random.default_rng(6)
    size = 300
    town = random.choice(["Bremen", "K\u00f6ln", "Ulm", ""], size)
    trade = random.choice(["baker", "smith", "tailor"], size)
    children = random.integers(0, 4, size)
    income = random.normal(3000, 900, size).astype(np.float32)
    target = (income / 1000 + (town == "Ulm") - (trade == "smith") + children * 0.2 > 3.2).astype(int)
    return {"town": town, "trade": trade, "children": children, "income": income}, target


# === Models ===


def numbers(name, model, table, *, kind=np.float32, options=None, zipmap=False, opsets=None):
    """Fit on a table of floats (or integers) and convert with one input."""
    train, target = table
    if train.dtype != np.int64:
        train = train.astype(kind)
    model.fit(train, target)
    options = dict(options or {})
    if hasattr(model, "predict_proba") or isinstance(model, svm.SVC):
        options["zipmap"] = zipmap
    options = {id(model): options} if options else None
    converted = to_onnx(model, train[:1], options=options, target_opset=opsets or OPSETS)
    rows = train
    # Rows that the model has not seen: between and beyond those it has.
    if rows.dtype != np.int64:
        spread = np.random.default_rng(9).normal(0, 0.1, rows.shape).astype(kind)
        rows = np.concatenate([rows[:20], rows[20:] + spread[20:] * np.nanstd(rows, axis=0)])
    rows = rows[np.random.default_rng(10).permutation(len(rows))]
    (declared,) = converted.graph.input
    return name, converted, [{declared.name: rows[start : start + size]} for start, size in slices()]


def columns(name, transformer, model, chosen=("town", "trade", "children", "income")):
    """Fit on columns of several types and convert with an input for each."""
    import pandas

    table, target = people()
    frame = pandas.DataFrame({column: table[column] for column in chosen})
    pipeline = make_pipeline(transformer, model).fit(frame, target)
    types = {"town": StringTensorType, "trade": StringTensorType, "children": Int64TensorType, "income": FloatTensorType}
    declared = [(column, types[column]([None, 1])) for column in chosen]
    options = {id(pipeline): {"zipmap": False}}
    converted = to_onnx(pipeline, initial_types=declared, options=options, target_opset=OPSETS)

    def batch(start, size):
        return {column: as_column(table[column][start : start + size]) for column in chosen}

    return name, converted, [batch(start, size) for start, size in slices()]


def words(name, model, target=None, unseen=()):
    """Fit on one matrix of strings."""
    table, truth = people()
    rows = np.stack([table["town"], table["trade"]], axis=1).astype(object)
    model.fit(rows, truth if target is None else target)
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    declared = [("words", StringTensorType([None, 2]))]
    converted = to_onnx(model, initial_types=declared, options=options, target_opset=OPSETS)
    rows = rows.copy()
    for place, word in unseen:
        rows[place] = word
    return name, converted, [{"words": rows[start : start + size]} for start, size in slices()]


def as_column(values):
    values = values.astype(object) if values.dtype.kind == "U" else values
    return values.reshape(-1, 1)


def slices():
    start = 0
    for size in BATCHES:
        yield start, size
        start += size


def coverage():
    """The set by which engines are compared."""
    logistic = lambda: linear_model.LogisticRegression(max_iter=500)  # noqa: E731
    boosted = lambda kind, **more: kind(n_estimators=30, random_state=1, **more)  # noqa: E731
    yield numbers("logreg bin", logistic(), BINARY)
    yield numbers("logreg 3", logistic(), IRIS)
    yield numbers("linreg", linear_model.LinearRegression(), REGRESSION)
    yield numbers("dtree 3", tree.DecisionTreeClassifier(max_depth=4, random_state=1), IRIS)
    yield numbers("rf bin", ensemble.RandomForestClassifier(50, max_depth=5, random_state=1), BINARY)
    yield numbers("rf 3", ensemble.RandomForestClassifier(50, max_depth=5, random_state=1), IRIS)
    yield numbers("gbt bin", boosted(ensemble.GradientBoostingClassifier), BINARY)
    yield numbers("gbt 3", boosted(ensemble.GradientBoostingClassifier), IRIS)
    yield numbers("histgbt bin", ensemble.HistGradientBoostingClassifier(max_iter=30, random_state=1), BINARY)
    yield numbers("rf reg", ensemble.RandomForestRegressor(30, max_depth=5, random_state=1), REGRESSION)
    yield numbers("gbt reg", boosted(ensemble.GradientBoostingRegressor), REGRESSION)
    yield numbers("svc", svm.SVC(probability=True, random_state=1), IRIS)
    yield numbers("knn", neighbors.KNeighborsClassifier(), IRIS)
    yield numbers("gnb", naive_bayes.GaussianNB(), IRIS)
    yield numbers("mlp 3", neural_network.MLPClassifier((32,), max_iter=80, random_state=1), IRIS)
    mlp = neural_network.MLPRegressor(hidden_layer_sizes=(32,), max_iter=80, random_state=1)
    yield numbers("mlp reg", mlp, REGRESSION)
    for name, first in [
        ("scaler", preprocessing.StandardScaler()),
        ("minmax", preprocessing.MinMaxScaler()),
        ("imputer", SimpleImputer()),
        ("pca", PCA(5, random_state=1)),
        ("normalizer", preprocessing.Normalizer()),
    ]:
        table = with_gaps(BINARY) if name == "imputer" else BINARY
        yield numbers(f"{name}+logreg", make_pipeline(first, logistic()), table)
    yield numbers("poly+linreg", make_pipeline(preprocessing.PolynomialFeatures(2), linear_model.LinearRegression()), REGRESSION)


def more():
    """What the set leaves out."""
    logistic = lambda: linear_model.LogisticRegression(max_iter=500)  # noqa: E731
    boosted = lambda kind, **more: kind(n_estimators=30, random_state=1, **more)  # noqa: E731
    one_hot = lambda **more: preprocessing.OneHotEncoder(handle_unknown="ignore", **more)  # noqa: E731
    yield numbers("logreg words", logistic(), NAMED_IRIS)
    yield numbers("logreg bin words", logistic(), (BINARY[0], np.array(["no", "yes"])[BINARY[1]]))
    yield numbers("logreg zipmap", logistic(), IRIS, zipmap=True)
    yield numbers("forest words zipmap", ensemble.RandomForestClassifier(20, random_state=1), NAMED_IRIS, zipmap=True)
    yield numbers("forest bin words", ensemble.RandomForestClassifier(20, max_depth=4, random_state=1), (BINARY[0], np.array(["no", "yes"])[BINARY[1]]))
    yield numbers("forest raw labels", ensemble.RandomForestClassifier(20, max_depth=4, random_state=1), (IRIS[0], IRIS[1] * 10 - 7))
    yield numbers("extra trees", ensemble.ExtraTreesClassifier(30, max_depth=6, random_state=1), IRIS)
    yield numbers("extra trees reg", ensemble.ExtraTreesRegressor(30, max_depth=6, random_state=1), REGRESSION)
    two = (REGRESSION[0], np.stack([REGRESSION[1], -REGRESSION[0][:, 0]], axis=1))
    yield numbers("rf reg two targets", ensemble.RandomForestRegressor(20, max_depth=5, random_state=1), two)
    yield numbers("dtree reg", tree.DecisionTreeRegressor(max_depth=6, random_state=1), REGRESSION)
    yield numbers("dtree bin", tree.DecisionTreeClassifier(max_depth=6, random_state=1), BINARY)
    yield numbers("forest gaps", ensemble.RandomForestClassifier(20, max_depth=6, random_state=1), with_gaps(BINARY))
    yield numbers("histgbt gaps", ensemble.HistGradientBoostingClassifier(max_iter=20, random_state=1), with_gaps(IRIS))
    yield numbers("histgbt reg", ensemble.HistGradientBoostingRegressor(max_iter=30, random_state=1), REGRESSION)
    yield numbers("gbt prior", boosted(ensemble.GradientBoostingClassifier, init="zero"), BINARY)
    yield numbers("gbt raw scores", boosted(ensemble.GradientBoostingClassifier), BINARY, options={"raw_scores": True})
    yield numbers("gbt 100", ensemble.GradientBoostingClassifier(n_estimators=100, max_depth=3, random_state=1), BINARY)
    yield numbers("gbt exponential", boosted(ensemble.GradientBoostingClassifier, loss="exponential"), BINARY)
    yield numbers("ada", ensemble.AdaBoostClassifier(n_estimators=20, random_state=1), IRIS)
    yield numbers("ada reg", ensemble.AdaBoostRegressor(n_estimators=10, random_state=1), REGRESSION)
    yield numbers("bagging", ensemble.BaggingClassifier(n_estimators=10, random_state=1), IRIS)
    yield numbers("voting", ensemble.VotingClassifier([("a", logistic()), ("b", tree.DecisionTreeClassifier(max_depth=3, random_state=1))], voting="soft", flatten_transform=False), IRIS)
    yield numbers("isolation forest", ensemble.IsolationForest(n_estimators=20, random_state=1), IRIS)
    yield numbers("svc bin", svm.SVC(probability=True, random_state=1), BINARY)
    yield numbers("svc votes", svm.SVC(random_state=1), IRIS)
    yield numbers("svc bin votes", svm.SVC(random_state=1), BINARY)
    yield numbers("svc words", make_pipeline(preprocessing.StandardScaler(), svm.SVC(probability=True, kernel="poly", degree=2, coef0=1.0, random_state=1)), NAMED_IRIS)
    yield numbers("svc sigmoid", svm.SVC(kernel="sigmoid", gamma=0.01, random_state=1), BINARY)
    yield numbers("svc linear", make_pipeline(preprocessing.StandardScaler(), svm.SVC(kernel="linear", probability=True, random_state=1)), IRIS)
    yield numbers("nusvc", svm.NuSVC(probability=True, random_state=1), IRIS)
    yield numbers("linear svc", svm.LinearSVC(random_state=1), IRIS)
    yield numbers("linear svc bin", svm.LinearSVC(random_state=1), BINARY)
    yield numbers("svr", svm.SVR(), REGRESSION)
    yield numbers("nusvr linear", svm.NuSVR(kernel="linear"), (REGRESSION[0], REGRESSION[1] / 100))
    yield numbers("svr poly", svm.SVR(kernel="poly", degree=3, coef0=0.5), REGRESSION)
    yield numbers("one class", svm.OneClassSVM(nu=0.2), IRIS)
    yield numbers("knn reg", neighbors.KNeighborsRegressor(), REGRESSION)
    yield numbers("bernoulli nb", naive_bayes.BernoulliNB(), BINARY)
    yield numbers("multinomial nb", naive_bayes.MultinomialNB(), IRIS)
    yield numbers("complement nb", naive_bayes.ComplementNB(), IRIS)
    yield numbers("sgd", linear_model.SGDClassifier(loss="log_loss", random_state=1), IRIS)
    yield numbers("ridge two targets", linear_model.Ridge(), two)
    yield numbers("poisson", linear_model.PoissonRegressor(), (IRIS[0], IRIS[1].astype(float)))
    yield numbers("logreg ovr", linear_model.LogisticRegressionCV(cv=3, max_iter=500), IRIS)
    for norm in ("l1", "max"):
        yield numbers(f"normalizer {norm}", make_pipeline(preprocessing.Normalizer(norm), logistic()), BINARY)
    for name, scaler in [
        ("robust", preprocessing.RobustScaler()),
        ("max abs", preprocessing.MaxAbsScaler()),
        ("no mean", preprocessing.StandardScaler(with_mean=False)),
        ("no deviation", preprocessing.StandardScaler(with_std=False)),
    ]:
        yield numbers(f"{name}+svc", make_pipeline(scaler, svm.SVC(probability=True, random_state=1)), IRIS)
    yield numbers("median+gbt", make_pipeline(SimpleImputer(strategy="median"), boosted(ensemble.GradientBoostingRegressor)), with_gaps(REGRESSION))
    yield numbers("integers scaler+logreg", make_pipeline(preprocessing.StandardScaler(), logistic()), counts(BINARY))
    yield numbers("binarizer+logreg", make_pipeline(preprocessing.Binarizer(threshold=0.3), logistic()), BINARY)
    yield numbers("bins+logreg", make_pipeline(preprocessing.KBinsDiscretizer(4, encode="onehot-dense"), logistic()), BINARY)
    yield numbers("integers+forest", ensemble.RandomForestClassifier(20, max_depth=5, random_state=1), counts(BINARY))
    yield numbers("integers+logreg", logistic(), counts(BINARY))
    yield numbers("integers one hot+logreg", make_pipeline(one_hot(), logistic()), counts(IRIS))
    yield numbers("integers ordinal+tree", make_pipeline(preprocessing.OrdinalEncoder(), tree.DecisionTreeClassifier(max_depth=4, random_state=1)), counts(IRIS))
    # Of what skl2onnx writes for doubles, onnxruntime itself does not take boosting, regressors and imputers.
    doubles = dict(kind=np.float64)
    yield numbers("doubles forest", ensemble.RandomForestClassifier(20, max_depth=5, random_state=1), BINARY, **doubles)
    yield numbers("doubles scaler+logreg", make_pipeline(preprocessing.StandardScaler(), logistic()), BINARY, **doubles)
    yield numbers("doubles svc", svm.SVC(probability=True, random_state=1), IRIS, **doubles)
    yield numbers("doubles gnb", naive_bayes.GaussianNB(), IRIS, **doubles)
    yield numbers("newest opset scaler+gbt", make_pipeline(preprocessing.StandardScaler(), boosted(ensemble.GradientBoostingRegressor)), REGRESSION, opsets={"": 21, "ai.onnx.ml": 5})
    yield numbers("newest opset gnb", naive_bayes.GaussianNB(), IRIS, opsets={"": 21, "ai.onnx.ml": 5})
    yield words("words strict one hot+logreg", make_pipeline(preprocessing.OneHotEncoder(), logistic()))
    yield words("words one hot+logreg", make_pipeline(one_hot(), logistic()), unseen=[((2, 0), "Rome")])
    yield words("words ordinal+forest", make_pipeline(preprocessing.OrdinalEncoder(), ensemble.RandomForestClassifier(10, random_state=1)))
    split = lambda *parts: ColumnTransformer(list(parts))  # noqa: E731
    yield columns("columns one hot+logreg", split(("words", one_hot(), ["town", "trade"]), ("counts", one_hot(), ["children"]), ("amounts", preprocessing.StandardScaler(), ["income"])), logistic())
    yield columns("columns ordinal+gbt", split(("words", preprocessing.OrdinalEncoder(), ["town", "trade"]), ("rest", "passthrough", ["income"])), boosted(ensemble.GradientBoostingClassifier), chosen=("town", "trade", "income"))
    yield columns("columns imputer+scaler+svc", split(("words", one_hot(), ["trade"]), ("amounts", make_pipeline(SimpleImputer(), preprocessing.StandardScaler()), ["income"])), svm.SVC(probability=True, random_state=1), chosen=("trade", "income"))


def boosting():
    """Boosted trees of other libraries."""
    yield from trained_models.boosting(IRIS, BINARY, REGRESSION)


# === What onnxruntime computes ===


class Tensors:
    def __init__(self, path):
        self.file = path.open("wb")

    def note(self, name, array):
        if array.dtype.kind in "UO":
            array = array.astype(object)
            encoded = [str(text).encode() for text in array.ravel()]
            content = b"".join(len(text).to_bytes(4, "little") + text for text in encoded)
        else:
            content = np.ascontiguousarray(array).tobytes()
        offset = self.file.tell()
        self.file.write(content)
        return {
            "name": name,
            "datatype": DATATYPES[array.dtype.name],
            "shape": list(array.shape),
            "offset": offset,
            "length": len(content),
        }


def plain(value):
    """The matrix of scores that a list of maps stands for, one column a class."""
    if isinstance(value, list):
        return np.array([list(row.values()) for row in value], np.float32)
    return value


def with_locale(model):
    """A copy whose text is compared in a locale that every machine has; onnxruntime takes en_US by default."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.op_type == "StringNormalizer":
            node.attribute.append(onnx.helper.make_attribute("locale", "C.UTF-8"))
    return copy.SerializeToString()


def main(directory):
    tensors = Tensors(directory / "tensors.bin")
    manifest = []
    for models in (coverage, more, trained_models.text, boosting, ml_operators.operators):
        for name, converted, batches in models():
            (directory / f"{name}.onnx").write_bytes(converted.SerializeToString())
            session = onnxruntime.InferenceSession(with_locale(converted), providers=["CPUExecutionProvider"])
            names = [output.name for output in session.get_outputs()]
            computations = []
            for batch in batches:
                outputs = zip(names, session.run(None, batch))
                computations.append(
                    {
                        "inputs": [tensors.note(key, array) for key, array in batch.items()],
                        "outputs": [tensors.note(key, plain(value)) for key, value in outputs],
                    }
                )
            # Near a half, little is left of what onnxruntime takes the root of.
            tolerance = 1e-4 if "PROBIT" in name else 1e-5
            case = {"model": name, "set": models.__name__, "tolerance": tolerance, "computations": computations}
            manifest.append(case)
    tensors.file.close()
    text = json.dumps(manifest, indent=1)
    (directory / "manifest.json").write_text(text, encoding="utf-8")
    print(f"{len(manifest)} models")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
