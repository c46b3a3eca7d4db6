//! Tests of operators that move and select elements.

use super::sketch::{Sketch, keeps, mixes};

#[test]
fn a_transposition_moves_the_axis_of_the_rows() {
    let sketch = Sketch::of("n 3 4")
        .node("Transpose", "x", "t")
        .ints("perm", &[2, 0, 1]);
    mixes(sketch.clone().node("Relu", "t", "y"), "not the batch");
    keeps(sketch.node("Transpose", "t", "y").ints("perm", &[1, 2, 0]));
    mixes(
        Sketch::of("n 3")
            .node("Transpose", "x", "y")
            .ints("perm", &[0, 0]),
        "Transpose",
    );
    mixes(
        Sketch::of("n 3")
            .node("Transpose", "x", "y")
            .ints("perm", &[0, 7]),
        "Transpose",
    );
}

#[test]
fn axes_are_added_and_removed_beside_the_rows() {
    let sketch = Sketch::of("n 1 3")
        .integers("middle", &[1])
        .integers("first", &[0]);
    keeps(sketch.clone().node("Squeeze", "x middle", "y"));
    keeps(sketch.clone().node("Unsqueeze", "x middle", "y"));
    mixes(sketch.clone().node("Squeeze", "x first", "y"), "Squeeze");
    // It would remove the axis of a single row.
    mixes(sketch.clone().node("Squeeze", "x", "y"), "Squeeze");
    let around = sketch.node("Unsqueeze", "x first", "u");
    mixes(around.clone().node("Relu", "u", "y"), "not the batch");
    keeps(around.node("Squeeze", "u first", "y"));
    keeps(
        Sketch::of("n 1 3")
            .node("Squeeze", "x", "y")
            .ints("axes", &[1])
            .opset(11),
    );
}

#[test]
fn parts_are_joined_and_divided_along_another_axis() {
    let sketch = Sketch::of("n 3").input("z", "n 5").weights("w", &[1, 4]);
    keeps(sketch.clone().node("Concat", "x z", "y").int("axis", 1));
    keeps(sketch.clone().node("Concat", "x z", "y").int("axis", -1));
    mixes(
        sketch.clone().node("Concat", "x x", "y").int("axis", 0),
        "Concat",
    );
    mixes(
        sketch.clone().node("Concat", "x w", "y").int("axis", 1),
        "Concat",
    );
    keeps(Sketch::of("n 6").node("Split", "x", "y z").int("axis", 1));
    let uneven = Sketch::of("n 6").integers("parts", &[2, 4]);
    keeps(
        uneven
            .clone()
            .node("Split", "x parts", "z y")
            .int("axis", 1),
    );
    mixes(uneven.node("Split", "x parts", "z y"), "Split");
}

#[test]
fn repeated_tensors_keep_their_rows_if_these_are_not_repeated() {
    let sketch = Sketch::of("n 3")
        .integers("wide", &[1, 2])
        .integers("tall", &[2, 1]);
    keeps(sketch.clone().node("Tile", "x wide", "y"));
    mixes(sketch.clone().node("Tile", "x tall", "y"), "Tile");
    let wide = Sketch::of("n 1")
        .integers("shape", &[1, 7])
        .integers("rows", &[7, 1]);
    keeps(wide.clone().node("Expand", "x shape", "y"));
    mixes(wide.node("Expand", "x rows", "y"), "Expand");
}

#[test]
fn padding_must_not_add_rows() {
    let sketch = Sketch::of("n 3")
        .integers("right", &[0, 0, 0, 2])
        .integers("front", &[5, 0, 0, 0]);
    keeps(sketch.clone().node("Pad", "x right", "y"));
    mixes(sketch.clone().node("Pad", "x front", "y"), "Pad");
    let axes = sketch.integers("axes", &[1]).integers("both", &[1, 1]);
    keeps(axes.node("Pad", "x both - axes", "y").opset(18));
    let old = Sketch::of("n 3").node("Pad", "x", "y").opset(10);
    keeps(old.clone().ints("pads", &[0, 1, 0, 1]));
    mixes(old.ints("pads", &[1, 0, 0, 0]), "Pad");
}

