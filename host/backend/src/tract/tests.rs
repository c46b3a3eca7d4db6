//! Tests with generated models, which are loaded and computed.

mod ml;
mod nnef;
mod numerics;
pub(super) mod onnx_file;
mod refusals;
mod sizes;
mod texts;

use self::onnx_file::{Axis, OnnxFile, int, ints, perceptron, perceptron_row};
use super::*;
use bytes::Bytes;
use std::sync::Barrier;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;
use wisp_tensor::signature::DimensionList;
use wisp_tensor::{ElementType, Shape};

/// Returns the bytes of an ONNX file.
fn encode(file: OnnxFile) -> Vec<u8> {
    prost::Message::encode_to_vec(&file.model())
}

fn load_file(file: OnnxFile) -> Result<Arc<dyn Graph>, BackendError> {
    load_bytes(&encode(file))
}

fn load_bytes(content: &[u8]) -> Result<Arc<dyn Graph>, BackendError> {
    Tract::new().load(ModelSource::onnx(content), &LoadOptions::default())
}

fn fp32(name: &str, dimensions: &[u32], values: &[f32]) -> NamedTensor {
    let content: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shape = Shape::new(dimensions.to_vec()).unwrap();
    NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::new(ElementType::Fp32, shape, Bytes::from(content)).unwrap(),
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let chunks = tensor.content().as_chunks::<4>().0.iter();
    chunks.map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn shapes(specs: &[wisp_tensor::TensorSpec]) -> Vec<String> {
    specs
        .iter()
        .map(|spec| {
            format!(
                "{} {} {}",
                spec.name,
                spec.element_type,
                DimensionList(&spec.shape)
            )
        })
        .collect()
}

const SIZES: [i64; 4] = [13, 64, 32, 3];

/// Returns rows of small integers that differ from each other.
fn rows(count: usize) -> Vec<f32> {
    (0..count * 13)
        .map(|i| ((i * 31) % 11) as f32 - 5.0)
        .collect()
}

fn expected(rows: &[f32]) -> Vec<f32> {
    rows.chunks(13)
        .flat_map(|row| perceptron_row(&SIZES, row))
        .collect()
}

#[test]
fn a_graph_keeps_as_many_plans_as_it_tells() {
    let graph = load_file(perceptron(Axis::Named("n"), &SIZES)).unwrap();
    let capacity = graph.preparation_capacity().unwrap().get();
    assert_eq!(capacity, MAX_PLANS);
    let batch = |count: usize| {
        let size = u32::try_from(count).unwrap();
        [fp32("x", &[size, 13], &rows(count))]
    };
    for count in 1..=capacity {
        graph.compute(&batch(count)).unwrap();
    }
    for count in 1..=capacity {
        assert!(graph.compute_prepared(&batch(count)).is_some(), "{count}");
    }
    graph.compute(&batch(capacity + 1)).unwrap();
    assert!(graph.compute_prepared(&batch(1)).is_none());
}

#[test]
fn a_graph_has_the_signature_of_its_file() {
    for batch in [Axis::Unnamed, Axis::Named("batch")] {
        let graph = load_file(perceptron(batch, &SIZES)).unwrap();
        assert_eq!(shapes(&graph.signature().inputs), ["x FP32 [-1, 13]"]);
        assert_eq!(shapes(&graph.signature().outputs), ["y FP32 [-1, 3]"]);
    }
    let graph = load_file(perceptron(Axis::Size(2), &SIZES)).unwrap();
    assert_eq!(shapes(&graph.signature().inputs), ["x FP32 [2, 13]"]);
    assert_eq!(shapes(&graph.signature().outputs), ["y FP32 [2, 3]"]);
}

#[test]
fn a_batch_computes_the_same_as_its_single_rows() {
    let graph = load_file(perceptron(Axis::Unnamed, &SIZES)).unwrap();
    for count in [1, 2, 3, 4, 5, 6, 7, 8, 9, 3, 1] {
        let rows = rows(count);
        let batch = u32::try_from(count).unwrap();
        let outputs = graph.compute(&[fp32("x", &[batch, 13], &rows)]).unwrap();
        assert_eq!(outputs.len(), 1);
        assert_eq!(outputs[0].name, "y");
        assert_eq!(outputs[0].tensor.shape().dimensions(), [batch, 3]);
        assert_eq!(
            values(&outputs[0].tensor),
            expected(&rows),
            "batch of {count}"
        );
    }
}

#[test]
fn an_empty_batch_has_empty_outputs_or_is_refused() {
    let graph = load_file(perceptron(Axis::Unnamed, &SIZES)).unwrap();
    if let Ok(outputs) = graph.compute(&[fp32("x", &[0, 13], &[])]) {
        assert_eq!(outputs[0].tensor.shape().dimensions(), [0, 3]);
    }
}

#[test]
fn threads_that_share_a_graph_agree() {
    let graph = load_file(perceptron(Axis::Named("n"), &SIZES)).unwrap();
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (graph, start) = (&graph, &start);
            scope.spawn(move || {
                start.wait();
                for round in 0..50 {
                    let count = 1 + (thread + round) % 7;
                    let rows = rows(count);
                    let batch = u32::try_from(count).unwrap();
                    let outputs = graph.compute(&[fp32("x", &[batch, 13], &rows)]).unwrap();
                    assert_eq!(values(&outputs[0].tensor), expected(&rows));
                }
            });
        }
    });
}

