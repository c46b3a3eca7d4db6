//! Tests of the rows of whole graphs: inputs, outputs, constants, inner graphs, and operators that are not known.
//! The modules below test the families of operators.

mod elements;
mod layers;
mod moves;
mod shapes;
mod sketch;
mod tables;

use self::sketch::{Sketch, keeps, mixes};
use super::*;

#[test]
fn the_first_axis_of_every_input_and_output_is_the_batch() {
    keeps(Sketch::of("n 3").node("Relu", "x", "y"));
    keeps(Sketch::of("? 3").node("Relu", "x", "y"));
    mixes(Sketch::of("4 3").node("Relu", "x", "y"), "has a fixed size");
    mixes(Sketch::of("").node("Relu", "x", "y"), "has no axes");
    mixes(
        Sketch::of("n 3").node("Transpose", "x", "y"),
        "output `y` is not the batch",
    );
    mixes(Sketch::of("n 3").weights("y", &[3]), "output `y` is not");
    mixes(Sketch::default(), "no inputs");
    mixes(Sketch::of("n n").node("Relu", "x", "y"), "is the batch too");
}

#[test]
fn inputs_with_different_names_of_the_first_axis_are_unrelated() {
    let pair = |a: &str, b: &str| {
        let sketch = Sketch::of(a).input("z", b).node("Add", "x z", "y");
        sketch.rows()
    };
    assert_eq!(pair("n 3", "n 3"), Rows::Independent);
    assert_eq!(pair("n 3", "? 3"), Rows::Independent);
    let generated = pair("unk__1 3", "unk__2 3");
    assert_eq!(generated, Rows::Independent);
    let generated = pair("x_dynamic_axes_1 3", "z_dynamic_axes_1 3");
    assert_eq!(generated, Rows::Independent);
    let unrelated = pair("queries 3", "docs 3");
    assert!(!unrelated.may_be_batch() && !unrelated.are_independent());
    let Rows::Unrelated { reason } = unrelated else {
        panic!("{unrelated:?}");
    };
    assert!(
        reason.contains("`queries`") && reason.contains("`docs`"),
        "{reason}"
    );
}

#[test]
fn the_first_operator_that_mixes_rows_is_named() {
    let sketch = Sketch::of("n 3")
        .node("ReduceMean", "x", "m")
        .ints("axes", &[0])
        .node("Sub", "x m", "d")
        .node("CumSum", "d", "y");
    mixes(sketch, "operator ReduceMean (`m`) may mix");
}

#[test]
fn an_operator_that_mixes_rows_for_no_output_does_not_matter() {
    let sketch = Sketch::of("n 3").node("ReduceMax", "x", "unused");
    keeps(sketch.node("Relu", "x", "y"));
}

#[test]
fn unknown_operators_domains_and_functions_are_not_trusted() {
    mixes(Sketch::of("n 3").node("Novelty", "x", "y"), "Novelty");
    mixes(Sketch::of("n 3").node("acme:Relu", "x", "y"), "Relu");
    keeps(Sketch::of("n 3").node("com.microsoft:Gelu", "x", "y"));
    mixes(
        Sketch::of("n 3").node("com.microsoft:DynamicQuantizeLSTM", "x", "y"),
        "LSTM",
    );
    let mut model = Sketch::of("n 3").node("Relu", "x", "y").model();
    model.functions.push(crate::pb::FunctionProto {
        name: Some("Relu".to_owned()),
        ..Default::default()
    });
    assert!(!rows(&model).are_independent());
}

#[test]
fn constants_are_the_same_for_every_row() {
    let sketch = Sketch::of("n 3")
        .weights("w", &[3, 3])
        .node("Novelty", "w", "v")
        .node("MatMul", "x w", "p");
    // The rank of `v` is not known, and it may have rows of its own.
    mixes(sketch.node("Add", "p v", "y"), "Add");
    let sketch = Sketch::of("n 3").node("RandomNormal", "", "r");
    mixes(sketch.node("Add", "x r", "y"), "RandomNormal");
}

#[test]
fn a_constant_with_an_axis_of_the_batch_has_a_fixed_number_of_rows() {
    keeps(
        Sketch::of("n 3")
            .weights("w", &[1, 3])
            .node("Add", "x w", "y"),
    );
    keeps(Sketch::of("n 3").weights("w", &[3]).node("Add", "x w", "y"));
    mixes(
        Sketch::of("n 3")
            .weights("w", &[5, 3])
            .node("Add", "x w", "y"),
        "Add",
    );
    mixes(
        Sketch::of("n")
            .weights("w", &[5, 1])
            .node("Add", "x w", "y"),
        "not the batch",
    );
}

#[test]
fn a_branch_keeps_rows_apart_only_if_nothing_in_it_depends_on_them() {
    let branch = |value: &str| {
        let inner = Sketch::default().node("Sqrt", value, "inner");
        inner.output("inner").graph()
    };
    let sketch = |value: &str| {
        let sketch = Sketch::of("n 3").weights("w", &[3]).integers("c", &[1]);
        let sketch = sketch.node("Relu", "x", "r").node("If", "c", "b");
        let sketch = sketch.inner("then_branch", branch(value));
        sketch.inner("else_branch", branch("w"))
    };
    keeps(sketch("w").node("Clip", "r b", "y"));
    mixes(sketch("r").node("Add", "r b", "y"), "operator If");
    keeps(sketch("r").node("Neg", "r", "y"));
}

#[test]
fn values_of_one_name_and_values_that_are_not_computed_are_not_trusted() {
    mixes(
        Sketch::of("n 3")
            .node("Relu", "x", "y")
            .node("Neg", "x", "y"),
        "two values",
    );
    mixes(Sketch::of("n 3").node("Add", "x later", "y"), "Add");
}

#[test]
fn a_file_of_absurd_sizes_is_examined_quickly() {
    let mut sketch = Sketch::of("n 3").node("Shape", "x", "s0");
    for position in 0..2000 {
        let (before, after) = (format!("s{position}"), format!("s{}", position + 1));
        sketch = sketch.node("Mul", &format!("{before} {before}"), &after);
    }
    mixes(sketch.node("Reshape", "x s2000", "y"), "Reshape");
    let axes = ["n"; 1].into_iter().chain([" 2"; 100]).collect::<String>();
    mixes(Sketch::of(&axes).node("Relu", "x", "y"), "too many axes");
    let extremes = [i64::MIN, i64::MAX];
    let sketch = Sketch::of("n 9 9 9").weights("w", &[4, 9, 3, 3]);
    let sketch = sketch
        .node("Conv", "x w", "y")
        .ints("dilations", &extremes)
        .ints("pads", &[i64::MIN, i64::MAX, i64::MAX, i64::MIN])
        .ints("strides", &[i64::MAX, i64::MIN]);
    keeps(sketch);
}
