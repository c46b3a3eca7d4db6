//! Tests of models that tract cannot type with symbols, and of shapes that are set.

use super::onnx_file::{Axis, OnnxFile, int, ints, perceptron, value_info};
use super::refusals::refusal;
use super::{encode, fp32, load_file, shapes, values};
use crate::tract::Tract;
use crate::{Backend, BackendError, Graph, LoadOptions, ModelSource};
use std::collections::BTreeMap;
use std::sync::Arc;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use wisp_tensor::Dimension;

fn integers(name: &str, data_type: DataType, values: &[i32]) -> TensorProto {
    let mut tensor = TensorProto {
        name: name.to_owned(),
        dims: vec![i64::try_from(values.len()).unwrap()],
        data_type: data_type as i32,
        ..Default::default()
    };
    match data_type {
        DataType::Int64 => tensor.int64_data = values.iter().copied().map(i64::from).collect(),
        _ => tensor.int32_data = values.to_vec(),
    }
    tensor
}

/// Returns a graph that flattens its input as tf2onnx exports it, with a shape that passes through INT32.
fn flatten() -> OnnxFile {
    let axes = [Axis::Named("n"), Axis::Size(2), Axis::Size(3)];
    let mut file = OnnxFile::default()
        .input("x", DataType::Float, &axes)
        .node("Shape", &["x"], &["shape"])
        .node("Cast", &["shape"], &["shape32"])
        .attributes(vec![int("to", DataType::Int32 as i64)])
        .node("Slice", &["shape32", "zero", "one", "zero"], &["batch"])
        .node("Concat", &["batch", "rest"], &["target32"])
        .attributes(vec![int("axis", 0)])
        .node("Cast", &["target32"], &["target"])
        .attributes(vec![int("to", DataType::Int64 as i64)])
        .node("Reshape", &["x", "target"], &["y"])
        .output("y");
    file.graph.output[0].r#type = None;
    file.graph.initializer = vec![
        integers("zero", DataType::Int64, &[0]),
        integers("one", DataType::Int64, &[1]),
        integers("rest", DataType::Int32, &[6]),
    ];
    file
}

/// Returns a graph that adds to its input what was halved twice and doubled again, which fits for some sizes only.
fn neck() -> OnnxFile {
    let axes = [
        Axis::Size(1),
        Axis::Size(1),
        Axis::Named("h"),
        Axis::Named("w"),
    ];
    let mut file = OnnxFile::default()
        .input("x", DataType::Float, &axes)
        .node("MaxPool", &["x"], &["half"])
        .node("Resize", &["half", "", "scales"], &["doubled"])
        .weights("scales", &[4], &[1.0, 1.0, 2.0, 2.0])
        .node("Add", &["x", "doubled"], &["y"])
        .output("y");
    file.graph.node[0].attribute = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    file
}

#[test]
fn a_shape_that_passes_through_int32_is_typed_with_the_sizes_of_each_request() {
    let graph = load_file(flatten()).unwrap();
    assert_eq!(shapes(&graph.signature().inputs), ["x FP32 [-1, 2, 3]"]);
    assert_eq!(graph.signature().outputs[0].shape.len(), 2);
    for rows in [1, 3, 2, 3] {
        let content: Vec<f32> = (0..rows * 6).map(|n| n as f32).collect();
        let outputs = graph
            .compute(&[fp32("x", &[rows, 2, 3], &content)])
            .unwrap();
        assert_eq!(outputs[0].tensor.shape().dimensions(), [rows, 6]);
        assert_eq!(values(&outputs[0].tensor), content);
    }
}

#[test]
fn sizes_that_do_not_fit_are_the_requests_error() {
    let graph = load_file(neck()).unwrap();
    assert_eq!(shapes(&graph.signature().inputs), ["x FP32 [1, 1, -1, -1]"]);
    let compute = |size: u32| {
        let content = vec![1.0; (size * size) as usize];
        graph.compute(&[fp32("x", &[1, 1, size, size], &content)])
    };
    for size in [2, 4, 10] {
        let outputs = compute(size).unwrap();
        assert_eq!(outputs[0].tensor.shape().dimensions(), [1, 1, size, size]);
    }
    for _ in 0..2 {
        let refused = compute(5);
        assert!(
            matches!(refused, Err(BackendError::Inputs { .. })),
            "{refused:?}"
        );
    }
    compute(4).unwrap();
}

