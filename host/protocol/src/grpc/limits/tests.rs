//! Tests of messages at their limits and beyond, compared with prost's results.

use super::layout::LAYOUTS;
use super::*;
use crate::grpc::message::inference::{self, ModelInferRequest};
use crate::grpc::message::prediction;
use crate::grpc::message::tensorflow::{self as tf, serving};
use proptest::prelude::*;
use prost::Message;

const LIMIT: usize = 256 << 20;

fn whole<M: Name>(message: &[u8]) -> Result<usize, LimitError> {
    match measure::<M>(message, LIMIT, usize::MAX)? {
        Measured::Whole(bytes) => Ok(bytes),
        Measured::TooLong => panic!("all the time there is was granted"),
    }
}

/// Encodes a length-delimited field.
fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(number << 3 | LENGTH, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// Encodes content nested in these fields, the outermost first.
fn within(path: &[u64], content: &[u8]) -> Vec<u8> {
    let path = path.iter().rev();
    path.fold(content.to_vec(), |content, &number| field(number, &content))
}

#[test]
fn every_layout_is_at_least_as_large_as_its_message() {
    macro_rules! check {
        ($($message:ty),+ $(,)?) => {
            $(
                let thought = LAYOUTS.of::<$message>().size();
                let actual = size_of::<$message>();
                assert!(thought >= actual, "{}: {thought} < {actual}", <$message>::NAME);
            )+
        };
    }
    check!(
        ModelInferRequest,
        inference::InferParameter,
        inference::InferTensorContents,
        inference::RepositoryModelLoadRequest,
        inference::ModelRepositoryParameter,
        inference::TraceSettingRequest,
        inference::LogSettingsRequest,
        serving::ModelSpec,
        serving::PredictRequest,
        serving::Input,
        serving::InferenceTask,
        serving::MultiInferenceRequest,
        serving::ClassificationRequest,
        serving::GetModelMetadataRequest,
        serving::ModelConfig,
        serving::ModelServerConfig,
        serving::ReloadConfigRequest,
        tf::TensorProto,
        tf::TensorShapeProto,
        tf::Example,
        tf::Features,
        tf::Feature,
        prediction::PredictRequest,
        prediction::BatchPredictRequest,
    );
}

/// A repeated field whose maximum number of elements is tested.
struct Case {
    name: &'static str,
    measure: fn(&[u8]) -> Result<usize, LimitError>,
    /// Builds a message with this many elements, each as small as possible.
    message: fn(usize) -> Vec<u8>,
    /// The maximum number of elements; `None` if only the size limits them.
    most: Option<usize>,
}

const CASES: [Case; 24] = [
    Case {
        name: "inputs",
        measure: whole::<ModelInferRequest>,
        message: |n| field(5, &[]).repeat(n),
        most: Some(1024),
    },
    Case {
        name: "outputs",
        measure: whole::<ModelInferRequest>,
        message: |n| field(6, &[]).repeat(n),
        most: Some(1024),
    },
    Case {
        name: "raw_input_contents",
        measure: whole::<ModelInferRequest>,
        message: |n| field(7, &[]).repeat(n),
        most: Some(1024),
    },
    Case {
        name: "parameters",
        measure: whole::<ModelInferRequest>,
        message: |n| field(4, &[]).repeat(n),
        most: Some(288),
    },
    Case {
        name: "parameters of an input",
        measure: whole::<ModelInferRequest>,
        message: |n| field(5, &field(4, &[]).repeat(n)),
        most: Some(288),
    },
    Case {
        name: "packed shape",
        measure: whole::<ModelInferRequest>,
        message: |n| within(&[5, 3], &vec![1; n]),
        most: Some(16),
    },
    Case {
        name: "unpacked shape",
        measure: whole::<ModelInferRequest>,
        message: |n| within(&[5], &[3 << 3, 1].repeat(n)),
        most: Some(16),
    },
    Case {
        name: "packed int64_contents",
        measure: whole::<ModelInferRequest>,
        message: |n| within(&[5, 5, 3], &vec![1; n]),
        most: None,
    },
    Case {
        name: "unpacked int64_contents",
        measure: whole::<ModelInferRequest>,
        message: |n| within(&[5, 5], &[3 << 3, 1].repeat(n)),
        most: None,
    },
    Case {
        name: "bytes_contents",
        measure: whole::<ModelInferRequest>,
        message: |n| within(&[5, 5], &field(8, &[]).repeat(n)),
        most: None,
    },
    Case {
        name: "load's parameters",
        measure: whole::<inference::RepositoryModelLoadRequest>,
        message: |n| field(3, &[]).repeat(n),
        most: Some(288),
    },
    Case {
        name: "settings",
        measure: whole::<inference::LogSettingsRequest>,
        message: |n| field(1, &[]).repeat(n),
        most: Some(1024),
    },
    Case {
        name: "values of a setting",
        measure: whole::<inference::TraceSettingRequest>,
        message: |n| within(&[1, 2], &field(1, &[]).repeat(n)),
        most: Some(1024),
    },
    Case {
        name: "inputs of TensorFlow Serving",
        measure: whole::<serving::PredictRequest>,
        message: |n| field(2, &[]).repeat(n),
        most: Some(1024),
    },
    Case {
        name: "output_filter",
        measure: whole::<serving::PredictRequest>,
        message: |n| field(3, &[]).repeat(n),
        most: Some(1024),
    },
    Case {
        name: "dim",
        measure: whole::<serving::PredictRequest>,
        message: |n| within(&[2, 2, 2], &field(2, &[]).repeat(n)),
        most: Some(16),
    },
    Case {
        name: "string_val",
        measure: whole::<serving::PredictRequest>,
        message: |n| within(&[2, 2], &field(8, &[]).repeat(n)),
        most: None,
    },
    Case {
        name: "examples",
        measure: whole::<serving::ClassificationRequest>,
        message: |n| within(&[2, 1], &field(1, &[]).repeat(n)),
        most: None,
    },
    Case {
        name: "features of an example",
        measure: whole::<serving::RegressionRequest>,
        message: |n| within(&[2, 1, 1, 1], &field(1, &[]).repeat(n)),
        most: Some(1024),
    },
    Case {
        name: "tasks",
        measure: whole::<serving::MultiInferenceRequest>,
        message: |n| field(1, &[]).repeat(n),
        most: Some(1024),
    },
    Case {
        name: "metadata_field",
        measure: whole::<serving::GetModelMetadataRequest>,
        message: |n| field(2, &[]).repeat(n),
        most: Some(1024),
    },
    Case {
        name: "configs",
        measure: whole::<serving::ReloadConfigRequest>,
        message: |n| within(&[1, 1], &field(1, &[]).repeat(n)),
        most: Some(1024),
    },
    Case {
        name: "metric_names",
        measure: whole::<serving::ReloadConfigRequest>,
        message: |n| field(2, &[]).repeat(n),
        most: Some(1024),
    },
    Case {
        name: "rows of the predict API",
        measure: whole::<prediction::BatchPredictRequest>,
        message: |n| field(1, &[]).repeat(n),
        most: Some(65_536),
    },
];

#[test]
fn lists_have_limits_on_their_elements_and_size() {
    for Case {
        name,
        measure,
        message,
        most,
    } in CASES
    {
        let refused = match most {
            Some(most) => {
                let fits = measure(&message(most));
                assert!(fits.is_ok(), "{name}: {fits:?}");
                measure(&message(most + 1))
            }
            None => {
                let fits = measure(&message(10_000));
                assert!(fits.is_ok(), "{name}: {fits:?}");
                // Less than the 64 MiB that a message may have.
                measure(&message(12_000_000))
            }
        };
        let text = refused.expect_err(name).to_string();
        let kind = refused.map_err(|error| error.kind());
        match most {
            Some(most) => {
                assert_eq!(kind, Err(ErrorKind::InvalidRequest), "{name}");
                assert!(text.contains(&most.to_string()), "{name}: {text}");
            }
            None => {
                assert_eq!(kind, Err(ErrorKind::TooLarge), "{name}");
                assert!(text.contains(&LIMIT.to_string()), "{name}: {text}");
            }
        }
    }
}

#[test]
fn a_decoded_message_is_never_larger_than_measured() {
    // Every list, map and string of these messages is included in the sum.
    let inputs = (0..100).map(|position| {
        let name = format!("input-{position}");
        let parameter = inference::InferParameter::default();
        inference::model_infer_request::InferInputTensor {
            name: name.clone(),
            datatype: "FP32".to_owned(),
            shape: vec![1, 3],
            parameters: [(name, parameter)].into(),
            contents: Some(inference::InferTensorContents {
                fp32_contents: vec![1.0; 3],
                ..Default::default()
            }),
        }
    });
    let message = ModelInferRequest {
        inputs: inputs.collect(),
        ..ModelInferRequest::default()
    };
    let entry = size_of::<(String, inference::InferParameter)>();
    let one = size_of::<inference::model_infer_request::InferInputTensor>()
        + "input-0".len() * 2
        + "FP32".len()
        + 2 * size_of::<i64>()
        + MAP_NODE_ENTRIES * entry
        + 2 * 3 * size_of::<f32>();
    let measured = whole::<ModelInferRequest>(&message.encode_to_vec()).unwrap();
    assert!(measured >= 128 * one, "{measured} < {}", 128 * one);
    assert!(measured <= 400 * one, "{measured} > {}", 400 * one);

    let raw = ModelInferRequest {
        raw_input_contents: vec![vec![0; 60 << 20].into()],
        ..ModelInferRequest::default()
    };
    // A slice of the message, which costs no effort.
    let measured = measure::<ModelInferRequest>(&raw.encode_to_vec(), 1000, 1000);
    assert!(matches!(measured, Ok(Measured::Whole(_))), "{measured:?}");
}

/// Generates bytes that are often fields of a request.
fn some_fields() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![1u8..8, Just(15u8)];
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..12),
        (1u64..9, proptest::collection::vec(0u8..4, 0..6))
            .prop_map(|(number, content)| field(number, &content)),
    ];
    let one = (number, 0u8..6, content).prop_map(|(number, wire, content)| match wire {
        2.. => field(number.into(), &content),
        wire => [&[number << 3 | wire][..], &content].concat(),
    });
    proptest::collection::vec(one, 0..4).prop_map(|fields| fields.concat())
}

