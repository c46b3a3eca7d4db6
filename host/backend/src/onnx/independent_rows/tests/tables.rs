//! Tests of the operators of `ai.onnx.ml`.

use super::sketch::{Sketch, keeps, mixes};

/// Returns a graph of one node of this domain.
fn one(axes: &str, operator: &str, outputs: &str) -> Sketch {
    Sketch::of(axes).node(&format!("ai.onnx.ml:{operator}"), "x", outputs)
}

#[test]
fn models_compute_each_row_of_a_table() {
    for operator in [
        "TreeEnsembleClassifier",
        "LinearClassifier",
        "SVMClassifier",
    ] {
        keeps(one("? 4", operator, "y scores"));
        keeps(one("? 4", operator, "label y"));
        mixes(one("?", operator, "y scores"), operator);
    }
    for operator in [
        "TreeEnsembleRegressor",
        "LinearRegressor",
        "SVMRegressor",
        "TreeEnsemble",
    ] {
        keeps(one("? 4", operator, "y"));
        mixes(one("?", operator, "y"), operator);
    }
}

#[test]
fn columns_are_scaled_and_encoded() {
    for operator in ["Scaler", "Normalizer", "Imputer"] {
        keeps(one("? 4", operator, "y"));
        // The parameters of a vector belong to its elements.
        mixes(one("?", operator, "y"), operator);
    }
    for operator in [
        "LabelEncoder",
        "CategoryMapper",
        "Binarizer",
        "OneHotEncoder",
        "ZipMap",
    ] {
        keeps(one("? 4", operator, "y"));
        keeps(one("?", operator, "y"));
    }
    for operator in ["DictVectorizer", "CastMap", "Novelty"] {
        mixes(one("? 4", operator, "y"), operator);
    }
}

#[test]
fn columns_are_selected_and_joined() {
    let sketch = Sketch::of("? 4")
        .integers("some", &[0, 2])
        .weights("labels", &[3]);
    let extractor = "ai.onnx.ml:ArrayFeatureExtractor";
    keeps(sketch.clone().node(extractor, "x some", "y"));
    mixes(
        sketch.clone().node(extractor, "x x", "y"),
        "ArrayFeatureExtractor",
    );
    let rows = Sketch::of("?").integers("some", &[0]);
    mixes(rows.node(extractor, "x some", "y"), "ArrayFeatureExtractor");
    // The label of the greatest score, as skl2onnx finds it.
    let label = sketch
        .node("ArgMax", "x", "greatest")
        .int("axis", 1)
        .node(extractor, "labels greatest", "found")
        .integers("flat", &[-1]);
    mixes(label.clone().node("Cast", "found", "y"), "not the batch");
    keeps(label.node("Reshape", "found flat", "y"));
    let joined = Sketch::of("? 4").input("z", "? 2").weights("w", &[1, 2]);
    let join = "ai.onnx.ml:FeatureVectorizer";
    keeps(joined.clone().node(join, "x z", "y"));
    mixes(joined.node(join, "x w", "y"), "FeatureVectorizer");
}

#[test]
fn words_are_counted_in_each_row() {
    keeps(Sketch::of("? 9").node("TfIdfVectorizer", "x", "y"));
    mixes(
        Sketch::of("?").node("TfIdfVectorizer", "x", "y"),
        "TfIdfVectorizer",
    );
}