/// Returns a graph with `y` as the columns of `a` and `b`, whose batches have no name.
fn columns() -> OnnxFile {
    OnnxFile::default()
        .input("a", DataType::Float, &[Axis::Unnamed, Axis::Size(1)])
        .input("b", DataType::Float, &[Axis::Unnamed, Axis::Size(2)])
        .node("Concat", &["a", "b"], &["y"])
        .attributes(vec![int("axis", 1)])
        .output("y")
}

#[test]
fn inputs_come_in_any_order() {
    let graph = load_file(columns()).unwrap();
    let a = fp32("a", &[2, 1], &[1.0, 2.0]);
    let b = fp32("b", &[2, 2], &[3.0, 4.0, 5.0, 6.0]);
    for inputs in [[a.clone(), b.clone()], [b, a]] {
        let outputs = graph.compute(&inputs).unwrap();
        assert_eq!(values(&outputs[0].tensor), [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
    }
}

#[test]
fn inconsistent_sizes_are_input_errors_that_name_the_input() {
    let reason = |graph: &dyn Graph| {
        let a = fp32("a", &[2, 1], &[1.0, 2.0]);
        let b = fp32("b", &[1, 2], &[3.0, 4.0]);
        match graph.compute(&[a, b]) {
            Err(BackendError::Inputs { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    };
    let reason_unnamed = reason(&*load_file(columns()).unwrap());
    assert!(reason_unnamed.contains("batch"), "{reason_unnamed}");
    let mut file = columns();
    file.graph.input.clear();
    let named = file
        .input("a", DataType::Float, &[Axis::Named("rows"), Axis::Size(1)])
        .input("b", DataType::Float, &[Axis::Named("rows"), Axis::Size(2)]);
    assert_eq!(
        reason(&*load_file(named).unwrap()),
        "axis 0 of `b` is 1, but `rows` is 2 in this request"
    );
}

#[test]
fn inputs_that_break_the_signature_are_refused_by_name() {
    let graph = load_file(columns()).unwrap();
    let a = fp32("a", &[1, 1], &[1.0]);
    let cases = [
        (vec![a.clone()], "`b` is missing"),
        (
            vec![a.clone(), fp32("b", &[1, 3], &[0.0; 3])],
            "`b` has shape [1, 3], expected [-1, 2]",
        ),
        (
            vec![a.clone(), fp32("b", &[2], &[0.0; 2])],
            "`b` has shape [2], expected [-1, 2]",
        ),
    ];
    for (inputs, expected) in cases {
        match graph.compute(&inputs) {
            Err(BackendError::Inputs { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn unnamed_batches_that_need_not_agree_may_differ() {
    // Multiplies every query with every candidate.
    let graph = load_file(
        OnnxFile::default()
            .input("query", DataType::Float, &[Axis::Unnamed, Axis::Size(2)])
            .input(
                "candidate",
                DataType::Float,
                &[Axis::Unnamed, Axis::Size(2)],
            )
            .node("Gemm", &["query", "candidate"], &["score"])
            .attributes(vec![int("transB", 1)])
            .output("score"),
    )
    .unwrap();
    let query = fp32("query", &[1, 2], &[1.0, 2.0]);
    let candidate = fp32("candidate", &[3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    let outputs = graph.compute(&[query, candidate]).unwrap();
    assert_eq!(values(&outputs[0].tensor), [1.0, 2.0, 3.0]);
}

#[test]
fn a_sequence_of_any_length_is_averaged() {
    let graph = load_file(
        OnnxFile::default()
            .input(
                "x",
                DataType::Float,
                &[Axis::Named("batch"), Axis::Named("sequence"), Axis::Size(2)],
            )
            .node("ReduceMean", &["x"], &["mean"])
            .attributes(vec![ints("axes", &[1]), int("keepdims", 0)])
            .output("mean"),
    )
    .unwrap();
    assert_eq!(shapes(&graph.signature().inputs), ["x FP32 [-1, -1, 2]"]);
    assert_eq!(shapes(&graph.signature().outputs), ["mean FP32 [-1, 2]"]);
    for length in 1..6u32 {
        let content: Vec<f32> = (0..length * 2).map(|i| i as f32).collect();
        let outputs = graph
            .compute(&[fp32("x", &[1, length, 2], &content)])
            .unwrap();
        let last = (length - 1) as f32;
        assert_eq!(values(&outputs[0].tensor), [last, last + 1.0]);
    }
}

/// Returns a graph with `y` as the sixth item of `x`, which must therefore have at least six.
fn sixth() -> OnnxFile {
    let mut file = OnnxFile::default()
        .input(
            "x",
            DataType::Float,
            &[Axis::Named("batch"), Axis::Named("length")],
        )
        .node("Gather", &["x", "sixth"], &["y"])
        .attributes(vec![int("axis", 1)])
        .output("y");
    file.graph.initializer.push(TensorProto {
        name: "sixth".to_owned(),
        dims: vec![1],
        data_type: DataType::Int64 as i32,
        int64_data: vec![5],
        ..Default::default()
    });
    file
}

#[test]
fn a_graph_that_cannot_take_size_1_is_served_and_sampled_with_a_size_it_takes() {
    let graph = load_file(sixth()).unwrap();
    let sample = graph.sample_inputs().unwrap();
    assert_eq!(sample[0].tensor.shape().dimensions(), [1, 32]);
    graph.compute(&sample).unwrap();
    let content: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let outputs = graph.compute(&[fp32("x", &[1, 8], &content)]).unwrap();
    assert_eq!(values(&outputs[0].tensor), [5.0]);
    // An unsupported size is an error each time and does not end the process.
    for _ in 0..2 {
        let short = fp32("x", &[1, 3], &[1.0, 2.0, 3.0]);
        assert!(graph.compute(&[short]).is_err());
    }
}

#[test]
fn integers_and_booleans_pass_through() {
    let graph = load_file(
        OnnxFile::default()
            .input("i", DataType::Int64, &[Axis::Unnamed])
            .input("b", DataType::Bool, &[Axis::Unnamed])
            .node("Neg", &["i"], &["negative"])
            .node("Not", &["b"], &["not"])
            .node("Shape", &["i"], &["shape"])
            .output("negative")
            .output("not")
            .output("shape"),
    )
    .unwrap();
    assert_eq!(
        shapes(&graph.signature().outputs),
        ["negative INT64 [-1]", "not BOOL [-1]", "shape INT64 [1]"]
    );
    let tensor = |name: &str, element_type, count, content: Vec<u8>| NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::new(
            element_type,
            Shape::new(vec![count]).unwrap(),
            content.into(),
        )
        .unwrap(),
    };
    let int64 = |values: &[i64]| {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let outputs = graph
        .compute(&[
            tensor("i", ElementType::Int64, 2, int64(&[1, -5])),
            tensor("b", ElementType::Bool, 3, vec![0, 1, 1]),
        ])
        .unwrap();
    assert_eq!(outputs[0].tensor.content(), &int64(&[-1, 5]));
    assert_eq!(outputs[1].tensor.content(), &[1u8, 0, 0][..]);
    assert_eq!(outputs[2].tensor.content(), &int64(&[2]));
}

#[test]
fn an_initialized_input_may_be_given_or_left_out() {
    let file = OnnxFile::default()
        .input("x", DataType::Float, &[Axis::Unnamed, Axis::Size(2)])
        .input("scale", DataType::Float, &[Axis::Size(2)])
        .weights("scale", &[2], &[10.0, 100.0])
        .node("Mul", &["x", "scale"], &["y"])
        .output("y");
    let mut model = file.model();
    let graph = load_bytes(&prost::Message::encode_to_vec(&model)).unwrap();
    let inputs = &graph.signature().inputs;
    assert_eq!(shapes(inputs), ["x FP32 [-1, 2]", "scale FP32 [2]"]);
    assert_eq!([inputs[0].optional, inputs[1].optional], [false, true]);
    assert!(graph.signature().has_batch_axis());
    let x = fp32("x", &[1, 2], &[1.0, 2.0]);
    let outputs = graph.compute(std::slice::from_ref(&x)).unwrap();
    assert_eq!(values(&outputs[0].tensor), [10.0, 200.0]);
    let scale = fp32("scale", &[2], &[0.5, 0.25]);
    let outputs = graph.compute(&[scale, x]).unwrap();
    assert_eq!(values(&outputs[0].tensor), [0.5, 0.5]);
    assert_eq!(graph.sample_inputs().unwrap().len(), 1);
    // Before version 4 of the format, such an input was a weight.
    model.ir_version = 3;
    let graph = load_bytes(&prost::Message::encode_to_vec(&model)).unwrap();
    assert_eq!(shapes(&graph.signature().inputs), ["x FP32 [-1, 2]"]);
}

#[test]
fn a_wrong_declaration_of_an_output_is_reported_and_not_believed() {
    // The file declares `y` as a scalar.
    let graph = load_file(perceptron(Axis::Named("batch"), &[2, 2])).unwrap();
    assert_eq!(shapes(&graph.signature().outputs), ["y FP32 [-1, 2]"]);
    assert_eq!(
        graph.wrong_declarations(),
        ["the file declares output `y` as [], but its shape is [-1, 2]"]
    );
}

#[test]
fn a_recurrent_graph_remembers_nothing_between_computations() {
    // A running sum along the sequence, which tract keeps in the state of a run.
    let body_sum = OnnxFile::default()
        .input("sum_in", DataType::Float, &[Axis::Size(1)])
        .input("item", DataType::Float, &[Axis::Size(1)])
        .node("Add", &["sum_in", "item"], &["sum_out"])
        .node("Identity", &["sum_out"], &["scanned"])
        .output("sum_out")
        .output("scanned");
    let mut body = int("body", 0);
    body.r#type = tract_onnx::pb::attribute_proto::AttributeType::Graph as i32;
    body.g = Some(body_sum.graph);
    let graph = load_file(
        OnnxFile::default()
            .input(
                "x",
                DataType::Float,
                &[Axis::Named("length"), Axis::Size(1)],
            )
            .weights("zero", &[1], &[0.0])
            .node("Scan", &["zero", "x"], &["total", "sums"])
            .attributes(vec![body, int("num_scan_inputs", 1)])
            .output("total")
            .output("sums"),
    )
    .unwrap();
    for _ in 0..3 {
        let outputs = graph
            .compute(&[fp32("x", &[3, 1], &[1.0, 2.0, 3.0])])
            .unwrap();
        assert_eq!(values(&outputs[0].tensor), [6.0]);
        assert_eq!(values(&outputs[1].tensor), [1.0, 3.0, 6.0]);
    }
}

#[test]
fn a_request_whose_sizes_multiply_beyond_memory_is_refused() {
    let graph = load_file(
        OnnxFile::default()
            .input("a", DataType::Float, &[Axis::Named("a"), Axis::Size(1)])
            .input("b", DataType::Float, &[Axis::Size(1), Axis::Named("b")])
            .node("MatMul", &["a", "b"], &["y"])
            .output("y"),
    )
    .unwrap();
    let long = vec![0.0; 100_000];
    let result = graph.compute(&[
        fp32("a", &[100_000, 1], &long),
        fp32("b", &[1, 100_000], &long),
    ]);
    assert!(
        matches!(result, Err(BackendError::Inputs { .. })),
        "{result:?}"
    );
}

#[test]
fn a_string_that_is_repeated_beyond_memory_is_refused() {
    let file = OnnxFile::default()
        .input("x", DataType::String, &[Axis::Size(1)])
        .input("i", DataType::Int64, &[Axis::Named("n")])
        .node("Gather", &["x", "i"], &["y"])
        .output("y");
    let memory = Arc::new(MemoryBudget::new(256 << 20));
    let backend = Tract::with_memory(Arc::clone(&memory));
    let content = encode(file);
    let graph = backend.load(ModelSource::onnx(&content), &LoadOptions::default());
    let graph = graph.unwrap();
    let compute = |length: usize, count: u32| {
        let text = vec![b'a'; length];
        let x = Tensor::from_elements([text.as_slice()].into_iter()).unwrap();
        let shape = Shape::new(vec![count]).unwrap();
        let zeros = Bytes::from(vec![0; 8 * count as usize]);
        let i = Tensor::new(ElementType::Int64, shape, zeros).unwrap();
        let named = |name: &str, tensor| NamedTensor {
            name: name.to_owned(),
            tensor,
        };
        graph.compute(&[named("x", x), named("i", i)])
    };
    let outputs = compute(5, 3).unwrap();
    assert_eq!(outputs[0].tensor.shape().dimensions(), [3]);
    let refused = compute(1 << 20, 20_000);
    assert!(
        matches!(refused, Err(BackendError::Inputs { .. })),
        "{refused:?}"
    );
    assert_eq!(memory.reserved(), 0);
}