proptest! {
    #![proptest_config(crate::fixture::cases())]

    #[test]
    fn messages_that_prost_decodes_are_never_malformed(message in some_fields()) {
        if ModelInferRequest::decode(&message[..]).is_ok() {
            let measured = whole::<ModelInferRequest>(&message);
            prop_assert!(measured != Err(LimitError::Malformed), "{:?}", message);
        }
        if serving::PredictRequest::decode(&message[..]).is_ok() {
            let measured = whole::<serving::PredictRequest>(&message);
            prop_assert!(measured != Err(LimitError::Malformed), "{:?}", message);
        }
    }
}

#[test]
fn measuring_stops_when_its_effort_is_used_up() {
    let lists = field(5, &field(5, &field(6, &vec![0; 1 << 20])));
    let unknown = [9 << 3, 1].repeat(1 << 20);
    let groups = [15 << 3 | 3, 15 << 3 | 4].repeat(1 << 20);
    for message in [lists, unknown, groups] {
        let measured = measure::<ModelInferRequest>(&message, LIMIT, 256 << 10);
        assert_eq!(measured, Ok(Measured::TooLong));
    }
}

#[test]
fn prost_and_the_walk_reject_and_skip_the_same_fields() {
    let nested = |depth: usize| [vec![15 << 3 | 3; depth], vec![15 << 3 | 4; depth]].concat();
    for (message, is_message) in [
        (vec![], true),
        (field(1, b"m"), true),
        // Fields that no schema has, of every wire type.
        (
            [
                vec![15 << 3, 1],
                [vec![15 << 3 | 1], vec![0; 8]].concat(),
                field(15, b"x"),
                [vec![15 << 3 | 5], vec![0; 4]].concat(),
                nested(3),
            ]
            .concat(),
            true,
        ),
        (nested(90), true),
        (nested(1000), false),
        (vec![15 << 3 | 3], false),
        (vec![15 << 3 | 4], false),
        (vec![15 << 3 | 6], false),
        // A string for a number, a number for a string, and truncated fields.
        (vec![1 << 3, 1], false),
        (field(5, &[3 << 3 | 1, 0, 0, 0, 0, 0, 0, 0, 0]), false),
        (vec![1 << 3 | 2, 5, b'm'], false),
        (vec![1 << 3 | 2], false),
        (vec![0xff; 11], false),
    ] {
        let decoded = ModelInferRequest::decode(&message[..]).is_ok();
        assert_eq!(decoded, is_message, "{message:?}");
        assert_eq!(
            whole::<ModelInferRequest>(&message).is_ok(),
            is_message,
            "{message:?}"
        );
    }
}

#[test]
fn copied_bytes_in_a_model_configuration_are_counted() {
    let any = field(1, &field(2, &field(2, &vec![0; 1 << 20])));
    let measured = whole::<serving::ReloadConfigRequest>(&any).unwrap();
    assert!(measured >= 1 << 20, "{measured}");
}
