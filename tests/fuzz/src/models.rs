//! The models that requests are decoded for, their responses, and the invariants of every request.

use bytes::Bytes;
use std::sync::LazyLock;
use wisp_protocol::call::{InferRequest, InferResponse, ModelDescription, ModelName, Version};
use wisp_protocol::error::{ErrorKind, Party};
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorSpec};

/// A model with an optional input of every datatype, and one whose shape varies in three of its four
/// axes.
static EVERYTHING: LazyLock<ModelDescription> = LazyLock::new(|| {
    let mut inputs: Vec<TensorSpec> = (ElementType::ALL.into_iter())
        .map(|element_type| spec(&element_type.name().to_lowercase(), element_type, &[-1, -1]))
        .collect();
    inputs.push(spec("wide", ElementType::Fp32, &[-1, -1, 2, -1]));
    for input in &mut inputs {
        input.optional = true;
    }
    model(inputs.clone(), inputs, 8)
});

/// Models that match the fixtures' requests, so that these get far: rows of numbers and strings.
static ROWS: LazyLock<[ModelDescription; 6]> = LazyLock::new(|| {
    let x = |size| spec("features", ElementType::Fp32, &[-1, size]);
    let text = spec("text", ElementType::Bytes, &[-1]);
    let label = spec("label", ElementType::Bytes, &[-1]);
    let scores = spec("scores", ElementType::Fp32, &[-1, 3]);
    [
        model(vec![x(10)], vec![spec("y", ElementType::Fp32, &[-1])], 32),
        model(vec![x(13)], vec![label, scores.clone()], 32),
        model(vec![x(-1)], vec![x(-1)], 32),
        model(
            vec![text.clone()],
            vec![spec("t_bytes", ElementType::Bytes, &[-1, 3]), scores],
            32,
        ),
        model(
            vec![spec("x", ElementType::Uint8, &[-1, 2])],
            vec![spec("y", ElementType::Fp64, &[2])],
            0,
        ),
        model(
            vec![
                spec("x", ElementType::Fp32, &[-1, 2]),
                spec("t", ElementType::Bytes, &[-1]),
            ],
            vec![
                spec("outputs", ElementType::Fp32, &[-1]),
                spec("scores", ElementType::Bf16, &[-1, 3]),
            ],
            8,
        ),
    ]
});

/// Returns the models that every request is decoded for.
pub fn models() -> impl Iterator<Item = &'static ModelDescription> {
    std::iter::once(&*EVERYTHING).chain(ROWS.iter())
}

fn spec(name: &str, element_type: ElementType, shape: &[i64]) -> TensorSpec {
    let sizes = shape.iter().map(|&size| Dimension::from_wire(size));
    TensorSpec {
        name: name.to_owned(),
        element_type,
        shape: sizes
            .collect::<Option<_>>()
            .expect("sizes are written above"),
        optional: false,
    }
}

fn model(
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    max_batch_size: u32,
) -> ModelDescription {
    ModelDescription {
        model: ModelName::new("m").expect("a letter is a name"),
        version: Version::FIRST,
        platform: "tract_onnx".to_owned(),
        signature: Signature { inputs, outputs },
        max_batch_size,
        max_rows: None,
        class_labels: Default::default(),
        properties: Default::default(),
        configuration: Default::default(),
    }
}

/// Checks that a refusal names the client as the party at fault, and that its message does not grow with
/// the request.
pub fn check_refusal(kind: ErrorKind, text: &str) {
    assert_eq!(kind.party(), Party::Client, "{text}");
    assert!(text.len() < 4096, "{} bytes of text", text.len());
}

/// Checks that the tensors of a request take at most `limit` bytes.
pub fn check_memory(request: &InferRequest, limit: usize) {
    let bytes: usize = request
        .inputs
        .iter()
        .map(|input| input.tensor.content().len())
        .sum();
    assert!(
        bytes <= limit,
        "{bytes} bytes of tensors, at most {limit} were expected"
    );
}

/// Returns the response of a model that returns its inputs.
pub fn echo(request: &InferRequest) -> InferResponse {
    InferResponse {
        outputs: request.inputs.clone(),
        parameters: Vec::new(),
    }
}

/// Returns a possible response of the model to the request: its outputs, with the same number of rows,
/// and numbers made from the bytes of the request.
pub fn answer(request: &InferRequest, model: &ModelDescription) -> InferResponse {
    let first = request.inputs.first();
    let rows = first.and_then(|input| input.tensor.shape().dimensions().first().copied());
    let bytes = first.map_or_else(Bytes::new, |input| input.tensor.content().clone());
    let wanted = |name: &String| request.outputs.is_empty() || request.outputs.contains(name);
    let specs = model
        .signature
        .outputs
        .iter()
        .filter(|spec| wanted(&spec.name));
    let outputs = specs.filter_map(|spec| {
        let tensor = output(spec, rows.unwrap_or(1).min(1000), &bytes)?;
        let name = spec.name.clone();
        Some(NamedTensor { name, tensor })
    });
    InferResponse {
        outputs: outputs.collect(),
        parameters: Vec::new(),
    }
}

fn output(spec: &TensorSpec, rows: u32, bytes: &[u8]) -> Option<Tensor> {
    let sizes = spec
        .shape
        .iter()
        .enumerate()
        .map(|(axis, size)| match *size {
            Dimension::Fixed(size) => size,
            Dimension::Variable if axis == 0 => rows,
            Dimension::Variable => u32::from(bytes.first().copied().unwrap_or(1) % 4),
        });
    let shape = Shape::new(sizes.collect()).ok()?;
    let count = shape.elements();
    let content = match spec.element_type {
        ElementType::Bytes => {
            let words = bytes
                .chunks(3)
                .chain(std::iter::repeat(&b"word"[..]))
                .take(count);
            Tensor::from_elements(words.collect::<Vec<_>>().into_iter())
                .ok()?
                .into_content()
        }
        ElementType::Bool => bytes
            .iter()
            .map(|byte| byte & 1)
            .chain(std::iter::repeat(0))
            .take(count)
            .collect(),
        other => bytes
            .iter()
            .copied()
            .cycle()
            .chain(std::iter::repeat(0))
            .take(count * other.size()?)
            .collect(),
    };
    Tensor::new(spec.element_type, shape, content).ok()
}

/// Returns the tensors with all NaNs replaced by one NaN, as JSON has only one.
pub fn plain(tensors: &[NamedTensor]) -> Vec<(String, ElementType, Vec<u32>, Vec<u8>)> {
    let plain = |NamedTensor { name, tensor }: &NamedTensor| {
        let mut content = tensor.content().to_vec();
        match tensor.element_type() {
            ElementType::Fp32 => {
                for bytes in content.as_chunks_mut().0 {
                    if f32::from_le_bytes(*bytes).is_nan() {
                        *bytes = f32::NAN.to_le_bytes();
                    }
                }
            }
            ElementType::Fp64 => {
                for bytes in content.as_chunks_mut().0 {
                    if f64::from_le_bytes(*bytes).is_nan() {
                        *bytes = f64::NAN.to_le_bytes();
                    }
                }
            }
            _ => {}
        }
        (
            name.clone(),
            tensor.element_type(),
            tensor.shape().dimensions().to_vec(),
            content,
        )
    };
    tensors.iter().map(plain).collect()
}
