//! Tests that graphs compute the numbers of onnxruntime 1.31, or of numpy where that is wrong.

use super::onnx_file::value_info;
use super::*;
use tract_onnx::pb::{AttributeProto, GraphProto, attribute_proto::AttributeType};

const NAN: f32 = f32::NAN;

/// Returns a graph of one operator over a vector `x` and stored tensors, with the output `y`.
fn operator(op_type: &str, data_type: DataType, stored: &[TensorProto]) -> OnnxFile {
    let mut inputs = vec!["x"];
    inputs.extend(stored.iter().map(|tensor| tensor.name.as_str()));
    let mut file = OnnxFile::default()
        .input("x", data_type, &[Axis::Named("n")])
        .node(op_type, &inputs, &["y"])
        .output("y");
    file.graph.initializer.extend_from_slice(stored);
    file
}

fn scalar(name: &str, value: f32) -> TensorProto {
    stored(name, DataType::Float, &[], &value.to_le_bytes())
}

fn stored(name: &str, data_type: DataType, dims: &[i64], content: &[u8]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: data_type as i32,
        raw_data: content.to_vec(),
        ..Default::default()
    }
}

fn tensor(element_type: ElementType, dimensions: &[u32], content: Vec<u8>) -> NamedTensor {
    let shape = Shape::new(dimensions.to_vec()).unwrap();
    NamedTensor {
        name: "x".to_owned(),
        tensor: Tensor::new(element_type, shape, Bytes::from(content)).unwrap(),
    }
}

/// Returns the first output of the graph for `inputs`.
fn computed(file: OnnxFile, inputs: &[NamedTensor]) -> Tensor {
    let graph = load_file(file).unwrap();
    graph.compute(inputs).unwrap().remove(0).tensor
}

fn computed_vector(file: OnnxFile, numbers: &[f32]) -> Vec<f32> {
    let length = u32::try_from(numbers.len()).unwrap();
    values(&computed(file, &[fp32("x", &[length], numbers)]))
}

fn assert_close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{found:?}, not {expected:?}");
    for (x, y) in found.iter().zip(expected) {
        let is_close = (x.is_nan() && y.is_nan()) || (x - y).abs() <= 2e-6 * y.abs().max(1.0);
        assert!(is_close, "{found:?}, not {expected:?}");
    }
}

#[test]
fn activations_neither_swallow_nan_nor_overflow() {
    let input = [NAN, -1.5, 2.0, 100.0];
    let cases: [(&str, [f32; 4]); 9] = [
        ("Relu", [NAN, 0.0, 2.0, 100.0]),
        ("Celu", [NAN, -0.776_869_83, 2.0, 100.0]),
        ("Elu", [NAN, -0.776_869_83, 2.0, 100.0]),
        ("HardSigmoid", [NAN, 0.2, 0.9, 1.0]),
        ("Sigmoid", [NAN, 0.182_425_52, 0.880_797_1, 1.0]),
        ("Softplus", [NAN, 0.201_413_26, 2.126_928, 100.0]),
        ("Tanh", [NAN, -0.905_148_27, 0.964_027_6, 1.0]),
        ("LeakyRelu", [NAN, -0.015, 2.0, 100.0]),
        ("Softsign", [NAN, -0.6, 0.666_666_7, 0.990_099]),
    ];
    for (op_type, expected) in cases {
        let file = operator(op_type, DataType::Float, &[]);
        assert_close(&computed_vector(file, &input), &expected);
    }
}

#[test]
fn relu_keeps_negative_zero() {
    let output = computed_vector(operator("Relu", DataType::Float, &[]), &[-0.0, 0.0]);
    assert_eq!(output[0].to_bits(), (-0.0f32).to_bits());
    assert_eq!(output[1].to_bits(), 0f32.to_bits());
}

#[test]
fn bounds_and_products_keep_nan() {
    let input = [NAN, -1.0, 0.5, 9.0];
    let bounds = [scalar("low", 0.0), scalar("high", 6.0)];
    let clipped = computed_vector(operator("Clip", DataType::Float, &bounds), &input);
    assert_close(&clipped, &[NAN, 0.0, 0.5, 6.0]);
    let greatest = operator("Max", DataType::Float, &[scalar("bound", 1.5)]);
    assert_close(&computed_vector(greatest, &input), &[NAN, 1.5, 1.5, 9.0]);
    let least = operator("Min", DataType::Float, &[scalar("bound", 1.5)]);
    assert_close(&computed_vector(least, &input), &[NAN, -1.0, 0.5, 1.5]);
    let product = operator("Mul", DataType::Float, &[scalar("zero", 0.0)]);
    let product = computed_vector(product, &[NAN, f32::INFINITY, 3.0]);
    assert_close(&product, &[NAN, NAN, 0.0]);
}

