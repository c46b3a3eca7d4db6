//! Tests of operators on elements and along axes.

use super::sketch::{Sketch, keeps, mixes};

/// Returns a graph of one node with integer attributes.
fn one(axes: &str, operator: &str, attributes: &[(&str, i64)]) -> Sketch {
    let sketch = Sketch::of(axes).node(operator, "x", "y");
    let attributes = attributes.iter();
    attributes.fold(sketch, |sketch, (name, number)| sketch.int(name, *number))
}

#[test]
fn elements_are_computed_alone() {
    for operator in [
        "Relu", "Sigmoid", "Erf", "Identity", "Cast", "IsNaN", "Dropout",
    ] {
        keeps(one("n 3", operator, &[]));
        keeps(one("n", operator, &[]));
    }
    let clip = Sketch::of("n 3").weights("low", &[]).weights("high", &[]);
    keeps(clip.node("Clip", "x low high", "y"));
}

#[test]
fn rows_are_joined_with_the_same_rows_and_with_constants() {
    let pair = |a: &str, b: &str| Sketch::of(a).input("z", b).node("Mul", "x z", "y");
    keeps(pair("n 3", "n 3"));
    keeps(pair("n 3", "n 1"));
    keeps(pair("n c 5", "n 1 5"));
    // The rows of one lie along another axis of the other.
    mixes(pair("n 3", "n"), "Mul");
    mixes(pair("n 1", "n"), "Mul");
    mixes(pair("n n2 3", "n 3"), "Mul");
    let sketch = Sketch::of("n 3").weights("w", &[3]).weights("v", &[1, 1]);
    keeps(sketch.node("Where", "w x v", "y"));
    let old = Sketch::of("n 3").weights("w", &[3]).opset(6);
    mixes(old.node("Add", "x w", "y").int("broadcast", 1), "Add");
}

#[test]
fn reductions_must_leave_out_the_axis_of_the_rows() {
    for operator in ["ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp"] {
        keeps(
            Sketch::of("n 3 4")
                .node(operator, "x", "y")
                .ints("axes", &[1, -1]),
        );
        mixes(
            Sketch::of("n 3 4")
                .node(operator, "x", "y")
                .ints("axes", &[-3]),
            operator,
        );
        mixes(Sketch::of("n 3 4").node(operator, "x", "y"), operator);
    }
    let sum = Sketch::of("n 3 4")
        .integers("axes", &[1])
        .integers("all", &[0, 1, 2]);
    keeps(
        sum.clone()
            .node("ReduceSum", "x axes", "y")
            .int("keepdims", 0),
    );
    mixes(sum.clone().node("ReduceSum", "x all", "y"), "ReduceSum");
    mixes(sum.node("ReduceSum", "x x", "y"), "ReduceSum");
    keeps(one("n 3", "ReduceSum", &[("noop_with_empty_axes", 1)]));
    keeps(one("n 3", "ArgMax", &[("axis", 1), ("keepdims", 0)]));
    mixes(one("n 3", "ArgMax", &[]), "ArgMax");
}

#[test]
fn a_reduction_before_the_rows_moves_their_axis() {
    let sketch = Sketch::of("n 3 4")
        .node("Transpose", "x", "t")
        .ints("perm", &[1, 0, 2]);
    let sketch = sketch.node("ReduceMax", "t", "y").ints("axes", &[0]);
    keeps(sketch.clone().int("keepdims", 0));
    mixes(sketch, "not the batch");
}

#[test]
fn running_sums_must_be_along_another_axis() {
    let sum = Sketch::of("n 3").integer("first", 0).integer("last", -1);
    keeps(sum.clone().node("CumSum", "x last", "y"));
    mixes(sum.node("CumSum", "x first", "y"), "CumSum");
}

