//! Tests of the split, with models that are loaded and computed.

use super::*;
use crate::onnx::test_graphs::{model, node, tensor, value};
use crate::rten::{OperatorSet, Rten};
use crate::{Backend, BackendError, LoadOptions, ModelSource};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// The number of rows and columns of the weights.
const ROWS: i64 = 256;
const COLUMNS: i64 = 128;

fn weights(data_type: DataType) -> TensorProto {
    let numbers: Vec<i64> = (0..ROWS * COLUMNS).map(|number| number % 7 - 3).collect();
    TensorProto {
        dims: vec![ROWS, COLUMNS],
        ..tensor("w", data_type, &numbers)
    }
}

/// Returns the graph y = Relu(x w), whose output is declared without a shape.
fn product(w: TensorProto) -> GraphProto {
    GraphProto {
        node: vec![node("MatMul", &["x", "w"], "p"), node("Relu", &["p"], "y")],
        initializer: vec![w],
        input: vec![value("x", DataType::Float, &[-1, ROWS])],
        output: vec![value("y", DataType::Float, &[])],
        ..Default::default()
    }
}

fn split(graph: GraphProto) -> SplitModel {
    let content = model(17, graph).encode_to_vec();
    let source = ModelSource::onnx(&content);
    crate::rten::split(source, &LoadOptions::default()).unwrap()
}

fn decode(split: &SplitModel) -> GraphProto {
    let model = ModelProto::decode(&*split.graph).unwrap();
    model.graph.unwrap()
}

fn load(split: SplitModel) -> Result<Arc<dyn Graph>, BackendError> {
    let (graph, weights) = (split.graph.leak(), split.weights.leak());
    Rten::new().load_split(graph, weights, OperatorSet::all())
}

fn input(element_type: ElementType, dimensions: &[u32], content: Vec<u8>) -> [NamedTensor; 1] {
    let shape = Shape::new(dimensions.to_vec()).unwrap();
    let tensor = Tensor::new(element_type, shape, Bytes::from(content)).unwrap();
    [NamedTensor {
        name: "x".to_owned(),
        tensor,
    }]
}

fn ramp(rows: u32) -> [NamedTensor; 1] {
    let columns = u32::try_from(ROWS).unwrap();
    let numbers = (0..rows * columns).map(|number| (number % 11) as f32);
    let content = numbers.flat_map(f32::to_le_bytes).collect();
    input(ElementType::Fp32, &[rows, columns], content)
}

#[test]
fn a_split_model_has_the_signature_and_the_results_of_the_whole_one() {
    let graph = product(weights(DataType::Float));
    let content = model(17, graph.clone()).encode_to_vec();
    let whole = Rten::new().load(ModelSource::onnx(&content), &LoadOptions::default());
    let whole = whole.unwrap();
    let split = split(graph);
    assert_eq!(split.weights.len(), 4 * 256 * 128);
    let loaded = load(split).unwrap();
    assert_eq!(loaded.signature(), whole.signature());
    for rows in [1, 3] {
        let outputs = loaded.compute(&ramp(rows)).unwrap();
        let expected = whole.compute(&ramp(rows)).unwrap();
        let difference = outputs[0].tensor.shape() == expected[0].tensor.shape();
        assert!(difference, "{:?}", outputs[0].tensor.shape());
        let numbers = |tensor: &Tensor| -> Vec<f32> {
            let (chunks, _) = tensor.content().as_chunks();
            chunks
                .iter()
                .map(|chunk| f32::from_le_bytes(*chunk))
                .collect()
        };
        assert_eq!(numbers(&outputs[0].tensor), numbers(&expected[0].tensor));
    }
}

#[test]
fn large_tensors_are_aligned_and_others_stay() {
    let mut graph = product(weights(DataType::Float));
    graph.initializer.insert(
        0,
        TensorProto {
            name: "v".to_owned(),
            dims: vec![17_000],
            data_type: DataType::Float as i32,
            float_data: vec![1.5; 17_000],
            ..Default::default()
        },
    );
    graph
        .initializer
        .push(tensor("small", DataType::Float, &[1, 2]));
    let wide: Vec<i64> = (0..20_000).collect();
    graph
        .initializer
        .push(tensor("wide", DataType::Int64, &wide));
    let split = split(graph);
    assert_eq!(split.weights.len(), 68_032 + 131_072);
    assert_eq!(split.weights[..4], 1.5_f32.to_le_bytes());
    let graph = decode(&split);
    let offsets: Vec<(&str, Option<&str>)> = graph
        .initializer
        .iter()
        .map(|tensor| {
            let offset = tensor
                .external_data
                .iter()
                .find(|entry| entry.key == "offset");
            (
                tensor.name.as_str(),
                offset.map(|entry| entry.value.as_str()),
            )
        })
        .collect();
    let expected = [
        ("v", Some("0")),
        ("w", Some("68032")),
        ("small", None),
        ("wide", None),
    ];
    assert_eq!(offsets, expected);
    assert_eq!(graph.initializer[3].raw_data.len(), 160_000);
}

