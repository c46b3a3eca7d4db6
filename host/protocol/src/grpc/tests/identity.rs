//! Properties: encoded tensors decode to themselves, and decoding arbitrary bytes does not panic.

use super::inference::ModelInferRequest;
use super::inference::model_infer_request::InferInputTensor;
use super::inference::{
    RepositoryIndexRequest, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
};
use super::prediction::BatchPredictRequest;
use super::tensorflow::serving::{
    ClassificationRequest, GetModelMetadataRequest, MultiInferenceRequest, PredictRequest,
    RegressionRequest,
};
use super::tensorflow::tensor_shape_proto::Dim;
use super::tensorflow::{TensorProto, TensorShapeProto};
use super::*;
use crate::fixture::damaged;
use crate::grpc::predict::PredictBatchDecoder;
use crate::grpc::predict::PredictRowDecoder;
use crate::grpc::tfs::TfsPredictEncoder;
use crate::grpc::v2::ModelInferDecoder;
use crate::grpc::{predict, tfs, v2};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Generates arbitrary content of a tensor with `count` elements.
fn content(element_type: ElementType, count: usize) -> BoxedStrategy<Vec<u8>> {
    match element_type.size() {
        Some(_) if element_type == ElementType::Bool => vec(0u8..=1, count).boxed(),
        Some(size) => vec(any::<u8>(), count * size).boxed(),
        None => vec(any::<Vec<u8>>(), count)
            .prop_map(|elements| {
                let elements = elements.iter().map(Vec::as_slice);
                let tensor = Tensor::from_elements(elements).unwrap();
                tensor.into_content().to_vec()
            })
            .boxed(),
    }
}

fn named() -> impl Strategy<Value = NamedTensor> {
    let types = select(ElementType::ALL.to_vec());
    (types, vec(0u32..4, 0..4), any::<String>()).prop_flat_map(|(element_type, sizes, name)| {
        let count = sizes.iter().product::<u32>() as usize;
        content(element_type, count)
            .prop_map(move |content| tensor(&name, element_type, &sizes, &content))
    })
}

/// Generates tensors sorted by name, each with a different name.
fn outputs() -> impl Strategy<Value = Vec<NamedTensor>> {
    vec(named(), 0..4).prop_map(|mut outputs| {
        outputs.sort_by(|a, b| a.name.cmp(&b.name));
        outputs.dedup_by(|a, b| a.name == b.name);
        outputs
    })
}

/// A model with `count` inputs; decoding checks only their number.
fn wide_model(count: usize) -> ModelDescription {
    model(
        vec![spec("any", ElementType::Fp32, &[-1]); count],
        Vec::new(),
    )
}

/// Runs every decoder on these bytes.
fn decode_all(body: &Bytes, limit: usize) {
    let model = wine();
    let rows = pairs(model.signature.outputs.clone());
    if let Ok(message) = ModelInferRequest::decode(body.clone()) {
        let _ = v2::target(&message.model_name, &message.model_version);
        let _ = ModelInferDecoder.decode(message, &model);
    }
    if let Ok(message) = PredictRequest::decode(body.clone()) {
        let _ = tfs::target(message.model_spec.as_ref());
        let _ = decode_predict(message, &model, limit);
    }
    if let Ok(message) = ClassificationRequest::decode(body.clone()) {
        let _ = decode_classify(message, &rows, limit);
    }
    if let Ok(message) = RegressionRequest::decode(body.clone()) {
        let _ = decode_regress(message, &rows, limit);
    }
    if let Ok(message) = MultiInferenceRequest::decode(body.clone()) {
        let _ = tfs::multi_target(&message);
        let _ = decode_multi(message, &rows, limit);
    }
    if let Ok(message) = RepositoryModelLoadRequest::decode(body.clone()) {
        let _ = v2::load_model(&message);
    }
    if let Ok(message) = RepositoryModelUnloadRequest::decode(body.clone()) {
        let _ = v2::unload_model(&message);
    }
    if let Ok(message) = RepositoryIndexRequest::decode(body.clone()) {
        let _ = v2::decode_index(&message);
    }
    if let Ok(message) = GetModelMetadataRequest::decode(body.clone()) {
        let _ = tfs::check_metadata_fields(&message);
    }
    if let Ok(message) = prediction::PredictRequest::decode(body.clone()) {
        let _ = PredictRowDecoder.decode(message, &rows);
    }
    if let Ok(message) = BatchPredictRequest::decode(body.clone()) {
        let _ = predict::batch_selection(&message);
        let _ = PredictBatchDecoder.decode(message, &rows);
    }
}

