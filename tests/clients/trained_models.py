"""Pipelines of scikit-learn that read text, and models of LightGBM and XGBoost as onnxmltools writes them."""

import lightgbm
import numpy as np
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from skl2onnx.common.data_types import StringTensorType
from sklearn import linear_model, naive_bayes
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline

OPSETS = {"": 17, "ai.onnx.ml": 3}
BATCHES = (1, 4, 33)

SUBJECTS = {
    "weather": "Rain and wind all day; snow in the north, sun behind clouds, storms near the coast".split(),
    "money": "The bank's interest rates rise, shares fall, taxes and prices grow, wages do not".split(),
    "sport": "A late goal wins the match: players run, jump, score twice and lose the final".split(),
}


def sentences(size, seed=7):
    """Sentences about three subjects, some words of which are about none."""
    random = np.random.default_rng(seed)
    names = np.array(list(SUBJECTS))
    target = random.integers(0, 3, size)
    texts = []
    for subject in target:
        words = random.choice(SUBJECTS[names[subject]], random.integers(3, 9))
        others = random.choice(["today", "yesterday,", "we", "saw", "THAT", "x1", "42"], random.integers(0, 4))
        texts.append(" ".join([*words, *others]))
    return np.array(texts, object), names[target]


def batches(rows, name):
    start = 0
    for size in BATCHES:
        yield {name: rows[start : start + size]}
        start += size


def read(name, model, odd=()):
    """Fit on sentences and convert with one column of strings. `odd` are texts that the model has not seen."""
    rows, target = sentences(240)
    model.fit(rows, target)
    scores = hasattr(model, "predict_proba")
    options = {id(model): {"zipmap": False}} if scores else None
    converted = to_onnx(model, initial_types=[("text", StringTensorType([None, 1]))], options=options, target_opset=OPSETS)
    unseen = sentences(60, seed=8)[0]
    unseen[: len(odd)] = odd
    return name, converted, list(batches(unseen.reshape(-1, 1), "text"))


def text():
    """Text pipelines."""
    logistic = lambda: linear_model.LogisticRegression(max_iter=500)  # noqa: E731
    odd = ["", "RAIN Rain rain", "nothing that anybody has seen", "goal,goal;goal:goal"]
    yield read("text tfidf+logreg", make_pipeline(TfidfVectorizer(), logistic()), odd)
    yield read("text counts+logreg", make_pipeline(CountVectorizer(), logistic()), odd)
    yield read("text counts+naive bayes", make_pipeline(CountVectorizer(), naive_bayes.MultinomialNB()), odd)
    yield read("text bigrams+sgd", make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), linear_model.SGDClassifier(loss="log_loss", random_state=1)), odd)
    yield read("text sublinear+hinge", make_pipeline(TfidfVectorizer(sublinear_tf=True), linear_model.SGDClassifier(loss="hinge", random_state=1)), odd)
    yield read("text stop words+logreg", make_pipeline(TfidfVectorizer(stop_words=["the", "and", "in", "a"], min_df=2), logistic()), odd)
    yield read("text cases+logreg", make_pipeline(CountVectorizer(lowercase=False, binary=True), logistic()), odd)
    yield read("text words of letters+logreg", make_pipeline(TfidfVectorizer(token_pattern="[a-zA-Z]+"), logistic()), odd)
    yield read("text characters+logreg", make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(1, 2)), logistic()), odd)


def boosted(name, model, converted, rows):
    (declared,) = converted.graph.input
    return name, converted, list(batches(rows, declared.name))


def light(name, model, table, gaps=False):
    train, target = table
    train = with_gaps(train) if gaps else train.astype(np.float32)
    model.fit(train, target)
    kinds = [("x", FloatTensorType([None, train.shape[1]]))]
    converted = onnxmltools.convert_lightgbm(model, initial_types=kinds, target_opset=15, zipmap=False)
    return boosted(name, model, converted, train)


def extreme(name, model, table, gaps=False):
    train, target = table
    train = with_gaps(train) if gaps else train.astype(np.float32)
    model.fit(train, target)
    kinds = [("x", FloatTensorType([None, train.shape[1]]))]
    converted = onnxmltools.convert_xgboost(model, initial_types=kinds, target_opset=15)
    return boosted(name, model, converted, train)


def with_gaps(rows):
    rows = rows.astype(np.float32)
    rows[np.random.default_rng(4).random(rows.shape) < 0.15] = np.nan
    return rows


def boosting(iris, binary, regression):
    """Models of LightGBM and XGBoost."""
    few = dict(n_estimators=20, random_state=1, n_jobs=1)
    quiet = dict(few, verbose=-1, deterministic=True)
    yield light("lightgbm bin", lightgbm.LGBMClassifier(**quiet), binary)
    yield light("lightgbm 3", lightgbm.LGBMClassifier(**quiet), iris)
    yield light("lightgbm 3 gaps", lightgbm.LGBMClassifier(**quiet), iris, gaps=True)
    yield light("lightgbm reg", lightgbm.LGBMRegressor(**quiet), regression)
    yield light("lightgbm reg gaps", lightgbm.LGBMRegressor(**quiet), regression, gaps=True)
    yield light("lightgbm forest", lightgbm.LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.7, **quiet), binary)
    yield extreme("xgboost bin", xgboost.XGBClassifier(**few), binary)
    yield extreme("xgboost 3", xgboost.XGBClassifier(**few), iris)
    yield extreme("xgboost bin gaps", xgboost.XGBClassifier(**few), binary, gaps=True)
    yield extreme("xgboost reg", xgboost.XGBRegressor(**few), regression)
    yield extreme("xgboost reg gaps", xgboost.XGBRegressor(**few), regression, gaps=True)
    yield extreme("xgboost counts", xgboost.XGBRegressor(objective="count:poisson", **few), (regression[0], np.abs(np.round(regression[1] / 50))))
