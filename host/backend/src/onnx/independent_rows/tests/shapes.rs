//! Tests of reshaped values, and of shapes that graphs compute.

use super::sketch::{Sketch, keeps, mixes};

/// Returns a graph with the number of rows as a vector, and the other sizes of `x`.
fn measured(axes: &str) -> Sketch {
    Sketch::of(axes)
        .integer("i0", 0)
        .integer("i1", 1)
        .integers("front", &[0])
        .node("Shape", "x", "shape")
        .node("Gather", "shape i0", "n0")
        .node("Gather", "shape i1", "n1")
        .node("Unsqueeze", "n0 front", "rows")
        .node("Unsqueeze", "n1 front", "second")
}

#[test]
fn a_new_shape_keeps_the_rows_in_front() {
    let reshaped = |shape: &[i64]| {
        let sketch = Sketch::of("n 3 4").integers("shape", shape);
        sketch.node("Reshape", "x shape", "y")
    };
    for shape in [
        &[0, -1][..],
        &[-1, 12],
        &[0, 12],
        &[-1, 2, 6],
        &[0, 0, 2, -1],
        &[-1, 3, 4, 1],
    ] {
        keeps(reshaped(shape));
    }
    for shape in [
        &[-1][..],
        &[1, -1],
        &[2, -1],
        &[-1, 5],
        &[-1, 24],
        &[-1, 0],
        &[-1, -1],
    ] {
        let sketch = reshaped(shape);
        assert!(!sketch.rows().are_independent(), "{shape:?}");
    }
    mixes(reshaped(&[0, 12]).int("allowzero", 1), "Reshape");
}

#[test]
fn flattening_keeps_the_rows_if_they_have_an_axis_of_their_own() {
    keeps(Sketch::of("n 3 h").node("Flatten", "x", "y"));
    mixes(
        Sketch::of("n 3 h").node("Flatten", "x", "y").int("axis", 0),
        "not the batch",
    );
    mixes(
        Sketch::of("n 3 h").node("Flatten", "x", "y").int("axis", 2),
        "not the batch",
    );
    mixes(
        Sketch::of("n 3 h").node("Flatten", "x", "y").int("axis", 9),
        "Flatten",
    );
}

#[test]
fn rows_can_be_joined_with_heads_and_divided_again() {
    let sketch = Sketch::of("n 12 7 64")
        .integers("joined", &[-1, 7, 64])
        .integers("parts", &[-1, 12, 7, 64])
        .integers("other", &[12, -1, 7, 64])
        .node("Reshape", "x joined", "j")
        .node("Softmax", "j", "s");
    mixes(sketch.clone().node("Relu", "s", "y"), "not the batch");
    keeps(sketch.clone().node("Reshape", "s parts", "y"));
    mixes(sketch.node("Reshape", "s other", "y"), "Reshape");
}

#[test]
fn rows_in_front_of_others_are_not_joined_with_what_stands_before_them() {
    let sketch = Sketch::of("n 3 4")
        .integers("joined", &[-1, 4])
        .integers("parts", &[3, -1, 4]);
    let moved = sketch.node("Transpose", "x", "t").ints("perm", &[1, 0, 2]);
    mixes(moved.clone().node("Reshape", "t joined", "y"), "Reshape");
    let same = moved.node("Reshape", "t parts", "p");
    keeps(same.node("Transpose", "p", "y").ints("perm", &[1, 0, 2]));
}

#[test]
fn a_shape_that_contains_the_number_of_rows_keeps_them() {
    let sketch = measured("n t 64")
        .integers("heads", &[8, 8])
        .integers("rest", &[-1]);
    let heads = sketch
        .clone()
        .node("Concat", "rows second heads", "s")
        .int("axis", 0);
    keeps(heads.node("Reshape", "x s", "y"));
    let flat = sketch
        .clone()
        .node("Concat", "rows rest", "s")
        .int("axis", 0);
    keeps(flat.node("Reshape", "x s", "y"));
    let other = sketch
        .node("Concat", "second rows rest", "s")
        .int("axis", 0);
    mixes(other.node("Reshape", "x s", "y"), "Reshape");
}

