//! Tests of the Open Inference Protocol.

use super::inference::infer_parameter::ParameterChoice;
use super::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, RepositoryIndexRequest,
};
use super::*;
use crate::call::{IndexEntry, InferResponse, VersionChoice, VersionState};
use crate::error::ErrorKind;
use crate::grpc::v2::ModelInferDecoder;
use crate::grpc::v2::{self, ModelInferEncoder};
use crate::v2::IndexFilter;
use wisp_tensor::{Parameter, ParameterValue};

fn parameter(choice: Option<ParameterChoice>) -> InferParameter {
    InferParameter {
        parameter_choice: choice,
    }
}

fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        ..InferInputTensor::default()
    }
}

fn typed(datatype: &str, shape: &[i64], contents: InferTensorContents) -> ModelInferRequest {
    let contents = Some(contents);
    ModelInferRequest {
        inputs: vec![InferInputTensor {
            contents,
            ..input("x", datatype, shape)
        }],
        ..ModelInferRequest::default()
    }
}

fn raw(inputs: Vec<InferInputTensor>, raw: &[&'static [u8]]) -> ModelInferRequest {
    ModelInferRequest {
        inputs,
        raw_input_contents: raw.iter().map(|raw| Bytes::from_static(raw)).collect(),
        ..ModelInferRequest::default()
    }
}

fn decode(message: ModelInferRequest) -> Result<(InferRequest, ModelInferEncoder), CodecError> {
    ModelInferDecoder.decode(message, &wine())
}

fn error_text(message: ModelInferRequest) -> String {
    let error = decode(message).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    error.to_string()
}

#[test]
fn an_empty_version_is_the_default_and_an_unknown_one_is_not_found() {
    let target = v2::target("wine", "").unwrap();
    assert_eq!(target.version, VersionChoice::Default);
    for (name, version, text) in [
        ("wine", "0", "unknown version: `wine` has no version `0`"),
        ("../w", "1", "unknown model: `../w`"),
        ("", "", "unknown model: ``"),
    ] {
        let error = v2::target(name, version).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_version_that_is_no_number_is_invalid_in_tritons_words() {
    for version in ["wrong_specification", "-1", "1.0", " 1", "+1", "é"] {
        let error = v2::target("wine", version).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{version}");
        let expected = format!(
            "failed to get model version from specified version string '{version}', version should be an integral value > 0"
        );
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(
        v2::target("wine", "01").map(|target| target.version),
        Ok(VersionChoice::Number(Version::FIRST))
    );
}

#[test]
fn every_datatype_with_a_field_is_read_from_it() {
    let contents = InferTensorContents::default;
    let cases = [
        (
            "BOOL",
            InferTensorContents {
                bool_contents: vec![true, false],
                ..contents()
            },
            vec![1, 0],
        ),
        (
            "UINT8",
            InferTensorContents {
                uint_contents: vec![0, 255],
                ..contents()
            },
            vec![0, 255],
        ),
        (
            "INT8",
            InferTensorContents {
                int_contents: vec![-1, 127],
                ..contents()
            },
            vec![255, 127],
        ),
        (
            "UINT16",
            InferTensorContents {
                uint_contents: vec![1, 65535],
                ..contents()
            },
            vec![1, 0, 255, 255],
        ),
        (
            "INT16",
            InferTensorContents {
                int_contents: vec![-2, 1],
                ..contents()
            },
            vec![254, 255, 1, 0],
        ),
        (
            "UINT32",
            InferTensorContents {
                uint_contents: vec![1, 2],
                ..contents()
            },
            vec![1, 0, 0, 0, 2, 0, 0, 0],
        ),
        (
            "INT32",
            InferTensorContents {
                int_contents: vec![1, -1],
                ..contents()
            },
            vec![1, 0, 0, 0, 255, 255, 255, 255],
        ),
        (
            "UINT64",
            InferTensorContents {
                uint64_contents: vec![1, u64::MAX],
                ..contents()
            },
            [1, u64::MAX].map(u64::to_le_bytes).concat(),
        ),
        (
            "INT64",
            InferTensorContents {
                int64_contents: vec![1, i64::MIN],
                ..contents()
            },
            [1, i64::MIN].map(i64::to_le_bytes).concat(),
        ),
        (
            "FP32",
            InferTensorContents {
                fp32_contents: vec![1.5, f32::NAN],
                ..contents()
            },
            [1.5, f32::NAN].map(f32::to_le_bytes).concat(),
        ),
        (
            "FP64",
            InferTensorContents {
                fp64_contents: vec![1.5, -0.0],
                ..contents()
            },
            [1.5, -0.0].map(f64::to_le_bytes).concat(),
        ),
        (
            "BYTES",
            InferTensorContents {
                bytes_contents: vec![Bytes::from_static(b"a\xff"), Bytes::new()],
                ..contents()
            },
            vec![2, 0, 0, 0, b'a', 255, 0, 0, 0, 0],
        ),
    ];
    for (datatype, contents, expected) in cases {
        let (request, _) = decode(typed(datatype, &[2], contents)).unwrap();
        assert_eq!(request.inputs[0].tensor.content(), &expected, "{datatype}");
    }
}

#[test]
fn a_field_must_fit_the_datatype_and_shape() {
    let ints = |values: &[i32]| InferTensorContents {
        int_contents: values.to_vec(),
        ..InferTensorContents::default()
    };
    let uints = InferTensorContents {
        uint_contents: vec![256],
        ..InferTensorContents::default()
    };
    for (message, text) in [
        (
            typed("INT8", &[2], ints(&[0, 128])),
            "input `x`: element 1 of `int_contents` does not fit in INT8",
        ),
        (
            typed("INT16", &[1], ints(&[-32769])),
            "input `x`: element 0 of `int_contents` does not fit in INT16",
        ),
        (
            typed("UINT8", &[1], uints),
            "input `x`: element 0 of `uint_contents` does not fit in UINT8",
        ),
        (
            typed("INT32", &[3], ints(&[1])),
            "input `x`: shape [3] takes 3 elements, `int_contents` contains 1",
        ),
        (
            typed("INT32", &[1], ints(&[1, 2])),
            "input `x`: shape [1] takes 1 elements, `int_contents` contains 2",
        ),
        (
            typed("INT64", &[1], ints(&[1])),
            "input `x`: the elements of INT64 belong in `int64_contents`, not in `int_contents`",
        ),
        (
            typed("FP16", &[1], ints(&[1])),
            "input `x`: FP16 has no typed contents, send it in `raw_input_contents`",
        ),
        (
            typed("BF16", &[0], ints(&[])),
            "input `x`: BF16 has no typed contents, send it in `raw_input_contents`",
        ),
        (
            typed("fp32", &[1], ints(&[])),
            "input `x`: `fp32` is not a datatype",
        ),
        (
            typed("INT32", &[-1], ints(&[1])),
            "input `x`: dimension -1 of its shape is not a number from 0 to 4294967295",
        ),
    ] {
        assert_eq!(error_text(message), text);
    }
}

#[test]
fn unused_fields_may_be_absent_or_empty() {
    let empty = Some(InferTensorContents::default());
    let message = ModelInferRequest {
        inputs: vec![input("x", "INT32", &[0, 2])],
        ..ModelInferRequest::default()
    };
    assert_eq!(decode(message).unwrap().0.inputs[0].tensor.content(), "");
    let beside_raw = InferInputTensor {
        contents: empty,
        ..input("x", "UINT8", &[2])
    };
    let (request, _) = decode(raw(vec![beside_raw], &[b"ab"])).unwrap();
    assert_eq!(request.inputs[0].tensor.content(), "ab");
}

#[test]
fn raw_contents_are_required_for_all_inputs_or_none() {
    let x = || input("x", "UINT8", &[2]);
    let contents = Some(InferTensorContents {
        uint_contents: vec![1, 2],
        ..InferTensorContents::default()
    });
    for (message, text) in [
        (
            raw(vec![x(), input("t", "BYTES", &[0])], &[b"ab"]),
            "the request has 2 inputs and 1 elements of `raw_input_contents`: give one for each input, or none",
        ),
        (
            raw(vec![x()], &[b"ab", b""]),
            "the request has 1 inputs and 2 elements of `raw_input_contents`: give one for each input, or none",
        ),
        (
            raw(vec![], &[b"ab"]),
            "the request has 0 inputs and 1 elements of `raw_input_contents`: give one for each input, or none",
        ),
        (
            raw(vec![InferInputTensor { contents, ..x() }], &[b"ab"]),
            "input `x`: it has `contents` although the request has `raw_input_contents`: use one of them",
        ),
        (
            raw(vec![x()], &[b"abc"]),
            "input `x`: shape [2] of UINT8 takes 2 bytes, not 3",
        ),
        (
            raw(vec![input("t", "BYTES", &[1])], &[b"\x05\0\0\0ab"]),
            "input `t`: the length of BYTES element 0 reaches past the end of the tensor",
        ),
        (
            raw(vec![x(), x()], &[b"ab", b"ab"]),
            "input `x` is given twice",
        ),
        (
            raw(vec![x(), x(), x()], &[b"ab", b"ab", b"ab"]),
            "the model has 2 inputs, the request gives 3",
        ),
    ] {
        assert_eq!(error_text(message), text);
    }
}

#[test]
fn ids_and_names_have_a_length_limit() {
    let message = || raw(vec![input("x", "UINT8", &[1])], &[b"a"]);
    let mut named = message();
    named.id = "i".repeat(1024);
    assert_eq!(v2::echoed_id(&named), named.id);
    assert!(decode(named.clone()).is_ok());
    named.id.push('i');
    assert_eq!(v2::echoed_id(&named), "");
    let text = "the request's id is longer than 1024 bytes";
    assert_eq!(error_text(named), text);
    let mut parameters = message();
    let value = Some(ParameterChoice::BoolParam(true));
    parameters
        .parameters
        .insert("p".repeat(1025), parameter(value));
    let text = "the name of a parameter is longer than 1024 bytes";
    assert_eq!(error_text(parameters), text);
}

#[test]
fn reserved_and_tensor_parameters_are_not_passed_on() {
    let mut message = raw(vec![input("x", "UINT8", &[1])], &[b"a"]);
    message.inputs[0].parameters.insert(
        "binary_data_size".to_owned(),
        parameter(Some(ParameterChoice::Int64Param(1))),
    );
    for (name, choice) in [
        ("sequence_id", Some(ParameterChoice::Int64Param(7))),
        ("sequence_start", Some(ParameterChoice::BoolParam(true))),
        ("priority", Some(ParameterChoice::Uint64Param(u64::MAX))),
        ("timeout", Some(ParameterChoice::Int64Param(0))),
        ("triton_x", None),
        ("binary_data_output", None),
        ("headers", None),
    ] {
        message
            .parameters
            .insert(name.to_owned(), parameter(choice));
    }
    let own = Some(ParameterChoice::Uint64Param(5));
    message.parameters.insert("k".to_owned(), parameter(own));
    let large = Some(ParameterChoice::Uint64Param(u64::MAX));
    message.parameters.insert("l".to_owned(), parameter(large));
    let (request, _) = decode(message.clone()).unwrap();
    let expected = [
        ("k", ParameterValue::Int64(5)),
        ("l", ParameterValue::Uint64(u64::MAX)),
    ];
    let expected = expected.map(|(name, value)| Parameter {
        name: name.to_owned(),
        value,
    });
    assert_eq!(request.parameters, expected);

    message.parameters.insert("m".to_owned(), parameter(None));
    assert_eq!(error_text(message.clone()), "parameter `m` has no value");
    for number in 0..257 {
        let value = Some(ParameterChoice::BoolParam(true));
        message
            .parameters
            .insert(format!("a{number:03}"), parameter(value));
    }
    assert_eq!(error_text(message), "more than 256 parameters");
}

#[test]
fn a_reserved_parameter_has_a_value_of_its_kind() {
    let number = "an integer that is not negative";
    for (name, choice, expected) in [
        ("sequence_id", ParameterChoice::BoolParam(true), number),
        (
            "sequence_start",
            ParameterChoice::Int64Param(1),
            "true or false",
        ),
        ("priority", ParameterChoice::Int64Param(-1), number),
        (
            "timeout",
            ParameterChoice::StringParam("1".to_owned()),
            number,
        ),
    ] {
        let message = ModelInferRequest {
            parameters: [(name.to_owned(), parameter(Some(choice)))].into(),
            ..ModelInferRequest::default()
        };
        let text = error_text(message);
        let expected = format!("parameter `{name}` must be {expected}");
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn unsupported_features_are_rejected() {
    let output = |name: &str, key: &str| InferRequestedOutputTensor {
        name: name.to_owned(),
        parameters: [(key.to_owned(), parameter(None))].into(),
    };
    let mut shared = raw(vec![input("x", "UINT8", &[1])], &[]);
    shared.inputs[0]
        .parameters
        .insert("shared_memory_region".to_owned(), parameter(None));
    let outputs = |outputs| ModelInferRequest {
        outputs,
        ..ModelInferRequest::default()
    };
    for (message, text) in [
        (
            shared,
            "input `x`: shared memory is not supported by this server",
        ),
        (
            outputs(vec![output("y", "shared_memory_region")]),
            "output `y`: shared memory is not supported by this server",
        ),
    ] {
        let error = decode(message).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotImplemented);
        assert_eq!(error.to_string(), text);
    }
    let twice = outputs(vec![output("y", "a"), output("y", "b")]);
    let (request, _) = decode(twice).unwrap();
    assert_eq!(request.outputs, ["y"]);
    let error = v2::decode_index(&RepositoryIndexRequest {
        repository_name: "r".to_owned(),
        ready: true,
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotImplemented);
}

#[test]
fn a_response_is_raw_and_not_copied() {
    let message = ModelInferRequest {
        id: "42".to_owned(),
        ..ModelInferRequest::default()
    };
    let (_, encoder) = decode(message).unwrap();
    let y = floats("y", &[1, 3], &[1.0, f32::NAN, 3.0]);
    let place = y.tensor.content().as_ptr();
    let answer = InferResponse {
        outputs: vec![y, strings("label", &[1], &["a"])],
        parameters: vec![Parameter {
            name: "p".to_owned(),
            value: ParameterValue::Double(f64::INFINITY),
        }],
    };
    let message = encoder.encode(answer, &wine()).unwrap();
    assert_eq!(
        (message.model_name.as_str(), message.model_version.as_str()),
        ("wine", "7")
    );
    assert_eq!(message.id, "42");
    assert_eq!(message.raw_output_contents[0].as_ptr(), place);
    assert_eq!(message.raw_output_contents[1], "\x01\0\0\0a");
    assert_eq!(message.outputs[0].datatype, "FP32");
    assert_eq!(message.outputs[0].shape, [1, 3]);
    assert_eq!(message.outputs[1].contents, None);
    let infinite = Some(ParameterChoice::DoubleParam(f64::INFINITY));
    assert_eq!(message.parameters["p"], parameter(infinite));
    let failed = v2::stream_error("42", "no");
    assert_eq!(failed.error_message, "no");
    assert_eq!(failed.infer_response.unwrap().id, "42");
    let answered = v2::stream_response(message);
    assert_eq!(answered.error_message, "");
    let last = &answered.infer_response.unwrap().parameters["triton_final_response"];
    assert_eq!(*last, parameter(Some(ParameterChoice::BoolParam(true))));
}

#[test]
fn metadata_includes_the_batch_axis_and_the_configuration_does_not() {
    let model = wine();
    let metadata = v2::model_metadata(&model, &[model.version]);
    assert_eq!(metadata.versions, ["7"]);
    assert_eq!(metadata.inputs[0].shape, [-1, 2]);
    assert_eq!(metadata.outputs[0].datatype, "BYTES");
    let config = v2::model_config(&model).config.unwrap();
    assert_eq!(
        (config.name.as_str(), config.backend.as_str()),
        ("wine", "tract")
    );
    assert_eq!(config.platform, "tract_onnx");
    assert_eq!(config.max_batch_size, 8);
    assert_eq!(config.input[0].dims, [2]);
    assert_eq!(
        config.input[1].data_type,
        inference::DataType::TypeString as i32
    );
    let unbatched = ModelDescription {
        max_batch_size: 0,
        ..model
    };
    let config = v2::model_config(&unbatched).config.unwrap();
    assert_eq!(config.input[0].dims, [-1, 2]);
    assert_eq!(v2::server_metadata("0.1").name, "wisp");
    assert!(v2::live().live && v2::ready(true).ready && !v2::model_ready(false).ready);
}

#[test]
fn the_index_contains_the_reason_of_an_unavailable_version() {
    let name = wine().model.to_string();
    let entries = [
        IndexEntry {
            name: name.clone(),
            version: Version::from_decimal("1"),
            state: VersionState::Ready,
        },
        IndexEntry {
            name,
            version: None,
            state: VersionState::Failed("no version".to_owned()),
        },
    ];
    let index = v2::index(&entries).models;
    let shown =
        |at: usize| [&index[at].version, &index[at].state, &index[at].reason].map(String::as_str);
    assert_eq!(shown(0), ["1", "READY", ""]);
    assert_eq!(shown(1), ["", "UNAVAILABLE", "no version"]);
    let request = RepositoryIndexRequest {
        repository_name: String::new(),
        ready: true,
    };
    assert_eq!(v2::decode_index(&request), Ok(IndexFilter::Ready));
    assert_eq!(v2::decode_index(&Default::default()), Ok(IndexFilter::All));
}

#[test]
fn requested_classes_replace_their_output() {
    let asked = |name: &str, choice| {
        let output = InferRequestedOutputTensor {
            name: name.to_owned(),
            parameters: [("classification".to_owned(), parameter(choice))].into(),
        };
        ModelInferRequest {
            outputs: vec![output],
            ..ModelInferRequest::default()
        }
    };
    for count in [
        ParameterChoice::Int64Param(2),
        ParameterChoice::Uint64Param(2),
    ] {
        let (request, encoder) = decode(asked("y", Some(count))).unwrap();
        assert_eq!(request.outputs, ["y"]);
        let answer = InferResponse {
            outputs: vec![floats("y", &[1, 3], &[1.0, 2.0, 3.0])],
            parameters: Vec::new(),
        };
        let message = encoder.encode(answer, &wine()).unwrap();
        assert_eq!(message.outputs[0].datatype, "BYTES");
        assert_eq!(message.outputs[0].shape, [1, 2]);
        let classes = "\x0a\0\0\x003.000000:2\x0a\0\0\x002.000000:1";
        assert_eq!(message.raw_output_contents[0], classes);
    }
    // None of the classes means the output itself.
    let none = asked("y", Some(ParameterChoice::Int64Param(0)));
    let (_, encoder) = decode(none).unwrap();
    let answer = InferResponse {
        outputs: vec![floats("y", &[1, 3], &[1.0, 2.0, 3.0])],
        parameters: Vec::new(),
    };
    let message = encoder.encode(answer, &wine()).unwrap();
    assert_eq!(message.outputs[0].datatype, "FP32");
    for choice in [
        None,
        Some(ParameterChoice::Int64Param(-1)),
        Some(ParameterChoice::DoubleParam(1.0)),
    ] {
        let text = error_text(asked("y", choice));
        assert!(
            text.starts_with("output `y`: the parameter `classification` must be"),
            "{text}"
        );
    }
    let count = Some(ParameterChoice::Int64Param(1));
    let text = error_text(asked("label", count));
    assert!(text.starts_with("output `label`: it is BYTES"), "{text}");
}
