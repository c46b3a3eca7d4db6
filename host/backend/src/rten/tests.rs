//! Tests of the backend with generated models, which are loaded and computed.

use super::*;
use crate::onnx::test_graphs::{float, model, node, number, tensor, value};
use crate::pb::GraphProto;
use crate::pb::tensor_proto::DataType;
use bytes::Bytes;
use prost::Message;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Tensor};

/// Returns the graph y = 2 x, where x has a variable number of rows of three elements.
fn doubling(data_type: DataType) -> GraphProto {
    GraphProto {
        node: vec![node("Mul", &["x", "two"], "y")],
        initializer: vec![tensor("two", data_type, &[2])],
        input: vec![value("x", data_type, &[-1, 3])],
        output: vec![value("y", data_type, &[-1, 3])],
        ..Default::default()
    }
}

fn load(graph: GraphProto) -> Result<Arc<dyn Graph>, BackendError> {
    load_with(&Rten::new(), graph)
}

fn load_with(backend: &Rten, graph: GraphProto) -> Result<Arc<dyn Graph>, BackendError> {
    let content = model(17, graph).encode_to_vec();
    backend.load(ModelSource::onnx(&content), &LoadOptions::default())
}

fn input(element_type: ElementType, dimensions: &[u32], content: Vec<u8>) -> NamedTensor {
    let shape = Shape::new(dimensions.to_vec()).unwrap();
    NamedTensor {
        name: "x".to_owned(),
        tensor: Tensor::new(element_type, shape, Bytes::from(content)).unwrap(),
    }
}

fn fp32(dimensions: &[u32], values: &[f32]) -> NamedTensor {
    let content = values.iter().flat_map(|value| value.to_le_bytes());
    input(ElementType::Fp32, dimensions, content.collect())
}

fn int64(dimensions: &[u32], values: &[i64]) -> NamedTensor {
    let content = values.iter().flat_map(|value| value.to_le_bytes());
    input(ElementType::Int64, dimensions, content.collect())
}

#[test]
fn the_version_is_that_in_the_lock_file() {
    let lock = include_str!("../../../../Cargo.lock");
    let package = format!("name = \"rten\"\nversion = \"{VERSION}\"");
    assert!(lock.contains(&package));
}

#[test]
fn floats_are_computed_at_every_number_of_rows() {
    let graph = load(doubling(DataType::Float)).unwrap();
    for rows in [1, 2, 5] {
        let values: Vec<f32> = (0..rows * 3).map(|number| number as f32).collect();
        let outputs = graph.compute(&[fp32(&[rows, 3], &values)]).unwrap();
        assert_eq!(outputs[0].name, "y");
        let doubled: Vec<f32> = values.iter().map(|value| value * 2.0).collect();
        assert_eq!(outputs[0].tensor, fp32(&[rows, 3], &doubled).tensor);
    }
}

#[test]
fn no_rows_are_computed_to_no_rows() {
    let graph = load(doubling(DataType::Float)).unwrap();
    let outputs = graph.compute(&[fp32(&[0, 3], &[])]).unwrap();
    assert_eq!(outputs[0].tensor.shape().dimensions(), [0, 3]);
}

#[test]
fn integers_of_64_bits_keep_their_type() {
    let graph = load(doubling(DataType::Int64)).unwrap();
    let outputs = graph.compute(&[int64(&[1, 3], &[1, -2, 3])]).unwrap();
    assert_eq!(outputs[0].tensor, int64(&[1, 3], &[2, -4, 6]).tensor);
}

#[test]
fn integers_beyond_32_bits_are_refused_and_not_narrowed() {
    let graph = load(doubling(DataType::Int64)).unwrap();
    for number in [3_000_000_000, 1_500_000_000, i64::MIN] {
        let error = graph.compute(&[int64(&[1, 3], &[0, number, 0])]);
        let error = error.unwrap_err();
        assert!(matches!(error, BackendError::Inputs { .. }), "{error}");
    }
}

#[test]
fn doubles_are_refused_by_name() {
    let error = load(doubling(DataType::Double)).unwrap_err();
    assert!(error.into_reason().contains("DOUBLE"));
}

#[test]
fn a_declared_output_of_the_wrong_shape_is_corrected() {
    for declared in [&[][..], &[3], &[7, 3]] {
        let mut graph = doubling(DataType::Float);
        graph.output = vec![value("y", DataType::Float, declared)];
        let graph = load(graph).unwrap();
        let shape = &graph.signature().outputs[0].shape;
        assert_eq!(shape.len(), 2, "{declared:?}");
        assert_eq!(shape[0], Dimension::Variable, "{declared:?}");
        graph.compute(&[fp32(&[2, 3], &[0.0; 6])]).unwrap();
    }
}