proptest! {
    #![proptest_config(crate::fixture::cases())]

    #[test]
    fn v2_responses_decode_to_themselves(outputs in outputs(), id in any::<String>()) {
        let model = wide_model(outputs.len());
        let request = ModelInferRequest { id: id.clone(), ..ModelInferRequest::default() };
        let (_, encoder) = ModelInferDecoder.decode(request, &model).unwrap();
        let answer = encoder.encode(response(outputs.clone()), &model).unwrap();
        let body = Bytes::from(answer.encode_to_vec());
        let answer = inference::ModelInferResponse::decode(body).unwrap();
        prop_assert_eq!(answer.id, id);
        // The outputs of a response have the same fields as the inputs of a request.
        let inputs = answer.outputs.into_iter().map(|output| InferInputTensor {
            name: output.name,
            datatype: output.datatype,
            shape: output.shape,
            ..InferInputTensor::default()
        });
        let request = ModelInferRequest {
            inputs: inputs.collect(),
            raw_input_contents: answer.raw_output_contents,
            ..ModelInferRequest::default()
        };
        let (request, _) = ModelInferDecoder.decode(request, &model).unwrap();
        prop_assert_eq!(request.inputs, outputs);
    }

    #[test]
    fn tensorflow_responses_decode_to_themselves(outputs in outputs()) {
        let model = wide_model(outputs.len());
        let answer = TfsPredictEncoder.encode(response(outputs.clone()), &model).unwrap();
        let body = Bytes::from(answer.encode_to_vec());
        let answer = tensorflow::serving::PredictResponse::decode(body).unwrap();
        let request = PredictRequest { inputs: answer.outputs, ..PredictRequest::default() };
        let request = decode_predict(request, &model, usize::MAX).unwrap();
        prop_assert_eq!(request.inputs, outputs);
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in any::<Vec<u8>>()) {
        decode_all(&Bytes::from(body), 1024);
    }

    #[test]
    fn damaged_requests_never_panic(
        fixture in select(vec![
            include_bytes!("fixtures/triton_raw.bin").as_slice(),
            include_bytes!("fixtures/triton_typed.bin"),
            include_bytes!("fixtures/ovms_predict.bin"),
            include_bytes!("fixtures/ovms_strings.bin"),
            // Two rows of the predict API.
            b"\x0a\x0a\x12\x08\0\0\x80\x3f\0\0\0\x40\x0a\x0a\x12\x08\0\0\x80\x3f\0\0\0\x40",
            // An example with the feature `x`.
            b"\x12\x19\x0a\x17\x0a\x15\x0a\x13\x0a\x11\x0a\x01x\x12\x0c\x12\x0a\x0a\x08\0\0\x80\x3f\0\0\0\x40",
        ]),
        position: prop::sample::Index,
        damage in vec(any::<u8>(), 0..4),
        cut in 0usize..4,
    ) {
        let position = position.index(fixture.len());
        decode_all(&damaged(fixture, position, cut, damage), 1024);
    }

    #[test]
    fn wrong_shapes_never_panic_or_allocate(
        sizes in vec(prop_oneof![any::<i64>(), 0i64..5, 0i64..=u32::MAX.into()], 0..5),
        dtype in 0i32..30,
        values in vec(any::<i32>(), 0..3),
        datatype in select(ElementType::ALL.to_vec()),
    ) {
        let dim = |&size: &i64| Dim { size, name: String::new() };
        let dim = sizes.iter().map(dim).collect();
        let proto = TensorProto {
            dtype,
            tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
            int_val: values.clone(),
            ..TensorProto::default()
        };
        let request = PredictRequest { inputs: [("x".to_owned(), proto)].into(), ..PredictRequest::default() };
        if let Ok(request) = decode_predict(request, &wine(), 4096) {
            prop_assert!(request.inputs[0].tensor.content().len() <= 4096);
        }
        let contents = inference::InferTensorContents { int_contents: values, ..Default::default() };
        let input = InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.name().to_owned(),
            shape: sizes,
            contents: Some(contents),
            ..InferInputTensor::default()
        };
        let _ = ModelInferDecoder.decode(ModelInferRequest { inputs: vec![input], ..Default::default() }, &wine());
    }
}
