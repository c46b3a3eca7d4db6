//! QGemm, ONNX Runtime's product of quantised matrices with a bias, which neither embedded backend has.

use super::external_tensor::is_external;
use super::node_builder::{cast, floats_constant, operator, tensor_constant, with_integers};
use super::node_parts::{MICROSOFT, attribute};
use super::rewriter::NewNames;
use super::values::Site;
use crate::pb::tensor_proto::DataType;
use crate::pb::{NodeProto, TensorProto};

/// The positions of the inputs.
const A: usize = 0;
const A_SCALE: usize = 1;
const A_ZERO: usize = 2;
const B: usize = 3;
const B_SCALE: usize = 4;
const B_ZERO: usize = 5;
const BIAS: usize = 6;
const Y_SCALE: usize = 7;
const Y_ZERO: usize = 8;

/// Replaces QGemm by MatMulInteger, whose product is then scaled and quantised.
pub(super) fn scaled_product(site: &Site<'_>, names: &mut NewNames) -> Option<Vec<NodeProto>> {
    let NodeProto {
        op_type, domain, ..
    } = site.node;
    if op_type != "QGemm" || domain != MICROSOFT {
        return None;
    }
    let output = site.output(0);
    let alpha = attribute(site.node, "alpha").map_or(1.0, |alpha| alpha.f);
    let [factor, scales, scale] = ["alpha", "scales", "scale"].map(|part| names.name(output, part));
    let mut nodes = Vec::new();
    let a = match site.integer("transA", 0) {
        0 => site.input(A).to_owned(),
        _ => transposed(site, A, &mut nodes, names),
    };
    let b = match site.integer("transB", 0) {
        0 => site.input(B).to_owned(),
        _ => transposed(site, B, &mut nodes, names),
    };
    let mut sum = names.name(output, "product");
    let factors = [
        a.as_str(),
        b.as_str(),
        site.input(A_ZERO),
        site.input(B_ZERO),
    ];
    nodes.push(operator("MatMulInteger", &factors, &sum));
    // The bias has the scale of the product.
    if !site.input(BIAS).is_empty() {
        let biased = names.name(output, "biased");
        nodes.push(operator("Add", &[&sum, site.input(BIAS)], &biased));
        sum = biased;
    }
    let numbers = names.name(output, "numbers");
    nodes.push(cast(&sum, &numbers, DataType::Float as i32));
    let (a_scale, b_scale) = (site.input(A_SCALE), site.input(B_SCALE));
    nodes.push(floats_constant(&factor, Vec::new(), vec![alpha]));
    nodes.push(operator("Mul", &[a_scale, b_scale], &scales));
    nodes.push(operator("Mul", &[&scales, &factor], &scale));
    if site.input(Y_SCALE).is_empty() {
        nodes.push(operator("Mul", &[&numbers, &scale], output));
        return Some(nodes);
    }
    let real = names.name(output, "real");
    nodes.push(operator("Mul", &[&numbers, &scale], &real));
    let mut inputs = vec![real.as_str(), site.input(Y_SCALE)];
    let zero = site.input(Y_ZERO);
    if !zero.is_empty() {
        inputs.push(zero);
    }
    nodes.push(operator("QuantizeLinear", &inputs, output));
    Some(nodes)
}

/// Adds a node whose output is the transposed matrix at an input, and returns the name of the output. A constant
/// stays one.
fn transposed(
    site: &Site<'_>,
    position: usize,
    nodes: &mut Vec<NodeProto>,
    names: &mut NewNames,
) -> String {
    let input = site.input(position);
    let name = names.name(site.output(0), &format!("transposed_{position}"));
    let constant = site.values.tensor(input).and_then(transposed_tensor);
    nodes.push(match constant {
        Some(tensor) => tensor_constant(&name, tensor),
        None => with_integers(operator("Transpose", &[input], &name), "perm", vec![1, 0]),
    });
    name
}