#[test]
fn a_product_of_matrices_before_relu_keeps_nan() {
    let file = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Size(2), Axis::Size(2)])
        .weights("w", &[2, 2], &[1.0, -1.0, 1.0, -1.0])
        .node("MatMul", &["x", "w"], &["product"])
        .node("Relu", &["product"], &["y"])
        .output("y");
    let output = computed(file, &[fp32("x", &[2, 2], &[NAN, 1.0, 2.0, 3.0])]);
    assert_close(&values(&output), &[NAN, NAN, 5.0, 0.0]);
}

#[test]
fn casts_to_int64_do_not_go_through_32_bits() {
    let cast = |data_type: DataType| {
        operator("Cast", data_type, &[]).attributes(vec![int("to", DataType::Int64 as i64)])
    };
    let int64 = |output: &Tensor| -> Vec<i64> {
        let chunks = output.content().as_chunks::<8>().0.iter();
        chunks.map(|bytes| i64::from_le_bytes(*bytes)).collect()
    };
    let numbers = [3e9f32, -3e9, 1.9, NAN, 1e30];
    let output = computed(cast(DataType::Float), &[fp32("x", &[5], &numbers)]);
    let expected = [3_000_000_000, -3_000_000_000, 1, i64::MIN, i64::MIN];
    assert_eq!(int64(&output), expected);
    let bytes = u32::MAX.to_le_bytes().to_vec();
    let input = tensor(ElementType::Uint32, &[1], bytes);
    let output = computed(cast(DataType::Uint32), &[input]);
    assert_eq!(int64(&output), [4_294_967_295]);
    let bytes = (-(1i64 << 40)).to_le_bytes().to_vec();
    let input = tensor(ElementType::Int64, &[1], bytes);
    let output = computed(cast(DataType::Int64), &[input]);
    assert_eq!(int64(&output), [-(1i64 << 40)]);
}

#[test]
fn reductions_of_int64_do_not_fold_in_32_bits() {
    let numbers = [1i64 << 31, 1 << 31, -6];
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let expected = [
        ("ReduceSum", 4_294_967_290i64),
        ("ReduceMean", 1_431_655_763),
        ("ReduceL1", 4_294_967_302),
        ("ReduceMax", 1 << 31),
        ("ReduceMin", -6),
    ];
    for (op_type, expected) in expected {
        let file = operator(op_type, DataType::Int64, &[]);
        let input = tensor(ElementType::Int64, &[3], content.clone());
        let output = computed(file, &[input]);
        assert_eq!(output.content()[..], expected.to_le_bytes(), "{op_type}");
    }
}

#[test]
fn a_quantized_softmax_is_no_table_of_256_values() {
    let zero = |name: &str, value: u8| stored(name, DataType::Uint8, &[], &[value]);
    let mut file = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Size(1), Axis::Size(4)])
        .node("QuantizeLinear", &["x", "s1", "z1"], &["q"])
        .node("DequantizeLinear", &["q", "s1", "z1"], &["d"])
        .node("Softmax", &["d"], &["p"])
        .node("QuantizeLinear", &["p", "s2", "z2"], &["r"])
        .node("DequantizeLinear", &["r", "s2", "z2"], &["y"])
        .output("y");
    file.graph.initializer = vec![
        scalar("s1", 0.208),
        zero("z1", 114),
        scalar("s2", 0.0039),
        zero("z2", 0),
    ];
    let output = computed(file, &[fp32("x", &[1, 4], &[0.5, -1.0, 2.0, 0.25])]);
    assert_close(&values(&output), &[0.1365, 0.0312, 0.7215, 0.1092]);
}

#[test]
fn softmax_along_another_axis_than_the_last_is_right() {
    let expected: [(&str, [f32; 6]); 2] = [
        (
            "Softmax",
            [
                0.111_165_61,
                0.843_794_7,
                0.821_409,
                0.042_010_07,
                0.067_425_36,
                0.114_195_19,
            ],
        ),
        (
            "LogSoftmax",
            [
                -2.196_734_2,
                -0.169_846_04,
                -0.196_734_15,
                -3.169_846,
                -2.696_734_2,
                -2.169_846,
            ],
        ),
    ];
    for (op_type, expected) in expected {
        let axes = [Axis::Size(1), Axis::Size(3), Axis::Named("n")];
        let file = OnnxFile::default()
            .input("x", DataType::Float, &axes)
            .node(op_type, &["x"], &["y"])
            .attributes(vec![int("axis", 1)])
            .output("y");
        let input = fp32("x", &[1, 3, 2], &[1.0, 2.0, 3.0, -1.0, 0.5, 0.0]);
        assert_close(&values(&computed(file, &[input])), &expected);
    }
}

