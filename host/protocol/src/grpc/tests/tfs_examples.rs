//! Tests of TensorFlow Serving's examples: Classify, Regress and MultiInference.

use super::tensorflow::feature::Kind;
use super::tensorflow::serving::inference_result::Result as TaskResult;
use super::tensorflow::serving::{
    ClassificationRequest, ExampleList, ExampleListWithContext, InferenceTask, Input, ModelSpec,
    MultiInferenceRequest, RegressionRequest, input,
};
use super::tensorflow::{BytesList, Example, Feature, Features, FloatList, Int64List};
use super::*;
use crate::error::ErrorKind;
use crate::grpc::tfs;

const LIMIT: usize = 256;

fn list_of(values: &[f32]) -> Kind {
    Kind::FloatList(FloatList {
        value: values.to_vec(),
    })
}

fn example<const COUNT: usize>(features: [(&str, Kind); COUNT]) -> Example {
    let feature = features.map(|(name, kind)| (name.to_owned(), Feature { kind: Some(kind) }));
    Example {
        features: Some(Features {
            feature: feature.into(),
        }),
    }
}

fn list(examples: Vec<Example>) -> Option<Input> {
    Some(Input {
        kind: Some(input::Kind::ExampleList(ExampleList { examples })),
    })
}

fn classify(input: Option<Input>) -> ClassificationRequest {
    ClassificationRequest {
        model_spec: None,
        input,
    }
}

/// A model whose outputs are classes.
fn classes() -> ModelDescription {
    pairs(vec![
        spec("names", ElementType::Bytes, &[-1, 2]),
        spec("p", ElementType::Fp32, &[-1, 2]),
    ])
}

fn two_rows() -> Option<Input> {
    list(vec![
        example([("x", list_of(&[1.0, 2.0])), ("unused", list_of(&[]))]),
        example([("x", list_of(&[3.0, 4.0]))]),
    ])
}

