//! Tests of the layers of neural networks.

use super::sketch::{Sketch, keeps, mixes};

#[test]
fn matrices_of_rows_are_multiplied_by_constants() {
    let sketch = Sketch::of("n 3")
        .weights("w", &[3, 4])
        .weights("v", &[4, 2]);
    keeps(sketch.clone().node("MatMul", "x w", "y"));
    mixes(sketch.node("MatMul", "v x", "y"), "MatMul");
    let vector = Sketch::of("n 3").weights("w", &[3]);
    keeps(vector.clone().node("MatMul", "x w", "y"));
    mixes(vector.node("MatMul", "w x", "y"), "MatMul");
    let columns = Sketch::of("n 3")
        .weights("w", &[4, 3])
        .node("Transpose", "x", "t");
    let columns = columns.node("MatMul", "w t", "p");
    mixes(columns.clone().node("Relu", "p", "y"), "not the batch");
    keeps(columns.node("Transpose", "p", "y"));
}

#[test]
fn a_product_of_rows_and_rows_is_one_for_each_row() {
    let pair = |z: &str| Sketch::of("n 3 4").input("z", z).node("MatMul", "x z", "y");
    keeps(pair("n 4 5"));
    mixes(pair("n 4"), "MatMul");
    let all = Sketch::of("n 8")
        .node("Transpose", "x", "t")
        .node("MatMul", "x t", "y");
    mixes(all, "MatMul");
    let outer = Sketch::of("n 3 4")
        .weights("w", &[1, 4, 2])
        .weights("v", &[7, 4, 2]);
    keeps(outer.clone().node("MatMul", "x w", "y"));
    mixes(outer.node("MatMul", "x v", "y"), "MatMul");
}

#[test]
fn products_of_integers_have_parameters_for_the_whole_batch() {
    let sketch = Sketch::of("n 3")
        .weights("w", &[3, 4])
        .weights("one", &[])
        .weights("many", &[7]);
    keeps(sketch.clone().node("MatMulInteger", "x w", "y"));
    keeps(sketch.clone().node("MatMulInteger", "x w one one", "y"));
    mixes(
        sketch.clone().node("MatMulInteger", "x w many", "y"),
        "MatMulInteger",
    );
    let inputs = "x one one w one one one one";
    keeps(sketch.clone().node("QLinearMatMul", inputs, "y"));
    let inputs = "x many one w one one one one";
    mixes(
        sketch.clone().node("QLinearMatMul", inputs, "y"),
        "QLinearMatMul",
    );
    let measured = sketch.node("DynamicQuantizeLinear", "x", "q s z");
    mixes(
        measured.node("MatMulInteger", "q w z", "y"),
        "DynamicQuantizeLinear",
    );
}

#[test]
fn gemm_adds_a_tensor_without_rows_of_its_own() {
    let sketch = Sketch::of("n 3")
        .weights("w", &[4, 3])
        .weights("b", &[4])
        .weights("c", &[5, 4]);
    keeps(sketch.clone().node("Gemm", "x w b", "y").int("transB", 1));
    mixes(
        sketch.clone().node("Gemm", "x w c", "y").int("transB", 1),
        "Gemm",
    );
    let transposed = sketch.node("Transpose", "x", "t");
    let both = transposed.clone().node("Gemm", "t w", "y").int("transB", 1);
    keeps(both.int("transA", 1));
    mixes(transposed.node("Gemm", "t x", "y"), "Gemm");
}

#[test]
fn einsum_keeps_a_letter_for_the_rows() {
    let einsum = |equation: &str| {
        let sketch = Sketch::of("n 3 4")
            .input("z", "n 5 4")
            .weights("w", &[4, 4]);
        let inputs = if equation.starts_with("bij,bkj") {
            "x z"
        } else {
            "x w"
        };
        sketch
            .node("Einsum", inputs, "y")
            .text("equation", equation)
    };
    keeps(einsum("bij,bkj->bik"));
    keeps(einsum("bij, jk -> bik"));
    mixes(einsum("bij,jk->ik"), "Einsum");
    mixes(einsum("bij,jb->bi"), "Einsum");
    mixes(einsum("...ij,jk->...ik"), "Einsum");
    mixes(einsum("bij,jk"), "Einsum");
    mixes(einsum("bij,jk->ibk"), "not the batch");
}

#[test]
fn images_lie_along_the_first_axis() {
    let weights = Sketch::of("n 3 8 8")
        .weights("w", &[4, 3, 3, 3])
        .weights("b", &[4]);
    for operator in ["Conv", "ConvTranspose"] {
        keeps(weights.clone().node(operator, "x w b", "y"));
    }
    let other = weights
        .clone()
        .node("Transpose", "x", "t")
        .ints("perm", &[1, 0, 2, 3]);
    mixes(other.clone().node("Conv", "t w b", "y"), "Conv");
    mixes(weights.clone().node("Conv", "x x", "y"), "Conv");
    for operator in ["MaxPool", "AveragePool", "LpPool"] {
        let pool = weights
            .clone()
            .node(operator, "x", "y")
            .ints("kernel_shape", &[2, 2]);
        keeps(pool);
    }
    keeps(weights.clone().node("GlobalAveragePool", "x", "y"));
    let wide = weights
        .clone()
        .node("Transpose", "x", "t")
        .ints("perm", &[1, 2, 3, 0]);
    mixes(
        wide.clone().node("GlobalMaxPool", "t", "y"),
        "GlobalMaxPool",
    );
    mixes(wide.node("AveragePool", "t", "y"), "AveragePool");
    let places = weights
        .node("MaxPool", "x", "z y")
        .ints("kernel_shape", &[2, 2]);
    mixes(places, "MaxPool");
}

