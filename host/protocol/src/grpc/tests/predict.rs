//! Tests of the predict API: rows of numbers.

use super::prediction::predict_response::Prediction;
use super::prediction::{BatchPredictRequest, PredictRequest};
use super::*;
use crate::call::{ModelName, Selection, VersionChoice, VersionLabel};
use crate::error::ErrorKind;
use crate::grpc::predict;
use crate::grpc::predict::PredictBatchDecoder;
use crate::grpc::predict::PredictRowDecoder;
use crate::grpc::target::TargetError;

fn row(name: &str, features: &[f32]) -> PredictRequest {
    PredictRequest {
        model_name: name.to_owned(),
        features: features.to_vec(),
        ..PredictRequest::default()
    }
}

fn batch(name: &str, requests: Vec<PredictRequest>) -> BatchPredictRequest {
    BatchPredictRequest {
        requests,
        model_name: name.to_owned(),
        ..BatchPredictRequest::default()
    }
}

fn classifier() -> ModelDescription {
    pairs(vec![spec("p", ElementType::Fp32, &[-1, 3])])
}

/// Returns the name of the selected model; `None` if it is the only one.
fn model_name(selection: Result<Selection, TargetError>) -> Option<String> {
    match selection.unwrap() {
        Selection::Named(target) => Some(target.model.to_string()),
        Selection::OnlyModel(_) => None,
    }
}

