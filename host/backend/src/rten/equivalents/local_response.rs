//! LRN, the normalisation of AlexNet and GoogLeNet, which rten lacks.

use crate::onnx::node_builder::{floats_constant, operator, with_integer, with_integers};
use crate::onnx::node_parts::{attribute, is_onnx};
use crate::onnx::rewriter::NewNames;
use crate::onnx::values::Site;
use crate::pb::NodeProto;

/// The number of axes of images, which are all that ONNX Runtime normalises.
const IMAGE_RANK: usize = 4;

/// Replaces LRN by x / (bias + alpha * average)^beta, where the average is that of the squares in the
/// neighbouring channels.
///
/// To average them, the channels become the last axis. The average counts channels that do not exist as zeros.
pub(super) fn average(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    if !is_onnx(site.node, &["LRN"]) {
        return None;
    }
    // Most ranks are not known. With another one, the transposition fails.
    let rank = site.values.rank(site.input(0)).unwrap_or(IMAGE_RANK);
    let (to_last, from_last): (&[i64], &[i64]) = match rank {
        3 => (&[0, 2, 1], &[0, 2, 1]),
        IMAGE_RANK => (&[0, 2, 3, 1], &[0, 3, 1, 2]),
        _ => return None,
    };
    let size = site.integer("size", 0);
    if size < 1 {
        return None;
    }
    let pooled = |others: i64, last: i64| {
        let mut axes = vec![others; rank - 2];
        if let Some(axis) = axes.last_mut() {
            *axis = last;
        }
        axes
    };
    let pads = [pooled(0, (size - 1) / 2), pooled(0, size / 2)].concat();
    let float = |name: &str, default| attribute(site.node, name).map_or(default, |found| found.f);
    let (input, output) = (site.input(0), site.output(0));
    let mut name = |part| names.name(output, part);
    let (alpha, beta, bias) = (name("alpha"), name("beta"), name("bias"));
    let (square, last, mean, first) = (name("square"), name("last"), name("mean"), name("first"));
    let (weighted, sum, divisor) = (name("weighted"), name("sum"), name("divisor"));
    let pool = operator("AveragePool", &[&last], &mean);
    let pool = with_integers(pool, "kernel_shape", pooled(1, size));
    let pool = with_integers(pool, "strides", pooled(1, 1));
    let pool = with_integers(pool, "pads", pads);
    let transposed = |from: &str, to: &str, axes: &[i64]| {
        with_integers(operator("Transpose", &[from], to), "perm", axes.to_vec())
    };
    Some(vec![
        floats_constant(&alpha, Vec::new(), vec![float("alpha", 1e-4)]),
        floats_constant(&beta, Vec::new(), vec![float("beta", 0.75)]),
        floats_constant(&bias, Vec::new(), vec![float("bias", 1.0)]),
        operator("Mul", &[input, input], &square),
        transposed(&square, &last, to_last),
        with_integer(pool, "count_include_pad", 1),
        transposed(&mean, &first, from_last),
        operator("Mul", &[&first, &alpha], &weighted),
        operator("Add", &[&weighted, &bias], &sum),
        operator("Pow", &[&sum, &beta], &divisor),
        operator("Div", &[input, &divisor], output),
    ])
}

#[cfg(test)]
mod tests {
    use crate::onnx::node_parts::attribute;
    use crate::onnx::test_graphs::{float, model, node, number, value};
    use crate::pb::tensor_proto::DataType;
    use crate::pb::{GraphProto, NodeProto};
    use crate::rten::equivalents::rewrite;

    fn rewritten(shape: &[i64], original: NodeProto) -> Vec<NodeProto> {
        let graph = GraphProto {
            input: vec![value("x", DataType::Float, shape)],
            node: vec![original],
            ..Default::default()
        };
        let mut model = model(13, graph);
        rewrite(&mut model);
        model.graph.unwrap().node
    }

    fn integers(nodes: &[NodeProto], operator: &str, name: &str) -> Vec<i64> {
        let node = nodes.iter().find(|node| node.op_type == operator).unwrap();
        attribute(node, name).unwrap().ints.clone()
    }

    #[test]
    fn the_window_of_an_even_size_reaches_further_to_the_last_channel() {
        for (size, pads) in [
            (1, [0, 0, 0, 0]),
            (2, [0, 0, 0, 1]),
            (4, [0, 1, 0, 2]),
            (5, [0, 2, 0, 2]),
        ] {
            let node = number(node("LRN", &["x"], "y"), "size", size);
            let nodes = rewritten(&[-1, 8, 6, 6], node.clone());
            assert_eq!(integers(&nodes, "AveragePool", "pads"), pads);
            let kernel = integers(&nodes, "AveragePool", "kernel_shape");
            assert_eq!(kernel, [1, size]);
            assert_eq!(nodes.last().unwrap().output, ["y"]);
            let nodes = rewritten(&[-1, 8, 6], node);
            assert_eq!(integers(&nodes, "AveragePool", "pads"), [pads[1], pads[3]]);
        }
    }

    #[test]
    fn the_constants_are_those_of_the_node_or_the_defaults() {
        let constants = |node: NodeProto| -> Vec<Vec<u8>> {
            let nodes = rewritten(&[-1, 8, 6, 6], node);
            let tensors = nodes.iter().take(3);
            let tensors = tensors.map(|node| node.attribute[0].t.clone().unwrap());
            tensors.map(|tensor| tensor.raw_data).collect()
        };
        let bytes = |numbers: [f32; 3]| numbers.map(|number| number.to_le_bytes().to_vec());
        let default = number(node("LRN", &["x"], "y"), "size", 3);
        assert_eq!(constants(default.clone()), bytes([1e-4, 0.75, 1.0]));
        let own = float(float(default, "alpha", 2.0), "beta", 0.5);
        let own = float(own, "bias", 0.0);
        assert_eq!(constants(own), bytes([2.0, 0.5, 0.0]));
    }

    #[test]
    fn a_node_that_is_not_valid_stays() {
        for (shape, size) in [
            (&[-1, 8, 6, 6][..], 0),
            (&[-1, 8], 3),
            (&[1, 8, 6, 6, 6], 3),
        ] {
            let node = number(node("LRN", &["x"], "y"), "size", size);
            assert_eq!(rewritten(shape, node.clone()), [node]);
        }
    }
}