#[test]
fn the_sizes_of_convolutions_and_pools_are_followed() {
    // 28 -> 24 -> 12 -> 10 (valid) -> 5 (same).
    let sketch = Sketch::of("n 1 28 28")
        .weights("w1", &[6, 1, 5, 5])
        .weights("w2", &[16, 6, 3, 3]);
    let sketch = sketch
        .node("Conv", "x w1", "c1")
        .node("MaxPool", "c1", "p1");
    let sketch = sketch
        .ints("kernel_shape", &[2, 2])
        .ints("strides", &[2, 2]);
    let sketch = sketch.node("Conv", "p1 w2", "c2").text("auto_pad", "VALID");
    let sketch = sketch
        .node("AveragePool", "c2", "p2")
        .text("auto_pad", "SAME_UPPER");
    let sketch = sketch
        .ints("kernel_shape", &[2, 2])
        .ints("strides", &[2, 2]);
    let flat = |features| {
        sketch
            .clone()
            .integers("s", &[-1, features])
            .node("Reshape", "p2 s", "y")
    };
    keeps(flat(16 * 5 * 5));
    mixes(flat(16 * 5), "not the batch");
}

#[test]
fn resizing_must_not_change_the_rows() {
    let sketch = Sketch::of("n 3 h w")
        .floats("twice", &[1.0, 1.0, 2.0, 2.0])
        .floats("rows", &[2.0, 1.0, 1.0, 1.0])
        .floats("empty", &[]);
    keeps(sketch.clone().node("Resize", "x empty twice", "y"));
    mixes(sketch.clone().node("Resize", "x empty rows", "y"), "Resize");
    keeps(sketch.clone().node("Upsample", "x twice", "y").opset(9));
    let shaped = sketch
        .clone()
        .integers("first", &[0])
        .integers("second", &[2])
        .integers("size", &[64, 64])
        .node("Shape", "x", "shape")
        .node("Slice", "shape first second", "kept")
        .node("Concat", "kept size", "sizes")
        .int("axis", 0);
    keeps(shaped.node("Resize", "x empty empty sizes", "y"));
    let fixed = sketch.integers("sizes", &[4, 3, 64, 64]);
    mixes(fixed.node("Resize", "x empty empty sizes", "y"), "Resize");
}

#[test]
fn sequences_have_their_own_states() {
    let weights = |axes: &str| {
        let sketch = Sketch::of(axes)
            .weights("w", &[1, 32, 4])
            .weights("r", &[1, 32, 8]);
        sketch.input("h", "n 1 8").weights("zeros", &[1, 1, 8])
    };
    let back = |sketch: Sketch| {
        sketch
            .node("Transpose", "o", "y")
            .ints("perm", &[2, 0, 1, 3])
    };
    for operator in ["LSTM", "GRU", "RNN"] {
        let first = weights("n t 4")
            .node("Transpose", "x", "s")
            .ints("perm", &[1, 0, 2]);
        keeps(back(
            first
                .clone()
                .node(operator, "s w r", "o")
                .int("hidden_size", 8),
        ));
        mixes(
            weights("n t 4")
                .node(operator, "x w r", "y")
                .int("hidden_size", 8),
            operator,
        );
        let states = first
            .clone()
            .node("Transpose", "h", "hs")
            .ints("perm", &[1, 0, 2]);
        keeps(back(
            states
                .node(operator, "s w r - - hs", "o")
                .int("hidden_size", 8),
        ));
        let fixed = first
            .node(operator, "s w r - - zeros", "o")
            .int("hidden_size", 8);
        mixes(back(fixed), operator);
        let batch_first = weights("n t 4")
            .node(operator, "x w r", "y")
            .int("hidden_size", 8);
        keeps(batch_first.int("layout", 1));
    }
}

#[test]
fn states_of_the_size_of_the_batch_are_those_of_each_row() {
    let sketch = Sketch::of("n t 4")
        .weights("w", &[1, 32, 4])
        .weights("r", &[1, 32, 8]);
    let sketch = sketch
        .integer("zero", 0)
        .integers("front", &[0])
        .integers("one", &[1])
        .integers("width", &[8])
        .node("Shape", "x", "shape")
        .node("Gather", "shape zero", "batch")
        .node("Unsqueeze", "batch front", "rows")
        .node("Concat", "one rows width", "size")
        .int("axis", 0)
        .node("ConstantOfShape", "size", "state")
        .node("Transpose", "x", "s")
        .ints("perm", &[1, 0, 2])
        .node("LSTM", "s w r - - state state", "o - c")
        .int("hidden_size", 8);
    keeps(
        sketch
            .node("Transpose", "o", "y")
            .ints("perm", &[2, 0, 1, 3]),
    );
}

#[test]
fn attention_and_grids_are_within_a_row() {
    let sketch = Sketch::of("n q 8").input("k", "n s 8").input("v", "n s 8");
    keeps(sketch.clone().node("Attention", "x k v", "y").opset(23));
    let constant = sketch
        .clone()
        .weights("c", &[1, 5, 8])
        .weights("mask", &[4, 5]);
    keeps(
        constant
            .clone()
            .node("Attention", "x k v mask", "y")
            .opset(23),
    );
    mixes(
        constant.node("Attention", "x c c", "y").opset(23),
        "Attention",
    );
    let image = Sketch::of("n 3 8 8")
        .input("g", "n 4 4 2")
        .weights("c", &[1, 4, 4, 2]);
    keeps(image.clone().node("GridSample", "x g", "y"));
    mixes(image.node("GridSample", "x c", "y"), "GridSample");
}
