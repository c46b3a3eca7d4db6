//! Tests that pass whole messages through the codecs of all protocols.

mod clients;
mod identity;
mod predict;
mod scheduling;
mod tfs;
mod tfs_examples;
mod v2;

use super::message::tensorflow::serving;
use super::message::{inference, prediction, tensorflow};
use super::tfs::{ClassifyDecoder, ClassifyEncoder, MultiInferenceDecoder, MultiInferenceEncoder};
use super::tfs::{RegressDecoder, RegressEncoder, TfsPredictDecoder};
use crate::call::{InferRequest, ModelDescription, Version};
use crate::codec::{CodecError, RequestDecoder, ResponseEncoder};
use crate::error::HasErrorKind;
use crate::fixture::{floats, integers, model, pairs, response, spec, strings, tensor, wine};
use bytes::Bytes;
use prost::Message;
use wisp_tensor::{ElementType, NamedTensor, Tensor, TensorSpec};

fn decode_predict(
    message: serving::PredictRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<InferRequest, CodecError> {
    let (request, _) = TfsPredictDecoder { limit }.decode(message, model)?;
    Ok(request)
}

fn decode_classify(
    message: serving::ClassificationRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<(InferRequest, ClassifyEncoder), CodecError> {
    ClassifyDecoder { limit }.decode(message, model)
}

fn decode_regress(
    message: serving::RegressionRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<(InferRequest, RegressEncoder), CodecError> {
    RegressDecoder { limit }.decode(message, model)
}

fn decode_multi(
    message: serving::MultiInferenceRequest,
    model: &ModelDescription,
    limit: usize,
) -> Result<(InferRequest, MultiInferenceEncoder), CodecError> {
    MultiInferenceDecoder { limit }.decode(message, model)
}

#[test]
fn the_descriptors_are_complete_and_contain_every_service() -> anyhow::Result<()> {
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