#[test]
fn slices_must_contain_all_rows() {
    let sketch = Sketch::of("n 8")
        .integers("zero", &[0])
        .integers("one", &[1])
        .integers("end", &[i64::MAX])
        .integers("minus", &[-1]);
    keeps(sketch.clone().node("Slice", "x one end one", "y"));
    keeps(sketch.clone().node("Slice", "x zero end zero", "y"));
    keeps(sketch.clone().node("Slice", "x minus end one", "y"));
    mixes(sketch.clone().node("Slice", "x one end zero", "y"), "Slice");
    mixes(
        sketch.clone().node("Slice", "x zero minus zero", "y"),
        "Slice",
    );
    mixes(sketch.clone().node("Slice", "x one end", "y"), "Slice");
    mixes(sketch.node("Slice", "x minus end zero minus", "y"), "Slice");
    let old = Sketch::of("n 8").node("Slice", "x", "y").opset(9);
    keeps(
        old.clone()
            .ints("starts", &[2])
            .ints("ends", &[4])
            .ints("axes", &[1]),
    );
    mixes(old.ints("starts", &[0]).ints("ends", &[4]), "Slice");
}

#[test]
fn a_shift_of_the_rows_mixes_them() {
    let sketch = Sketch::of("n 3 8 8")
        .integers("pads", &[5, 0, 0, 0, 0, 0, 0, 0])
        .integers("begin", &[0])
        .integers("end", &[-5]);
    let sketch = sketch
        .node("Pad", "x pads", "p")
        .node("Slice", "p begin end begin", "s");
    mixes(sketch.node("Add", "x s", "y"), "Pad");
}

#[test]
fn indices_select_within_rows() {
    let sketch = Sketch::of("n 3 4")
        .integers("some", &[0, 2])
        .integer("one", 1);
    keeps(sketch.clone().node("Gather", "x some", "y").int("axis", 1));
    keeps(sketch.clone().node("Gather", "x one", "y").int("axis", 2));
    mixes(sketch.clone().node("Gather", "x some", "y"), "Gather");
    mixes(sketch.node("Gather", "x one", "y"), "Gather");
    // An embedding.
    let tokens = Sketch::of("n t").weights("w", &[100, 8]);
    keeps(tokens.clone().node("Gather", "w x", "y"));
    mixes(
        tokens.clone().node("Gather", "x x", "y").int("axis", 1),
        "Gather",
    );
    mixes(
        tokens.node("Gather", "w x", "y").int("axis", 1),
        "not the batch",
    );
    let pair = Sketch::of("n 8").input("i", "n 2").weights("c", &[4, 2]);
    keeps(
        pair.clone()
            .node("GatherElements", "x i", "y")
            .int("axis", 1),
    );
    mixes(
        pair.clone().node("GatherElements", "x i", "y"),
        "GatherElements",
    );
    mixes(
        pair.clone()
            .node("GatherElements", "x c", "y")
            .int("axis", 1),
        "GatherElements",
    );
    mixes(pair.clone().node("GatherND", "x i", "y"), "GatherND");
    keeps(pair.clone().node("GatherND", "c i", "y"));
    let single = Sketch::of("n 8").input("i", "n 1");
    keeps(single.node("GatherND", "x i", "y").int("batch_dims", 1));
    mixes(
        pair.node("ScatterElements", "x i i", "y").int("axis", 1),
        "ScatterElements",
    );
}

#[test]
fn classes_and_greatest_elements_are_those_of_a_row() {
    let sketch = Sketch::of("n 8")
        .integers("k", &[3])
        .integer("depth", 5)
        .weights("values", &[2]);
    keeps(sketch.clone().node("TopK", "x k", "y i"));
    keeps(sketch.clone().node("TopK", "x k", "v y"));
    mixes(
        sketch.clone().node("TopK", "x k", "y i").int("axis", 0),
        "TopK",
    );
    keeps(sketch.clone().node("OneHot", "x depth values", "y"));
    mixes(
        sketch.node("OneHot", "x depth values", "y").int("axis", 0),
        "not the batch",
    );
}

#[test]
fn matrices_and_sequences_are_those_of_a_row() {
    keeps(Sketch::of("n 3 3").node("Trilu", "x", "y"));
    mixes(Sketch::of("n 3").node("Trilu", "x", "y"), "Trilu");
    let sequences = Sketch::of("n 5 2").input("lengths", "n");
    let reverse = sequences.node("ReverseSequence", "x lengths", "y");
    keeps(reverse.clone().int("batch_axis", 0).int("time_axis", 1));
    mixes(reverse, "ReverseSequence");
    for operator in ["DepthToSpace", "SpaceToDepth"] {
        keeps(
            Sketch::of("n 4 8 8")
                .node(operator, "x", "y")
                .int("blocksize", 2),
        );
    }
}