/// Returns a graph that adds 1 to its input so many times.
fn chain(length: usize) -> GraphProto {
    let name = |position: usize| match position {
        0 => "x".to_owned(),
        _ if position == length => "y".to_owned(),
        _ => format!("v{position}"),
    };
    let nodes = (0..length).map(|at| node("Add", &[&name(at), "one"], &name(at + 1)));
    GraphProto {
        node: nodes.collect(),
        initializer: vec![tensor("one", DataType::Float, &[1])],
        input: vec![value("x", DataType::Float, &[-1, 1])],
        output: vec![value("y", DataType::Float, &[-1, 1])],
        ..Default::default()
    }
}

#[test]
fn a_long_chain_of_nodes_is_computed_and_a_longer_one_refused() {
    let graph = load(chain(4096)).unwrap();
    let outputs = graph.compute(&[fp32(&[2, 1], &[0.0, 1.0])]).unwrap();
    assert_eq!(outputs[0].tensor, fp32(&[2, 1], &[4096.0, 4097.0]).tensor);
    let error = load(chain(4097)).unwrap_err();
    assert!(error.into_reason().contains("chain"));
}

#[test]
fn a_computation_that_exceeds_the_memory_is_refused_before_it_begins() {
    let backend = Rten::with_memory(Arc::new(MemoryBudget::new(1 << 20)));
    let graph = load_with(&backend, doubling(DataType::Float)).unwrap();
    let values = vec![0.0; 3 << 18];
    let error = graph.compute(&[fp32(&[1 << 18, 3], &values)]);
    let error = error.unwrap_err();
    assert!(error.into_reason().contains("memory"));
    graph.compute(&[fp32(&[1, 3], &[0.0; 3])]).unwrap();
}

#[test]
fn a_softmax_of_an_old_opset_normalises_over_all_later_axes() {
    let graph = GraphProto {
        node: vec![number(node("Softmax", &["x"], "y"), "axis", 1)],
        input: vec![value("x", DataType::Float, &[-1, 2, 2])],
        output: vec![value("y", DataType::Float, &[-1, 2, 2])],
        ..Default::default()
    };
    let content = model(11, graph).encode_to_vec();
    let graph = Rten::new().load(ModelSource::onnx(&content), &LoadOptions::default());
    let outputs = graph.unwrap().compute(&[fp32(&[1, 2, 2], &[0.0; 4])]);
    let expected = fp32(&[1, 2, 2], &[0.25; 4]).tensor;
    assert_eq!(outputs.unwrap()[0].tensor, expected);
}

#[test]
fn a_local_response_is_normalised_over_the_neighbouring_channels() {
    let (channels, pixels) = (5, 2);
    let values: Vec<f32> = (0..2 * channels * pixels)
        .map(|number| number as f32 - 7.0)
        .collect();
    let at = |image: usize, channel: usize, pixel: usize| {
        values[(image * channels + channel) * pixels + pixel]
    };
    // Larger than the number of channels too, and even numbers, whose windows reach further to the end.
    for size in [1, 2, 3, 4, 5, 12] {
        let node = number(node("LRN", &["x"], "y"), "size", size as i64);
        let node = float(float(node, "alpha", 0.5), "bias", 2.0);
        for shape in [vec![2, 5, 1, 2], vec![2, 5, 2]] {
            let declared: Vec<i64> = shape.iter().copied().map(i64::from).collect();
            let graph = GraphProto {
                node: vec![node.clone()],
                input: vec![value("x", DataType::Float, &declared)],
                output: vec![value("y", DataType::Float, &declared)],
                ..Default::default()
            };
            let outputs = load(graph).unwrap().compute(&[fp32(&shape, &values)]);
            let computed = outputs.unwrap()[0].tensor.content().to_vec();
            let mut computed = computed
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
            for image in 0..2 {
                for channel in 0..channels {
                    let first = channel.saturating_sub((size - 1) / 2);
                    let last = (channel + size / 2).min(channels - 1);
                    for pixel in 0..pixels {
                        let squares = (first..=last).map(|near| at(image, near, pixel).powi(2));
                        let scale = 2.0 + 0.5 / size as f32 * squares.sum::<f32>();
                        let expected = at(image, channel, pixel) / scale.powf(0.75);
                        let found = computed.next().unwrap();
                        assert!((found - expected).abs() < 1e-5, "{size} {shape:?}");
                    }
                }
            }
        }
    }
}