#[test]
fn features_become_rows_of_the_input_with_their_name() {
    let (request, encoder) = decode_classify(classify(two_rows()), &classes(), LIMIT).unwrap();
    assert_eq!(
        request.inputs,
        [floats("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0])]
    );
    assert_eq!(request.outputs, ["names", "p"]);
    let answer = response(vec![
        strings("names", &[2, 2], &["a", "b", "c", "d"]),
        floats("p", &[2, 2], &[0.25, 0.75, 1.0, 0.0]),
    ]);
    let result = encoder.encode(answer, &classes()).unwrap().result.unwrap();
    let shown = result.classifications.iter().flat_map(|row| &row.classes);
    let shown: Vec<_> = shown
        .map(|class| (class.label.as_str(), class.score))
        .collect();
    assert_eq!(shown, [("a", 0.25), ("b", 0.75), ("c", 1.0), ("d", 0.0)]);
    assert_eq!(result.classifications.len(), 2);
}

#[test]
fn a_context_supplies_missing_features() {
    let model = model(
        vec![
            spec("x", ElementType::Int32, &[-1]),
            spec("t", ElementType::Bytes, &[-1, 1]),
        ],
        vec![spec("p", ElementType::Fp64, &[-1])],
    );
    let ints = |value: i64| Kind::Int64List(Int64List { value: vec![value] });
    let text = Kind::BytesList(BytesList {
        value: vec![Bytes::from_static(b"ab")],
    });
    let kind = input::Kind::ExampleListWithContext(ExampleListWithContext {
        examples: vec![example([("x", ints(5))]), example([])],
        context: Some(example([("x", ints(-1)), ("t", text)])),
    });
    let input = Some(Input { kind: Some(kind) });
    let (request, _) = decode_classify(classify(input.clone()), &model, LIMIT).unwrap();
    let x = tensor(
        "x",
        ElementType::Int32,
        &[2],
        &[5, 0, 0, 0, 255, 255, 255, 255],
    );
    assert_eq!(request.inputs, [x, strings("t", &[2, 1], &["ab", "ab"])]);
    let error = decode_classify(classify(input), &model, 19).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn optional_inputs_may_have_no_feature() {
    let mut model = classes();
    let extra = spec("extra", ElementType::Fp32, &[-1]);
    model.signature.inputs.push(TensorSpec {
        optional: true,
        ..extra
    });
    let (request, _) = decode_classify(classify(two_rows()), &model, LIMIT).unwrap();
    assert_eq!(request.inputs.len(), 1);
}

#[test]
fn an_example_has_every_feature_with_the_elements_of_a_row() {
    let int = Kind::Int64List(Int64List { value: vec![1, 2] });
    for (input, text) in [
        (None, "the request has no examples"),
        (list(vec![]), "the request has no examples"),
        (list(vec![example([])]), "example 0 has no feature `x`"),
        (
            list(vec![example([("x", list_of(&[1.0]))])]),
            "example 0, feature `x`: a row takes 2 elements, not 1",
        ),
        (
            list(vec![example([("x", int)])]),
            "example 0, feature `x`: FP32 belongs in a `float_list`",
        ),
        (
            list(vec![
                example([("x", list_of(&[1.0, 2.0]))]),
                example([("x", list_of(&[]))]),
            ]),
            "example 1, feature `x`: it has 0 elements, in the first example it has 2",
        ),
    ] {
        let error = decode_classify(classify(input), &classes(), LIMIT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn classes_equal_those_over_rest() {
    let p = |shape| spec("p", ElementType::Fp64, shape);
    let scores = |dimensions: &[u32], numbers: [f64; 4]| {
        let content = numbers.map(f64::to_le_bytes).concat();
        tensor("p", ElementType::Fp64, dimensions, &content)
    };
    let label = spec("l", ElementType::Bytes, &[-1]);
    let cases = [
        // Without labels, the label of a class is its index.
        (
            vec![p(&[-1, 2])],
            vec![scores(&[2, 2], [0.5, 2.0, 1.0, 0.0])],
            vec![vec![("0", 0.5), ("1", 2.0)], vec![("0", 1.0), ("1", 0.0)]],
        ),
        // One label per row, for the best class only.
        (
            vec![p(&[-1, 2]), label.clone()],
            vec![
                scores(&[2, 2], [0.5, 2.0, 1.0, 0.0]),
                strings("l", &[2], &["b", "a"]),
            ],
            vec![vec![("b", 2.0)], vec![("a", 1.0)]],
        ),
    ];
    for (specs, outputs, expected) in cases {
        let model = pairs(specs);
        let (_, encoder) = decode_classify(classify(two_rows()), &model, LIMIT).unwrap();
        let result = encoder.encode(response(outputs), &model).unwrap().result;
        let rows = result.unwrap().classifications;
        let shown = rows.iter().map(|row| {
            let classes = row.classes.iter();
            let pairs = classes.map(|class| (class.label.as_str(), class.score));
            pairs.collect::<Vec<_>>()
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }
    let labels = pairs(vec![label]);
    assert!(decode_classify(classify(two_rows()), &labels, LIMIT).is_err());
    let mut alone = pairs(vec![p(&[1, 2])]);
    alone.max_batch_size = 0;
    let error = decode_classify(classify(two_rows()), &alone, LIMIT).unwrap_err();
    let text = "axis 0 of this model is not a batch axis, so it has no rows: use Predict";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_single_label_belongs_to_the_class_with_the_greatest_score() {
    let model = pairs(vec![
        spec("name", ElementType::Bytes, &[-1]),
        spec("p", ElementType::Fp32, &[-1, 3]),
    ]);
    let (_, encoder) = decode_classify(classify(two_rows()), &model, LIMIT).unwrap();
    let scores = [0.25, 0.5, 0.25, f32::NAN, -2.0, -1.0].map(f32::to_le_bytes);
    let answer = response(vec![
        strings("name", &[2], &["a", "b"]),
        tensor("p", ElementType::Fp32, &[2, 3], &scores.concat()),
    ]);
    let result = encoder.encode(answer, &model).unwrap().result.unwrap();
    let rows = result.classifications.iter();
    let found: Vec<_> = rows
        .map(|row| match row.classes.as_slice() {
            [class] => (class.label.as_str(), class.score),
            several => panic!("{several:?}"),
        })
        .collect();
    assert_eq!(found, [("a", 0.5), ("b", -1.0)]);
}

#[test]
fn all_classes_have_the_names_that_the_model_has_for_them() {
    let mut model = pairs(vec![
        spec("name", ElementType::Bytes, &[-1]),
        spec("p", ElementType::Fp32, &[-1, 2]),
    ]);
    let names = ["no", "yes"].map(str::to_owned).into();
    model.class_labels.insert("p".to_owned(), names);
    let (request, encoder) = decode_classify(classify(two_rows()), &model, LIMIT).unwrap();
    assert_eq!(request.outputs, ["p"]);
    let answer = response(vec![floats("p", &[2, 2], &[0.25, 0.75, 1.0, 0.0])]);
    let result = encoder.encode(answer, &model).unwrap().result.unwrap();
    let shown = result.classifications.iter().flat_map(|row| &row.classes);
    let shown: Vec<_> = shown
        .map(|class| (class.label.as_str(), class.score))
        .collect();
    assert_eq!(
        shown,
        [("no", 0.25), ("yes", 0.75), ("no", 1.0), ("yes", 0.0)]
    );
}

#[test]
fn the_name_selects_among_several_outputs() {
    let float = |name| spec(name, ElementType::Fp32, &[-1, 2]);
    let named = pairs(vec![float("logits"), float("scores")]);
    let (request, _) = decode_classify(classify(two_rows()), &named, LIMIT).unwrap();
    assert_eq!(request.outputs, ["scores"]);
    let unnamed = pairs(vec![float("a"), float("b")]);
    assert!(decode_classify(classify(two_rows()), &unnamed, LIMIT).is_err());
}

#[test]
fn a_response_that_does_not_match_the_examples_is_an_error() {
    let (_, encoder) = decode_classify(classify(two_rows()), &classes(), LIMIT).unwrap();
    let p = || floats("p", &[2, 2], &[0.0; 4]);
    for (outputs, kind) in [
        (vec![p()], ErrorKind::Handler),
        (
            vec![p(), strings("names", &[1, 2], &["a", "b"])],
            ErrorKind::InvalidRequest,
        ),
        (
            vec![p(), strings("names", &[2, 3], &["a"; 6])],
            ErrorKind::InvalidRequest,
        ),
        (
            vec![
                strings("names", &[2, 2], &["a"; 4]),
                strings("p", &[2, 2], &["a"; 4]),
            ],
            ErrorKind::Handler,
        ),
        (
            vec![
                p(),
                tensor(
                    "names",
                    ElementType::Bytes,
                    &[2, 2],
                    b"\x01\0\0\0\xff\0\0\0\0\0\0\0\0\0\0\0\0",
                ),
            ],
            ErrorKind::InvalidRequest,
        ),
    ] {
        let encoded = encoder.clone().encode(response(outputs), &classes());
        let error = encoded.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

#[test]
fn a_regression_has_one_number_per_example() {
    let model = pairs(vec![spec("v", ElementType::Fp32, &[-1, 1])]);
    let message = RegressionRequest {
        model_spec: None,
        input: two_rows(),
    };
    let (request, encoder) = decode_regress(message, &model, LIMIT).unwrap();
    assert_eq!(request.outputs, ["v"]);
    let answer = response(vec![floats("v", &[2, 1], &[1.5, -2.0])]);
    let result = encoder
        .clone()
        .encode(answer, &model)
        .unwrap()
        .result
        .unwrap();
    let values: Vec<f32> = result.regressions.iter().map(|row| row.value).collect();
    assert_eq!(values, [1.5, -2.0]);
    let wide = response(vec![floats("v", &[2, 2], &[0.0; 4])]);
    assert!(encoder.encode(wide, &model).is_err());
}

#[test]
fn several_tasks_read_one_response() {
    let model = pairs(vec![spec("v", ElementType::Fp32, &[-1])]);
    let task = |method: &str, name: &str| InferenceTask {
        model_spec: Some(ModelSpec {
            name: name.to_owned(),
            ..ModelSpec::default()
        }),
        method_name: format!("tensorflow/serving/{method}"),
    };
    let message = |tasks| MultiInferenceRequest {
        tasks,
        input: two_rows(),
    };
    let both = message(vec![task("classify", "wine"), task("regress", "wine")]);
    assert_eq!(tfs::multi_target(&both).unwrap().model.as_str(), "wine");
    let (request, encoder) = decode_multi(both, &model, LIMIT).unwrap();
    assert_eq!(request.outputs, ["v"]);
    let answer = response(vec![floats("v", &[2], &[1.0, 2.0])]);
    let results = encoder.encode(answer, &model).unwrap().results;
    let kinds: Vec<_> = results.iter().map(|result| &result.result).collect();
    assert!(matches!(
        kinds[0],
        Some(TaskResult::ClassificationResult(_))
    ));
    assert!(matches!(kinds[1], Some(TaskResult::RegressionResult(_))));

    for tasks in [vec![], vec![task("regress", "a"), task("regress", "b")]] {
        let error = tfs::multi_target(&message(tasks)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    let other = message(vec![task("predict", "wine")]);
    assert!(decode_multi(other, &model, LIMIT).is_err());
    let many = message(vec![task("regress", "wine"); 9]);
    assert!(decode_multi(many, &model, LIMIT).is_err());
}
