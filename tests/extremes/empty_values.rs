//! Values without elements in operators of ONNX Runtime that ended the process.

use super::{Case, Wanted, graph};
use crate::harness::onnx::{Attribute, FLOAT, Graph, Model, Opset, Tensor};
use crate::harness::tensor::named;
use wisp_tensor::{ElementType, NamedTensor};

/// Returns a tensor of zeros for a file.
fn zeros(name: &str, element_type: i32, dims: &[i64]) -> Tensor {
    let elements: i64 = dims.iter().product();
    let size = if element_type == FLOAT { 4 } else { 2 };
    Tensor {
        raw_data: vec![0; usize::try_from(elements * size).expect("few")],
        ..Tensor::of(name, element_type, dims)
    }
}

/// Returns the case of an input `x` without elements.
fn case(graph: Graph, element_type: ElementType, dimensions: &[u32]) -> Case {
    let x = named("x", element_type, dimensions, Vec::new());
    case_of(graph, dimensions, vec![x])
}

fn case_of(graph: Graph, dimensions: &[u32], inputs: Vec<NamedTensor>) -> Case {
    let operator = graph.node.first().map_or("", |node| node.op_type.as_str());
    Case {
        name: format!("{operator} of {dimensions:?}"),
        model: Model::of(graph),
        inputs,
        wanted: Wanted::NoSignal,
        must: &["onnxruntime"],
        except: &[],
    }
}

/// Returns a graph with the input `x` and the output `y` of the same rank.
fn taking(element_type: ElementType, rank: usize) -> Graph {
    let axes: Vec<Option<i64>> = vec![None; rank];
    graph(&[("x", element_type, &axes)], (element_type, rank))
}

pub(super) fn cases() -> Vec<Case> {
    const FLOAT16: i32 = 10;
    let floats = ElementType::Fp32;
    let recurrent = |operator: &str, gates: i64| {
        graph(&[("x", floats, &[None, None, Some(2)])], (floats, 4))
            .initializer(zeros("w", FLOAT, &[1, gates * 3, 2]))
            .initializer(zeros("r", FLOAT, &[1, gates * 3, 3]))
            .node(operator, &["x", "w", "r"], &["y"])
            .with(Attribute::int("hidden_size", 3))
    };
    let transposed = || {
        taking(floats, 5)
            .initializer(zeros("w", FLOAT, &[2, 2, 3, 3, 3]))
            .node("ConvTranspose", &["x", "w"], &["y"])
    };
    let normalized = || {
        taking(ElementType::Fp16, 4)
            .initializer(zeros("s", FLOAT16, &[2]))
            .node("InstanceNormalization", &["x", "s", "s"], &["y"])
    };
    let convolution = || {
        graph(
            &[
                ("x", floats, &[None, Some(2), None]),
                ("w", floats, &[None, Some(2), None]),
            ],
            (floats, 3),
        )
        .node("Conv", &["x", "w"], &["y"])
    };
    let of_kernel = |size: u32| {
        let dimensions = [1, 2, size];
        let content = vec![0; 8 * usize::try_from(size).expect("few")];
        let inputs = vec![
            named("x", floats, &dimensions, content),
            named("w", floats, &[2, 2, 0], Vec::new()),
        ];
        case_of(convolution(), &dimensions, inputs)
    };
    let mut vectorizer = graph(&[("x", floats, &[None, Some(3)])], (floats, 2))
        .node("FeatureVectorizer", &["x"], &["y"])
        .with(Attribute::ints("inputdimensions", &[3]));
    vectorizer.node[0].domain = "ai.onnx.ml".to_owned();
    let mut of_no_rows = case(vectorizer, floats, &[0, 3]);
    // The file does not import the operators of ONNX itself.
    of_no_rows.model.opset_import = vec![Opset {
        domain: "ai.onnx.ml".to_owned(),
        version: 1,
    }];
    vec![
        case(recurrent("GRU", 3), floats, &[0, 1, 2]),
        case(recurrent("GRU", 3), floats, &[1, 0, 2]),
        case(recurrent("LSTM", 4), floats, &[1, 0, 2]),
        case(transposed(), floats, &[1, 2, 0, 4, 4]),
        case(transposed(), floats, &[1, 2, 4, 0, 4]),
        case(normalized(), ElementType::Fp16, &[1, 2, 0, 3]),
        case(normalized(), ElementType::Fp16, &[1, 2, 3, 0]),
        of_kernel(0),
        of_kernel(4),
        of_no_rows,
    ]
}
