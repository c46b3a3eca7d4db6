//! Models and tensors shared by the tests of all protocols.

use crate::call::{InferResponse, ModelDescription, ModelName, Version};
use crate::model_configuration::ModelConfiguration;
use bytes::Bytes;
use proptest::test_runner::Config;
use wisp_tensor::{
    Dimension, ElementType, ImageLayout, NamedTensor, Shape, Signature, Tensor, TensorSpec,
};

/// The number of cases per property: proptest's default times `WISP_TEST_SCALE`.
pub(crate) fn cases() -> Config {
    let scale = std::env::var("WISP_TEST_SCALE").ok();
    let scale = scale.and_then(|scale| scale.parse().ok()).unwrap_or(1);
    let usual = Config::default();
    Config {
        cases: usual.cases.saturating_mul(scale),
        ..usual
    }
}

/// Returns the bytes with `cut` of them, starting at `position`, replaced by `damage`.
pub(crate) fn damaged(bytes: &[u8], position: usize, cut: usize, damage: Vec<u8>) -> Bytes {
    let mut bytes = bytes.to_vec();
    let end = bytes.len().min(position + cut);
    bytes.splice(position..end, damage);
    Bytes::from(bytes)
}

pub(crate) fn spec(name: &str, element_type: ElementType, shape: &[i64]) -> TensorSpec {
    let sizes = shape.iter().map(|&size| Dimension::from_wire(size));
    TensorSpec {
        name: name.to_owned(),
        element_type,
        shape: sizes.collect::<Option<_>>().unwrap(),
        optional: false,
    }
}

/// Version 7 of `wine`, with `max_batch_size` 8.
pub(crate) fn model(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> ModelDescription {
    ModelDescription {
        model: ModelName::new("wine").unwrap(),
        version: Version::from_decimal("7").unwrap(),
        platform: "tract_onnx".to_owned(),
        signature: Signature { inputs, outputs },
        max_batch_size: 8,
        max_rows: Some(8),
        class_labels: Default::default(),
        properties: Default::default(),
        configuration: Default::default(),
    }
}

/// A model with two inputs and two outputs.
pub(crate) fn wine() -> ModelDescription {
    model(
        vec![
            spec("x", ElementType::Fp32, &[-1, 2]),
            spec("t", ElementType::Bytes, &[-1]),
        ],
        vec![
            spec("label", ElementType::Bytes, &[-1]),
            spec("y", ElementType::Fp32, &[-1, 3]),
        ],
    )
}

/// A model with an image, another optional input, and an output with labels, on two threads.
pub(crate) fn configured_model() -> ModelDescription {
    let image = |name| spec(name, ElementType::Fp32, &[-1, 3, 8, 8]);
    let other = TensorSpec {
        optional: true,
        ..image("other")
    };
    let output = spec("y", ElementType::Bytes, &[-1]);
    let property = ("backend_selection".to_owned(), "auto: tract".to_owned());
    ModelDescription {
        properties: [property].into(),
        configuration: ModelConfiguration {
            image_layouts: [("image".to_owned(), ImageLayout::Nchw)].into(),
            label_files: [("y".to_owned(), "labels.txt".to_owned())].into(),
            instances: 2,
            file_name: "model.onnx".to_owned(),
            ..ModelConfiguration::default()
        },
        ..model(vec![image("image"), other], vec![output])
    }
}

/// A model whose input rows are two f32 values.
pub(crate) fn pairs(outputs: Vec<TensorSpec>) -> ModelDescription {
    model(vec![spec("x", ElementType::Fp32, &[-1, 2])], outputs)
}

pub(crate) fn tensor(
    name: &str,
    element_type: ElementType,
    dimensions: &[u32],
    content: &[u8],
) -> NamedTensor {
    let shape = Shape::new(dimensions.to_vec()).unwrap();
    let content = Bytes::copy_from_slice(content);
    NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::new(element_type, shape, content).unwrap(),
    }
}

/// An FP32 tensor.
pub(crate) fn floats(name: &str, dimensions: &[u32], numbers: &[f32]) -> NamedTensor {
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    tensor(name, ElementType::Fp32, dimensions, &content)
}

/// An INT64 tensor.
pub(crate) fn integers(name: &str, dimensions: &[u32], numbers: &[i64]) -> NamedTensor {
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    tensor(name, ElementType::Int64, dimensions, &content)
}

/// A BYTES tensor.
pub(crate) fn strings(name: &str, dimensions: &[u32], elements: &[&str]) -> NamedTensor {
    let elements = elements.iter().map(|text| text.as_bytes());
    let content = Tensor::from_elements(elements).unwrap().into_content();
    tensor(name, ElementType::Bytes, dimensions, &content)
}

pub(crate) fn response(outputs: Vec<NamedTensor>) -> InferResponse {
    InferResponse {
        outputs,
        parameters: Vec::new(),
    }
}

/// Returns the body of a response that consists of JSON only.
pub(crate) fn json(encoded: crate::encoded_response::EncodedResponse) -> String {
    assert_eq!(encoded.content_type, "application/json");
    assert_eq!(encoded.header_length, None);
    String::from_utf8(encoded.chunks.concat()).unwrap()
}