#[test]
fn a_small_model_has_no_weights_and_is_loaded() {
    let graph = GraphProto {
        node: vec![node("Mul", &["x", "two"], "y")],
        initializer: vec![tensor("two", DataType::Float, &[2])],
        input: vec![value("x", DataType::Float, &[-1, ROWS])],
        output: vec![value("y", DataType::Float, &[-1, ROWS])],
        ..Default::default()
    };
    let split = split(graph);
    assert!(split.weights.is_empty());
    load(split).unwrap().compute(&ramp(2)).unwrap();
}

#[test]
fn weights_of_half_precision_are_stored_as_rten_computes_with_them() {
    let halves = (0..ROWS * COLUMNS).flat_map(|_| f16::from_f32(0.5).to_le_bytes());
    let w = TensorProto {
        name: "w".to_owned(),
        dims: vec![ROWS, COLUMNS],
        data_type: DataType::Float16 as i32,
        raw_data: halves.collect(),
        ..Default::default()
    };
    let mut graph = product(w);
    graph.input = vec![value("x", DataType::Float16, &[-1, ROWS])];
    graph.output = vec![value("y", DataType::Float16, &[-1, COLUMNS])];
    let split = split(graph);
    assert_eq!(split.weights.len(), 4 * 256 * 128);
    assert_eq!(split.weights[..4], 0.5_f32.to_le_bytes());
    let ones = f16::ONE.to_le_bytes().repeat(256);
    let inputs = input(ElementType::Fp16, &[1, 256], ones);
    let outputs = load(split).unwrap().compute(&inputs).unwrap();
    assert_eq!(
        outputs[0].tensor.content()[..2],
        f16::from_f32(128.0).to_le_bytes()
    );
}

#[test]
fn integers_and_nan_have_the_limits_of_the_whole_model() {
    let graph = GraphProto {
        node: vec![node("Mul", &["x", "two"], "y")],
        initializer: vec![tensor("two", DataType::Int64, &[2])],
        input: vec![value("x", DataType::Int64, &[-1, 1])],
        output: vec![value("y", DataType::Int64, &[-1, 1])],
        ..Default::default()
    };
    let loaded = load(split(graph)).unwrap();
    let compute = |number: i64| {
        let content = number.to_le_bytes().to_vec();
        loaded.compute(&input(ElementType::Int64, &[1, 1], content))
    };
    compute(1 << 20).unwrap();
    let error = compute(1_500_000_000).unwrap_err();
    assert!(matches!(error, BackendError::Inputs { .. }), "{error}");

    let loaded = load(split(product(weights(DataType::Float)))).unwrap();
    let content = f32::NAN.to_le_bytes().repeat(256);
    let error = loaded.compute(&input(ElementType::Fp32, &[1, 256], content));
    assert!(error.unwrap_err().into_reason().contains("NaN"));
}

#[test]
fn a_split_model_that_is_split_again_stays_as_it_is() {
    let graph = GraphProto {
        // Both are rewritten for rten.
        node: vec![node("Sign", &["x"], "s"), node("Clip", &["s"], "y")],
        input: vec![value("x", DataType::Float, &[-1, ROWS])],
        output: vec![value("y", DataType::Float, &[-1, ROWS])],
        ..Default::default()
    };
    let once = split(graph);
    let source = ModelSource::onnx(&once.graph);
    let twice = crate::rten::split(source, &LoadOptions::default()).unwrap();
    assert_eq!(decode(&twice), decode(&once));
}

#[test]
fn a_whole_model_is_not_loaded_as_a_split_one() {
    let whole = model(17, product(weights(DataType::Float))).encode_to_vec();
    let error = Rten::new().load_split(whole.leak(), &[], OperatorSet::all());
    let error = error.unwrap_err();
    assert!(error.into_reason().contains("has not been split"));
}

#[test]
fn an_input_with_a_default_is_refused_by_name() {
    let mut graph = product(weights(DataType::Float));
    graph.input.push(value("b", DataType::Float, &[1]));
    graph.initializer.push(tensor("b", DataType::Float, &[1]));
    graph.node.push(node("Add", &["y", "b"], "z"));
    graph.output = vec![value("z", DataType::Float, &[])];
    let content = model(17, graph).encode_to_vec();
    let error = crate::rten::split(ModelSource::onnx(&content), &LoadOptions::default());
    assert!(error.unwrap_err().into_reason().contains("`b`"));
}

#[test]
fn the_small_set_of_operators_loads_the_graphs_that_it_suffices_for() {
    let small = split(product(weights(DataType::Float)));
    assert!(small.is_small);
    let (graph, weights) = (small.graph.leak(), small.weights.leak());
    let loaded = Rten::new().load_split(graph, weights, OperatorSet::small());
    assert_eq!(loaded.unwrap().signature().inputs.len(), 1);
    let sine = GraphProto {
        node: vec![node("Sin", &["x"], "y")],
        input: vec![value("x", DataType::Float, &[-1, ROWS])],
        output: vec![value("y", DataType::Float, &[])],
        ..Default::default()
    };
    let other = split(sine);
    assert!(!other.is_small);
    let (graph, weights) = (other.graph.leak(), other.weights.leak());
    let refused = Rten::new().load_split(graph, weights, OperatorSet::small());
    assert!(refused.unwrap_err().to_string().contains("Sin"));
}