/// Returns a matrix of 8-bit integers with its axes swapped, if it is one and stored in the file itself.
fn transposed_tensor(tensor: &TensorProto) -> Option<TensorProto> {
    let data_type = DataType::try_from(tensor.data_type).ok()?;
    let is_narrow = matches!(data_type, DataType::Int8 | DataType::Uint8);
    let &[rows, columns] = tensor.dims.as_slice() else {
        return None;
    };
    if !is_narrow || is_external(tensor) {
        return None;
    }
    let stored: Vec<u8> = match tensor.raw_data.is_empty() {
        true => {
            let numbers = tensor.int32_data.iter();
            numbers.map(|number| number.to_le_bytes()[0]).collect()
        }
        false => tensor.raw_data.clone(),
    };
    let (height, width) = (usize::try_from(rows).ok()?, usize::try_from(columns).ok()?);
    if stored.len() != height.checked_mul(width)? {
        return None;
    }
    let column = |place: usize| stored.iter().skip(place).step_by(width.max(1)).copied();
    Some(TensorProto {
        dims: vec![columns, rows],
        data_type: tensor.data_type,
        raw_data: (0..width).flat_map(column).collect(),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use crate::onnx::equivalents::rewrite;
    use crate::onnx::node_parts::MICROSOFT;
    use crate::onnx::test_graphs::{float, model, node, number, tensor, value};
    use crate::pb::tensor_proto::DataType;
    use crate::pb::{GraphProto, NodeProto};

    fn rewritten(mut original: NodeProto) -> Vec<NodeProto> {
        original.domain = MICROSOFT.to_owned();
        let mut weights = tensor("w", DataType::Int8, &[1, 2, 3, 4, 5, 6]);
        weights.dims = vec![2, 3];
        let graph = GraphProto {
            input: vec![value("x", DataType::Uint8, &[-1, 3])],
            initializer: vec![weights],
            node: vec![original],
            ..Default::default()
        };
        let mut model = model(13, graph);
        rewrite(&mut model);
        model.graph.unwrap().node
    }

    fn operators(nodes: &[NodeProto]) -> Vec<&str> {
        nodes.iter().map(|node| node.op_type.as_str()).collect()
    }

    #[test]
    fn a_product_is_scaled_and_quantised_as_its_inputs_say() {
        let plain = node("QGemm", &["x", "s", "z", "w", "t", "u"], "y");
        let nodes = rewritten(float(plain, "alpha", 0.5));
        let expected = ["MatMulInteger", "Cast", "Constant", "Mul", "Mul", "Mul"];
        assert_eq!(operators(&nodes), expected);
        assert_eq!(nodes[0].input, ["x", "w", "z", "u"]);
        assert_eq!(nodes[5].output, ["y"]);
        let inputs = ["x", "s", "z", "w", "t", "u", "c", "r", "v"];
        let nodes = rewritten(node("QGemm", &inputs, "y"));
        assert_eq!(nodes[1].op_type, "Add");
        let last = nodes.last().unwrap();
        assert_eq!(last.op_type, "QuantizeLinear");
        assert_eq!(last.input[1..], ["r", "v"]);
        assert_eq!(last.output, ["y"]);
    }

    #[test]
    fn a_constant_is_transposed_in_the_file_and_an_input_by_a_node() {
        let gemm = node("QGemm", &["x", "s", "z", "w", "t", "u"], "y");
        let both = number(number(gemm, "transA", 1), "transB", 1);
        let nodes = rewritten(both);
        assert_eq!(
            operators(&nodes)[..3],
            ["Transpose", "Constant", "MatMulInteger"]
        );
        let weights = nodes[1].attribute[0].t.as_ref().unwrap();
        assert_eq!(weights.dims, [3, 2]);
        assert_eq!(weights.raw_data, [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn an_operator_of_another_domain_stays() {
        let original = node("QGemm", &["x", "s", "z", "w", "t", "u"], "y");
        let graph = GraphProto {
            node: vec![original.clone()],
            ..Default::default()
        };
        let mut model = model(13, graph);
        rewrite(&mut model);
        assert_eq!(model.graph.unwrap().node, [original]);
    }
}