#[test]
fn softmax_must_be_along_another_axis() {
    for operator in ["Softmax", "LogSoftmax", "Hardmax"] {
        keeps(one("n 3", operator, &[]));
        keeps(one("n 3 4", operator, &[("axis", 1)]));
        mixes(one("n 3", operator, &[("axis", 0)]), operator);
        mixes(one("n", operator, &[]), operator);
    }
    // Before version 13, it normalises over several axes together.
    let moved = Sketch::of("n 3 4")
        .node("Transpose", "x", "t")
        .ints("perm", &[1, 0, 2]);
    let back = |sketch: Sketch| sketch.node("Transpose", "s", "y").ints("perm", &[1, 0, 2]);
    keeps(back(moved.clone().node("Softmax", "t", "s").int("axis", 0)));
    mixes(
        back(moved.clone().node("Softmax", "t", "s")).opset(12),
        "Softmax",
    );
    keeps(back(moved.node("Softmax", "t", "s").int("axis", 2)).opset(12));
}

#[test]
fn normalisations_must_not_use_several_rows() {
    let scaled = |axes: &str| Sketch::of(axes).weights("s", &[3]).weights("b", &[3]);
    keeps(scaled("n t 3").node("LayerNormalization", "x s b", "y"));
    mixes(
        scaled("n 3")
            .node("LayerNormalization", "x s b", "y")
            .int("axis", 0),
        "Layer",
    );
    keeps(scaled("n 3 h").node("InstanceNormalization", "x s b", "y"));
    let moved = scaled("n 3 h")
        .node("Transpose", "x", "t")
        .ints("perm", &[1, 0, 2]);
    mixes(
        moved.clone().node("InstanceNormalization", "t s b", "y"),
        "Instance",
    );
    mixes(moved.node("LRN", "t", "y"), "LRN");
    keeps(one("n 3 8 8", "LRN", &[]));
    let batch = scaled("n 3 8 8").weights("m", &[3]).weights("v", &[3]);
    let batch = batch.node("BatchNormalization", "x s b m v", "y");
    keeps(batch.clone());
    mixes(batch.clone().int("training_mode", 1), "BatchNormalization");
    mixes(batch.opset(6), "BatchNormalization");
    mixes(
        one("n 3 8 8", "MeanVarianceNormalization", &[]),
        "MeanVariance",
    );
    let images = Sketch::of("n 3 8 8").node("MeanVarianceNormalization", "x", "y");
    keeps(images.ints("axes", &[2, 3]));
    keeps(one("n 3", "LpNormalization", &[]));
    mixes(one("n 3", "LpNormalization", &[("axis", 0)]), "Lp");
}

#[test]
fn quantisation_must_not_measure_the_batch() {
    let scaled = Sketch::of("n 3 8")
        .weights("s", &[])
        .weights("c", &[3])
        .weights("z", &[]);
    keeps(scaled.clone().node("QuantizeLinear", "x s z", "y"));
    keeps(scaled.clone().node("DequantizeLinear", "x c", "y"));
    mixes(
        scaled
            .clone()
            .node("DequantizeLinear", "x c", "y")
            .int("axis", 0),
        "Dequantize",
    );
    let measured = scaled.node("DynamicQuantizeLinear", "x", "q m p");
    mixes(
        measured.node("DequantizeLinear", "q m p", "y"),
        "DynamicQuantizeLinear",
    );
}

#[test]
fn operators_that_see_all_rows_or_are_random_mix_them() {
    for operator in [
        "EyeLike",
        "NonZero",
        "Unique",
        "Bernoulli",
        "RandomNormalLike",
        "Multinomial",
        "StringNormalizer",
        "Compress",
        "NonMaxSuppression",
        "Det",
        "Loop",
        "Scan",
    ] {
        mixes(Sketch::of("n 3").node(operator, "x", "y"), operator);
    }
    mixes(
        Sketch::of("n 3")
            .node("Dropout", "x - t", "y")
            .integers("t", &[1]),
        "Dropout",
    );
}