#[test]
fn the_model_name_may_be_empty_or_come_from_a_row_of_the_batch() {
    assert_eq!(model_name(predict::selection(&row("", &[]))), None);
    let unnamed = batch("", vec![row("", &[]), row("b", &[])]);
    let name = model_name(predict::batch_selection(&unnamed));
    assert_eq!(name.as_deref(), Some("b"));
    let named = batch("a", vec![row("b", &[])]);
    let name = model_name(predict::batch_selection(&named));
    assert_eq!(name.as_deref(), Some("a"));
    let error = predict::selection(&row("/", &[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(predict::health(true).status, "healthy");
    assert_eq!(predict::health(false).status, "unhealthy");
}

/// Returns a row that names a version by number and by label.
fn versioned(number: &str, label: &str) -> PredictRequest {
    PredictRequest {
        model_version: number.to_owned(),
        version_label: label.to_owned(),
        ..row("a", &[1.0, 2.0])
    }
}

#[test]
fn a_version_is_selected_by_number_or_by_label() {
    let version = |selection: Result<Selection, TargetError>| match selection.unwrap() {
        Selection::Named(target) => target.version,
        Selection::OnlyModel(version) => version,
    };
    let number = VersionChoice::Number(Version::from_decimal("3").unwrap());
    let label = VersionChoice::Label(VersionLabel::new("stable").unwrap());
    let selected = version(predict::selection(&versioned("", "")));
    assert_eq!(selected, VersionChoice::Default);
    assert_eq!(version(predict::selection(&versioned("3", ""))), number);
    let unnamed = PredictRequest {
        model_name: String::new(),
        ..versioned("", "stable")
    };
    assert_eq!(version(predict::selection(&unnamed)), label);
    let rows = batch("a", vec![versioned("", ""), versioned("3", "")]);
    assert_eq!(version(predict::batch_selection(&rows)), number);
    let own = BatchPredictRequest {
        version_label: "stable".to_owned(),
        ..batch("a", vec![versioned("", "")])
    };
    assert_eq!(version(predict::batch_selection(&own)), label);
    for (number, label, kind) in [
        ("x", "", ErrorKind::NotFound),
        ("0", "", ErrorKind::NotFound),
        ("", "../x", ErrorKind::NotFound),
        ("3", "stable", ErrorKind::InvalidRequest),
    ] {
        let error = predict::selection(&versioned(number, label)).unwrap_err();
        assert_eq!(error.kind(), kind, "{number} {label}");
    }
}

#[test]
fn a_row_for_another_version_fails_alone() {
    let rows = vec![
        row("", &[1.0, 2.0]),
        versioned("3", ""),
        versioned("4", ""),
        versioned("", "stable"),
    ];
    let message = BatchPredictRequest {
        model_version: "3".to_owned(),
        ..batch("", rows)
    };
    let mut model = classifier();
    model.model = ModelName::new("a").unwrap();
    let (_, encoder) = PredictBatchDecoder.decode(message, &model).unwrap();
    let answer = response(vec![floats(
        "p",
        &[2, 3],
        &[0.25, 0.5, 0.25, 0.5, 0.25, 0.25],
    )]);
    let responses = encoder.encode(answer, &model).unwrap().responses;
    let failed: Vec<bool> = responses.iter().map(|row| !row.error.is_empty()).collect();
    assert_eq!(failed, [false, false, true, true]);
    let text = "`features`: the batch is for another version: send the row in a batch of its own";
    assert_eq!(responses[2].error, text);
}

#[test]
fn features_fill_a_row_of_the_only_input() {
    let (request, encoder) = PredictRowDecoder
        .decode(row("", &[1.5, -2.0]), &classifier())
        .unwrap();
    assert_eq!(request.inputs, [floats("x", &[1, 2], &[1.5, -2.0])]);
    assert_eq!(request.outputs, ["p"]);
    let answer = response(vec![floats("p", &[1, 3], &[0.25, 0.5, 0.25])]);
    let message = encoder.encode(answer, &classifier()).unwrap();
    assert_eq!(message.prediction, Some(Prediction::Number(1.0)));
    assert_eq!(message.probabilities, [0.25, 0.5, 0.25]);
    assert_eq!(
        (message.model_version.as_str(), message.error.as_str()),
        ("7", "")
    );
}

#[test]
fn fractional_features_are_rejected_for_integer_inputs() {
    let model = model(vec![spec("x", ElementType::Uint8, &[-1, 2])], Vec::new());
    let (request, _) = PredictRowDecoder
        .decode(row("", &[0.0, 255.0]), &model)
        .unwrap();
    assert_eq!(
        request.inputs,
        [tensor("x", ElementType::Uint8, &[1, 2], &[0, 255])]
    );
    for odd in [0.5, 256.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX] {
        let error = PredictRowDecoder
            .decode(row("", &[0.0, odd]), &model)
            .unwrap_err();
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
        model.signature.outputs = vec![spec("p", ElementType::Fp32, &[3])];
        let (request, encoder) = PredictRowDecoder.decode(row("", features), &model).unwrap();
        assert_eq!(request.inputs, [floats("x", expected, features)]);
        let answer = response(vec![floats("p", &[3], &[0.0, 0.0, 1.0])]);
        let message = encoder.encode(answer, &model).unwrap();
        assert_eq!(message.prediction, Some(Prediction::Number(2.0)));
        let error = PredictBatchDecoder.decode(batch("", vec![row("", features)]), &model);
        let text = "the model takes one row at a time: use Predict";
        assert_eq!(error.unwrap_err().to_string(), text);
    }
}

#[test]
fn the_error_for_an_unsuitable_model_names_another_method() {
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
            "`features` need an input of whole numbers, FP32 or FP64, and the input of this model is BYTES: use ModelInfer",
        ),
        (
            vec![spec("x", ElementType::Fp32, &[-1, -1, -1])],
            "`features`: a row has more than one variable dimension, so its elements do not \
             determine a shape",
        ),
    ] {
        let error = PredictRowDecoder
            .decode(row("", &[1.0]), &model(inputs, Vec::new()))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn predictions_equal_those_over_rest() {
    let p = || spec("p", ElementType::Fp32, &[-1, 2]);
    let scores = || floats("p", &[1, 2], &[0.75, 0.25]);
    let text = |shape| spec("t", ElementType::Bytes, shape);
    let whole = |name, shape| spec(name, ElementType::Int64, shape);
    let value = |shape| spec("v", ElementType::Fp32, shape);
    let red = Prediction::Label("red".to_owned());
    let cases = [
        (
            vec![p(), value(&[-1]), text(&[-1])],
            vec![scores(), strings("t", &[1], &["red"])],
            Some(red.clone()),
            &[0.75, 0.25][..],
        ),
        (
            vec![p(), text(&[-1, 2])],
            vec![scores(), strings("t", &[1, 2], &["red", "blue"])],
            Some(red),
            &[0.75, 0.25],
        ),
        (
            vec![whole("class", &[-1]), p()],
            vec![integers("class", &[1], &[2]), scores()],
            Some(Prediction::Number(2.0)),
            &[0.75, 0.25],
        ),
        (
            vec![value(&[-1, 1]), whole("remark", &[-1])],
            vec![floats("v", &[1, 1], &[0.75])],
            Some(Prediction::Number(0.75)),
            &[],
        ),
        (
            vec![p()],
            vec![scores()],
            Some(Prediction::Number(0.0)),
            &[0.75, 0.25],
        ),
        // An FP16 output, and a prediction that is `null` in JSON.
        (
            vec![spec("h", ElementType::Fp16, &[-1])],
            vec![tensor("h", ElementType::Fp16, &[1], &[0, 0x3c])],
            Some(Prediction::Number(1.0)),
            &[],
        ),
        (
            vec![value(&[-1, -1])],
            vec![floats("v", &[1, 0], &[])],
            None,
            &[],
        ),
    ];
    for (specs, outputs, prediction, probabilities) in cases {
        let model = pairs(specs);
        let (_, encoder) = PredictRowDecoder
            .decode(row("", &[0.0; 2]), &model)
            .unwrap();
        let message = encoder.encode(response(outputs), &model).unwrap();
        assert_eq!(message.prediction, prediction);
        assert_eq!(message.probabilities, probabilities);
    }
    for (specs, outputs, kind) in [
        (vec![], vec![], ErrorKind::Handler),
        (vec![p()], vec![], ErrorKind::Handler),
        (
            vec![text(&[-1])],
            vec![tensor("t", ElementType::Bytes, &[1], b"\x01\0\0\0\xff")],
            ErrorKind::InvalidRequest,
        ),
        (
            vec![p()],
            vec![floats("p", &[2, 2], &[0.0; 4])],
            ErrorKind::InvalidRequest,
        ),
        (
            vec![value(&[-1, 2, 2])],
            vec![floats("v", &[1, 2, 2], &[0.0; 4])],
            ErrorKind::InvalidRequest,
        ),
    ] {
        let model = pairs(specs);
        let (_, encoder) = PredictRowDecoder
            .decode(row("", &[0.0; 2]), &model)
            .unwrap();
        let error = encoder.encode(response(outputs), &model).unwrap_err();
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
    let (request, encoder) = PredictBatchDecoder.decode(message, &classifier()).unwrap();
    assert_eq!(
        request.inputs,
        [floats("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0])]
    );
    let answer = response(vec![floats("p", &[2, 2], &[0.0, 1.0, 1.0, 0.0])]);
    let responses = encoder.encode(answer, &classifier()).unwrap().responses;
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
fn classes_are_named_if_the_client_asks() {
    let mut model = classifier();
    let names = ["setosa", "versicolor", "virginica"].map(str::to_owned);
    model.class_labels.insert("p".to_owned(), names.to_vec());
    let answer = || response(vec![floats("p", &[1, 3], &[0.25, 0.5, 0.25])]);
    let mut asking = row("", &[1.0, 2.0]);
    asking.class_names = true;
    let (_, encoder) = PredictRowDecoder.decode(asking.clone(), &model).unwrap();
    let message = encoder.encode(answer(), &model).unwrap();
    let label = Prediction::Label("versicolor".to_owned());
    assert_eq!(message.prediction, Some(label.clone()));
    assert_eq!(message.probabilities, [0.25, 0.5, 0.25]);
    assert_eq!(message.class_names, names);

    let mut whole = batch("", vec![row("", &[1.0, 2.0])]);
    whole.class_names = true;
    for message in [whole, batch("", vec![asking])] {
        let (_, encoder) = PredictBatchDecoder.decode(message, &model).unwrap();
        let responses = encoder.encode(answer(), &model).unwrap().responses;
        assert_eq!(responses[0].prediction, Some(label.clone()));
        assert_eq!(responses[0].class_names, names);
    }
    let (_, encoder) = PredictRowDecoder
        .decode(row("", &[1.0, 2.0]), &model)
        .unwrap();
    let message = encoder.encode(answer(), &model).unwrap();
    assert_eq!(message.prediction, Some(Prediction::Number(1.0)));
    assert!(message.class_names.is_empty());
}

#[test]
fn an_invalid_row_is_removed_completely() {
    let model = model(vec![spec("x", ElementType::Int8, &[-1, -1])], Vec::new());
    let rows = [&[1.0, 0.5][..], &[1.0, 2.0], &[3.0], &[3.0, 4.0]];
    let message = batch("", rows.iter().map(|features| row("", features)).collect());
    let (request, _) = PredictBatchDecoder.decode(message, &model).unwrap();
    let expected = tensor("x", ElementType::Int8, &[2, 2], &[1, 2, 3, 4]);
    assert_eq!(request.inputs, [expected]);
}

#[test]
fn a_batch_without_a_valid_row_is_rejected() {
    for (requests, text) in [
        (vec![], "the batch is empty"),
        (
            vec![row("", &[]); 2],
            "no row of the batch is valid; row 0: `features`: a row takes 2 elements, not 0",
        ),
        (
            vec![row("", &[]); 65_537],
            "the batch has 65537 rows, more than the limit of 65536: send several",
        ),
    ] {
        let error = PredictBatchDecoder
            .decode(batch("", requests), &classifier())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert_eq!(error.to_string(), text);
    }
}
