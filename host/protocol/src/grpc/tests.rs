//! Whole messages through the codecs of all dialects.

mod clients;
mod identity;
mod predict;
mod tfs;
mod tfs_examples;
mod v2;

use super::message::{inference, prediction, tensorflow};
use crate::call::{InferResponse, ModelDescription, ModelName, Version};
use bytes::Bytes;
use prost::Message;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorSpec};

fn spec(name: &str, element_type: ElementType, shape: &[i64]) -> TensorSpec {
    let shape = shape
        .iter()
        .map(|&size| Dimension::from_wire(size).unwrap());
    TensorSpec {
        name: name.to_owned(),
        element_type,
        shape: shape.collect(),
        optional: false,
    }
}

fn model(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> ModelDescription {
    ModelDescription {
        model: ModelName::new("wine").unwrap(),
        version: Version::from_decimal("7").unwrap(),
        platform: "tract_onnx".to_owned(),
        signature: Signature { inputs, outputs },
        max_batch_size: 8,
        class_labels: Default::default(),
    }
}

/// A model of two inputs and two outputs.
fn wine() -> ModelDescription {
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

/// A model that takes rows of two singles.
fn rows(outputs: Vec<TensorSpec>) -> ModelDescription {
    model(vec![spec("x", ElementType::Fp32, &[-1, 2])], outputs)
}

fn tensor(
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

/// An FP32 tensor of these numbers.
fn singles(name: &str, dimensions: &[u32], numbers: &[f32]) -> NamedTensor {
    let content: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    tensor(name, ElementType::Fp32, dimensions, &content)
}

/// A BYTES tensor of these elements.
fn strings(name: &str, dimensions: &[u32], elements: &[&str]) -> NamedTensor {
    let elements = elements.iter().map(|element| element.as_bytes());
    let content = Tensor::from_elements(elements).unwrap().into_content();
    tensor(name, ElementType::Bytes, dimensions, &content)
}

fn response(outputs: Vec<NamedTensor>) -> InferResponse {
    InferResponse {
        outputs,
        parameters: Vec::new(),
    }
}

#[test]
fn the_descriptors_name_every_service_and_stand_without_other_files() -> anyhow::Result<()> {
    let set = prost_types::FileDescriptorSet::decode(super::FILE_DESCRIPTOR_SET)?;
    let methods = |name: &str| {
        let mut services = set.file.iter().flat_map(|file| {
            let package = file.package().to_owned();
            file.service
                .iter()
                .map(move |service| (package.clone(), service))
        });
        services
            .find(|(package, service)| format!("{package}.{}", service.name()) == name)
            .map(|(_, service)| service.method.len())
    };
    assert_eq!(methods("inference.GRPCInferenceService"), Some(20));
    assert_eq!(methods("tensorflow.serving.PredictionService"), Some(5));
    assert_eq!(methods("tensorflow.serving.ModelService"), Some(2));
    assert_eq!(methods("prediction.PredictionService"), Some(3));
    for dependency in set.file.iter().flat_map(|file| &file.dependency) {
        let is_there = set.file.iter().any(|file| file.name() == dependency);
        assert!(is_there, "{dependency}");
    }
    Ok(())
}