#[test]
fn a_logarithm_of_softmax_is_finite_for_distant_scores() {
    let file = operator("LogSoftmax", DataType::Float, &[]);
    let output = computed_vector(file, &[1.0, 2.0, -105.0, 3.0]);
    assert_close(
        &output,
        &[-2.407_606, -1.407_606, -108.407_61, -0.407_605_95],
    );
}

#[test]
fn a_gemm_of_half_precision_with_a_bias_is_computed() {
    let halves = |bits: &[u16]| -> Vec<u8> { bits.iter().flat_map(|b| b.to_le_bytes()).collect() };
    let half = DataType::Float16;
    let mut file = OnnxFile::default()
        .input("x", half, &[Axis::Named("n"), Axis::Size(3)])
        .node("Gemm", &["x", "w", "b"], &["g"])
        .node("Relu", &["g"], &["y"]);
    file.graph.output = vec![value_info("y", half, &[])];
    let weights = halves(&[15_360, 49_152, 14_336, 13_312, 17_408, 11_878]);
    file.graph.initializer = vec![
        stored("w", half, &[3, 2], &weights),
        stored("b", half, &[2], &halves(&[11_878, 46_285])),
    ];
    let input = halves(&[15_360, 16_384, 16_896, 48_128, 14_336, 12_288]);
    let output = computed(file, &[tensor(ElementType::Fp16, &[2, 3], input)]);
    assert_eq!(output.element_type(), ElementType::Fp16);
    assert_eq!(output.content()[..], halves(&[19_213, 0, 0, 16_218])[..]);
}

#[test]
fn branches_use_the_weights_of_the_graph_around_them() {
    let branch = |name: &str, op_type: &str| {
        let file = OnnxFile::default()
            .node("MatMul", &["x", "w"], &[&format!("{name}_product")])
            .node(op_type, &[&format!("{name}_product")], &[name])
            .output(name);
        let mut graph: GraphProto = file.graph;
        name.clone_into(&mut graph.name);
        graph
    };
    let attribute = |name: &str, graph: GraphProto| AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Graph as i32,
        g: Some(graph),
        ..Default::default()
    };
    let mut file = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Size(1), Axis::Size(2)])
        .input("c", DataType::Bool, &[])
        .weights("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0])
        .node("If", &["c"], &["y"])
        .attributes(vec![
            attribute("then_branch", branch("then", "Relu")),
            attribute("else_branch", branch("else", "Neg")),
        ])
        .output("y");
    for attribute in &mut file.graph.node[0].attribute {
        for output in attribute.g.iter_mut().flat_map(|graph| &mut graph.output) {
            *output = value_info(
                &output.name,
                DataType::Float,
                &[Axis::Size(1), Axis::Size(2)],
            );
        }
    }
    let graph = load_file(file).unwrap();
    for (condition, expected) in [(1u8, [4.0, 6.0]), (0, [-4.0, -6.0])] {
        let mut choice = tensor(ElementType::Bool, &[], vec![condition]);
        choice.name = "c".to_owned();
        let inputs = [fp32("x", &[1, 2], &[1.0, 1.0]), choice];
        for _ in 0..2 {
            let outputs = graph.compute(&inputs).unwrap();
            assert_eq!(values(&outputs[0].tensor), expected);
        }
    }
}

#[test]
fn operands_of_which_one_is_empty_do_not_fit_others() -> anyhow::Result<()> {
    let file = OnnxFile::default()
        .input("x", DataType::Float16, &[Axis::Named("a")])
        .input("y", DataType::Float16, &[Axis::Named("b")])
        .node("Pow", &["x", "y"], &["z"])
        .output("z");
    let mut model = file.model();
    if let Some(graph) = &mut model.graph {
        graph.output = vec![value_info("z", DataType::Float16, &[Axis::Named("c")])];
    }
    let graph = load_bytes(&prost::Message::encode_to_vec(&model))?;
    let input = |name: &str, size: u32| {
        let shape = Shape::new(vec![size])?;
        let content = Bytes::from(vec![0; 2 * size as usize]);
        anyhow::Ok(NamedTensor {
            name: name.to_owned(),
            tensor: Tensor::new(ElementType::Fp16, shape, content)?,
        })
    };
    for (x, y) in [(0, 2), (2, 0)] {
        let refused = graph.compute(&[input("x", x)?, input("y", y)?]);
        assert!(
            matches!(refused, Err(BackendError::Inputs { .. })),
            "{refused:?}"
        );
    }
    graph.compute(&[input("x", 0)?, input("y", 1)?])?;
    Ok(())
}