#[test]
fn sizes_are_computed_with_the_number_of_rows() {
    let sketch = measured("n t 64")
        .integer("eight", 8)
        .integers("rest", &[-1, 64]);
    let many = sketch
        .node("Mul", "n0 eight", "m")
        .node("Div", "m eight", "d");
    let many = many
        .node("Unsqueeze", "d front", "v")
        .node("Concat", "v rest", "s")
        .int("axis", 0);
    keeps(many.clone().node("Reshape", "x s", "y"));
    let other = many
        .node("Add", "n0 eight", "a")
        .node("Unsqueeze", "a front", "u");
    let other = other.node("Concat", "u rest", "q").int("axis", 0);
    mixes(other.node("Reshape", "x q", "y"), "Reshape");
}

#[test]
fn a_token_can_be_repeated_for_each_row() {
    // As PyTorch exports `token.expand(n, -1, -1)`.
    let sketch = measured("n 3 8")
        .weights("token", &[1, 1, 8])
        .integers("free", &[-1, -1])
        .integers("three", &[3])
        .integer("minus", -1)
        .node("Concat", "rows free", "size")
        .int("axis", 0)
        .node("ConstantOfShape", "three", "ones")
        .value(1)
        .node("Mul", "ones minus", "negative")
        .node("Equal", "size negative", "is_free")
        .node("Where", "is_free ones size", "shape3")
        .node("Expand", "token shape3", "tokens")
        .node("Concat", "tokens x", "y")
        .int("axis", 1);
    keeps(sketch);
    let tiled = measured("n 3 8")
        .weights("token", &[1, 1, 8])
        .integers("one", &[1, 1]);
    let tiled = tiled.node("Concat", "rows one", "times").int("axis", 0);
    keeps(tiled.node("Tile", "token times", "y"));
}

#[test]
fn values_that_depend_on_the_number_of_rows_mix_them() {
    let float = measured("n 3").node("Cast", "n0", "f").int("to", 1);
    mixes(float.node("Div", "x f", "y"), "Cast");
    mixes(measured("n 3").node("Mul", "x n0", "y"), "Mul");
    let positions = measured("n 3").node("Range", "i0 n0 i1", "r");
    mixes(positions.node("Add", "x r", "y"), "Range");
    let square = measured("n 3")
        .node("Concat", "rows rows", "s")
        .int("axis", 0);
    mixes(square.node("ConstantOfShape", "s", "y"), "ConstantOfShape");
}

#[test]
fn values_that_depend_on_other_sizes_do_not() {
    let sketch = measured("n t").node("Range", "i0 n1 i1", "positions");
    let embedded = sketch.weights("w", &[512, 8]).weights("v", &[100, 8]);
    let embedded = embedded
        .node("Gather", "w positions", "p")
        .node("Gather", "v x", "t");
    keeps(embedded.node("Add", "t p", "y"));
    // A table of positions, of which as many are taken as there are tokens.
    let table = measured("n t")
        .weights("w", &[1, 512, 8])
        .weights("v", &[100, 8]);
    let table = table
        .integers("one", &[1])
        .node("Slice", "w front second one", "p");
    let table = table.node("Gather", "v x", "t");
    keeps(table.node("Add", "t p", "y"));
    let scaled = measured("n 16")
        .node("Cast", "n1", "f")
        .int("to", 1)
        .node("Sqrt", "f", "q");
    keeps(scaled.node("Div", "x q", "y"));
}

#[test]
fn shapes_from_data_are_not_followed() {
    let sketch = Sketch::of("n 3").input("s", "n");
    mixes(sketch.clone().node("Reshape", "x s", "y"), "Reshape");
    mixes(sketch.clone().node("Expand", "x s", "y"), "Expand");
    mixes(sketch.node("ConstantOfShape", "s", "y"), "ConstantOfShape");
}
