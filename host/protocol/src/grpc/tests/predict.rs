//! Rows of numbers.

use super::prediction::predict_response::Prediction;
use super::prediction::{BatchPredictRequest, PredictRequest};
use super::*;
use crate::error::ErrorKind;
use crate::grpc::predict;

fn row(name: &str, features: &[f32]) -> PredictRequest {
    PredictRequest {
        model_name: name.to_owned(),
        features: features.to_vec(),
    }
}

fn batch(name: &str, requests: Vec<PredictRequest>) -> BatchPredictRequest {
    BatchPredictRequest {
        requests,
        model_name: name.to_owned(),
    }
}

fn classifier() -> ModelDescription {
    rows(vec![spec("p", ElementType::Fp32, &[-1, 3])])
}

#[test]
fn a_model_may_stay_unnamed_and_a_batch_takes_the_name_of_a_row() {
    assert_eq!(predict::model("").unwrap(), None);
    let unnamed = batch("", vec![row("", &[]), row("b", &[])]);
    assert_eq!(
        predict::batch_model(&unnamed).unwrap().unwrap().as_str(),
        "b"
    );
    let named = batch("a", vec![row("b", &[])]);
    assert_eq!(predict::batch_model(&named).unwrap().unwrap().as_str(), "a");
    assert_eq!(predict::model("/").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(predict::health(true).status, "healthy");
    assert_eq!(predict::health(false).status, "unhealthy");
}

#[test]
fn features_fill_a_row_of_the_only_input() {
    let (request, reply) = predict::decode(row("", &[1.5, -2.0]), &classifier()).unwrap();
    assert_eq!(request.inputs, [singles("x", &[1, 2], &[1.5, -2.0])]);
    assert!(request.outputs.is_empty());
    let answer = response(vec![singles("p", &[1, 3], &[0.25, 0.5, 0.25])]);
    let message = reply.encode(&answer, &classifier()).unwrap();
    assert_eq!(message.prediction, Some(Prediction::Number(1.0)));
    assert_eq!(message.probabilities, [0.25, 0.5, 0.25]);
    assert_eq!(
        (message.model_version.as_str(), message.error.as_str()),
        ("7", "")
    );
}

#[test]
fn features_become_whole_numbers_only_if_they_are() {
    let model = model(vec![spec("x", ElementType::Uint8, &[-1, 2])], Vec::new());
    let (request, _) = predict::decode(row("", &[0.0, 255.0]), &model).unwrap();
    assert_eq!(
        request.inputs,
        [tensor("x", ElementType::Uint8, &[1, 2], &[0, 255])]
    );
    for odd in [0.5, 256.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX] {
        let error = predict::decode(row("", &[0.0, odd]), &model).unwrap_err();
        let text = "`features`: element 1 does not fit in UINT8";
        assert_eq!(error.to_string(), text, "{odd}");
    }
}

#[test]
fn a_model_without_a_batch_axis_takes_one_row_that_fills_it() {
    for (shape, features, expected) in [
        (&[-1][..], &[1.0, 2.0, 3.0][..], &[3][..]),
        (&[1, 2], &[1.0, 2.0], &[1, 2]),
        (&[], &[1.0], &[]),
    ] {
        let mut model = classifier();
        model.max_batch_size = 0;
        model.signature.inputs = vec![spec("x", ElementType::Fp32, shape)];
        let (request, reply) = predict::decode(row("", features), &model).unwrap();
        assert_eq!(request.inputs, [singles("x", expected, features)]);
        let answer = response(vec![singles("p", &[3], &[0.0, 0.0, 1.0])]);
        let message = reply.encode(&answer, &model).unwrap();
        assert_eq!(message.prediction, Some(Prediction::Number(2.0)));
        let error = predict::decode_batch(batch("", vec![row("", features)]), &model);
        let text = "the model takes one row at a time: use Predict";
        assert_eq!(error.unwrap_err().to_string(), text);
    }
}

#[test]
fn a_model_that_rows_cannot_ask_is_refused_with_the_way_out() {
    for (inputs, text) in [
        (
            vec![],
            "`features` take a model with exactly one required input, this one has 0: use ModelInfer",
        ),
        (
            wine().signature.inputs,
            "`features` take a model with exactly one required input, this one has 2: use ModelInfer",
        ),
        (
            vec![spec("t", ElementType::Bytes, &[-1])],
            "`features` take an input of whole numbers, FP32 or FP64, that of this model is BYTES: use ModelInfer",
        ),
        (
            vec![spec("x", ElementType::Fp32, &[-1, -1, -1])],
            "`features`: a row has more than one variable dimension, so that its elements settle no shape",
        ),
    ] {
        let error = predict::decode(row("", &[1.0]), &model(inputs, Vec::new())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_label_is_preferred_to_a_number_and_a_number_to_probabilities() {
    let (_, reply) = predict::decode(row("", &[0.0; 2]), &classifier()).unwrap();
    let label = || strings("label", &[1], &["red"]);
    let class = || tensor("class", ElementType::Int64, &[1], &2i64.to_le_bytes());
    let value = || singles("v", &[1, 1], &[0.75]);
    let p = || singles("p", &[1, 2], &[0.75, 0.25]);
    let red = Prediction::Label("red".to_owned());
    for (outputs, prediction, probabilities) in [
        (vec![p(), value(), label()], red, &[0.75, 0.25][..]),
        (vec![class(), p()], Prediction::Number(2.0), &[0.75, 0.25]),
        (vec![value()], Prediction::Number(0.75), &[]),
        (vec![p()], Prediction::Number(0.0), &[0.75, 0.25]),
    ] {
        let message = reply.encode(&response(outputs), &classifier()).unwrap();
        assert_eq!(message.prediction, Some(prediction));
        assert_eq!(message.probabilities, probabilities);
    }
    for (outputs, kind) in [
        (vec![], ErrorKind::InvalidRequest),
        (
            vec![tensor("h", ElementType::Fp16, &[1], &[0; 2])],
            ErrorKind::InvalidRequest,
        ),
        (
            vec![tensor("t", ElementType::Bytes, &[1], b"\x01\0\0\0\xff")],
            ErrorKind::InvalidRequest,
        ),
        (vec![singles("p", &[2, 2], &[0.0; 4])], ErrorKind::Handler),
    ] {
        let error = reply.encode(&response(outputs), &classifier()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn an_invalid_row_fails_alone() {
    let message = batch(
        "",
        vec![
            row("wine", &[1.0, 2.0]),
            row("wine", &[1.0]),
            row("beer", &[1.0, 2.0]),
            row("", &[3.0, 4.0]),
        ],
    );
    let (request, reply) = predict::decode_batch(message, &classifier()).unwrap();
    assert_eq!(
        request.unwrap().inputs,
        [singles("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0])]
    );
    let answer = response(vec![singles("p", &[2, 2], &[0.0, 1.0, 1.0, 0.0])]);
    let responses = reply
        .encode(Some(&answer), &classifier())
        .unwrap()
        .responses;
    let shown: Vec<_> = responses
        .iter()
        .map(|row| (row.prediction.clone(), row.error.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            (Some(Prediction::Number(1.0)), ""),
            (None, "`features`: a row takes 2 elements, not 1"),
            (
                None,
                "`features`: the batch is for another model than `beer`: send its rows in a batch of their own"
            ),
            (Some(Prediction::Number(0.0)), ""),
        ]
    );
}

#[test]
fn a_row_that_does_not_fit_leaves_nothing_behind() {
    let model = model(vec![spec("x", ElementType::Int8, &[-1, -1])], Vec::new());
    let rows = [&[1.0, 0.5][..], &[1.0, 2.0], &[3.0], &[3.0, 4.0]];
    let message = batch("", rows.iter().map(|features| row("", features)).collect());
    let (request, _) = predict::decode_batch(message, &model).unwrap();
    let expected = tensor("x", ElementType::Int8, &[2, 2], &[1, 2, 3, 4]);
    assert_eq!(request.unwrap().inputs, [expected]);
}

#[test]
fn without_a_valid_row_there_is_nothing_to_infer() {
    let (request, reply) =
        predict::decode_batch(batch("", vec![row("", &[])]), &classifier()).unwrap();
    assert_eq!(request, None);
    let responses = reply.encode(None, &classifier()).unwrap().responses;
    assert_eq!(responses.len(), 1);
    let (request, reply) = predict::decode_batch(batch("", vec![]), &classifier()).unwrap();
    assert_eq!(request, None);
    assert!(
        reply
            .encode(None, &classifier())
            .unwrap()
            .responses
            .is_empty()
    );
    let many = batch("", vec![row("", &[]); 65_537]);
    assert!(predict::decode_batch(many, &classifier()).is_err());
}