#[test]
fn requests_that_multiply_beyond_memory_are_refused_when_typed_with_their_sizes() {
    let mut file = flatten()
        .node("Transpose", &["y"], &["row"])
        .node("MatMul", &["y", "row"], &["product"])
        .output("product");
    let axes = [Axis::Named("n"), Axis::Size(1), Axis::Size(1)];
    file.graph.input = vec![value_info("x", DataType::Float, &axes)];
    file.graph.initializer[2] = integers("rest", DataType::Int32, &[1]);
    file.graph.output.remove(0);
    let graph = load_file(file).unwrap();
    let refused = graph.compute(&[fp32("x", &[100_000, 1, 1], &vec![0.0; 100_000])]);
    assert!(
        matches!(refused, Err(BackendError::Inputs { .. })),
        "{refused:?}"
    );
}

/// Returns a graph that removes the last axis of its input if it has the size 1, as torch exports `squeeze`.
fn squeeze() -> OnnxFile {
    let branch = |name: &str, op_type: &str, inputs: &[&str]| {
        let output = format!("{name}_output");
        let mut branch = OnnxFile::default()
            .node(op_type, inputs, &[&output])
            .output(&output);
        branch.graph.output[0].r#type = None;
        let mut attribute = int(name, 0);
        attribute.r#type = AttributeType::Graph as i32;
        attribute.g = Some(branch.graph);
        attribute
    };
    let axes = [Axis::Named("n"), Axis::Size(2), Axis::Named("last")];
    let mut file = OnnxFile::default()
        .input("x", DataType::Float, &axes)
        .node("Shape", &["x"], &["shape"])
        .node("Gather", &["shape", "last"], &["size"])
        .node("Equal", &["size", "one"], &["is_one"])
        .node("If", &["is_one"], &["y"])
        .attributes(vec![
            branch("then_branch", "Squeeze", &["x", "last"]),
            branch("else_branch", "Identity", &["x"]),
        ])
        .node("Neg", &["y"], &["z"])
        .output("z");
    file.graph.initializer = vec![
        integers("last", DataType::Int64, &[-1]),
        integers("one", DataType::Int64, &[1]),
    ];
    file
}

#[test]
fn a_branch_is_chosen_by_the_sizes_of_the_request() {
    let graph = load_file(squeeze()).unwrap();
    for (sizes, expected) in [
        ([1, 2, 1], [1, 2].as_slice()),
        ([2, 2, 1], &[2, 2]),
        ([1, 2, 3], &[1, 2, 3]),
    ] {
        let count = usize::try_from(sizes.iter().product::<u32>()).unwrap();
        let outputs = graph
            .compute(&[fp32("x", &sizes, &vec![1.5; count])])
            .unwrap();
        assert_eq!(outputs[0].tensor.shape().dimensions(), expected);
        assert_eq!(values(&outputs[0].tensor), vec![-1.5; count]);
    }
    let graph = load_with(squeeze(), &[("x", &[1, 2, 1])]).unwrap();
    assert_eq!(shapes(&graph.signature().outputs), ["z FP32 [1, 2]"]);
}

fn load_with(file: OnnxFile, shapes: &[(&str, &[i64])]) -> Result<Arc<dyn Graph>, BackendError> {
    let shapes = shapes.iter().map(|(name, sizes)| {
        let sizes = sizes.iter().filter_map(|&size| Dimension::from_wire(size));
        ((*name).to_owned(), sizes.collect())
    });
    let options = LoadOptions {
        shapes: shapes.collect::<BTreeMap<_, _>>(),
        ..LoadOptions::default()
    };
    Tract::new().load(ModelSource::onnx(&encode(file)), &options)
}

#[test]
fn a_shape_that_is_set_becomes_that_of_the_signature() {
    let graph = load_with(neck(), &[("x", &[1, 1, 4, -1])]).unwrap();
    assert_eq!(shapes(&graph.signature().inputs), ["x FP32 [1, 1, 4, -1]"]);
    let graph = load_with(neck(), &[("x", &[1, 1, 4, 6])]).unwrap();
    assert_eq!(shapes(&graph.signature().inputs), ["x FP32 [1, 1, 4, 6]"]);
    assert_eq!(shapes(&graph.signature().outputs), ["y FP32 [1, 1, 4, 6]"]);
    let graph = load_with(perceptron(Axis::Unnamed, &[2, 2]), &[("x", &[3, 2])]).unwrap();
    assert_eq!(shapes(&graph.signature().outputs), ["y FP32 [3, 2]"]);
}

#[test]
fn a_shape_that_contradicts_the_file_is_refused_by_name() {
    let file = || perceptron(Axis::Unnamed, &[2, 2]);
    let reason = refusal(load_with(file(), &[("x", &[1, 3])]));
    assert_eq!(
        reason,
        "axis 1 of input `x` has 2 elements, but [1, 3] is set for it"
    );
    let reason = refusal(load_with(file(), &[("z", &[1])]));
    assert!(reason.contains("its inputs are: x"), "{reason}");
}
