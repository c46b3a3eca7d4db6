//! Tests of TensorFlow Serving's tensors, names and metadata.

use super::tensorflow::serving::model_spec::VersionChoice as WireChoice;
use super::tensorflow::serving::{
    GetModelMetadataRequest, ModelSpec, PredictRequest, SignatureDefMap,
};
use super::tensorflow::tensor_shape_proto::Dim;
use super::tensorflow::{DataType, TensorProto, TensorShapeProto};
use super::*;
use crate::call::{IndexEntry, VersionChoice, VersionLabel, VersionState};
use crate::error::ErrorKind;
use crate::grpc::tfs;
use crate::grpc::tfs::TfsPredictEncoder;

const LIMIT: usize = 64;

fn shape(sizes: &[i64]) -> Option<TensorShapeProto> {
    let dim = sizes.iter().map(|&size| Dim {
        size,
        name: String::new(),
    });
    Some(TensorShapeProto {
        dim: dim.collect(),
        unknown_rank: false,
    })
}

fn proto(dtype: DataType, sizes: &[i64]) -> TensorProto {
    TensorProto {
        dtype: dtype.into(),
        tensor_shape: shape(sizes),
        ..TensorProto::default()
    }
}

fn request(proto: TensorProto) -> PredictRequest {
    PredictRequest {
        inputs: [("x".to_owned(), proto)].into(),
        ..PredictRequest::default()
    }
}

fn decode(proto: TensorProto) -> Result<Tensor, CodecError> {
    let request = decode_predict(request(proto), &wine(), LIMIT)?;
    Ok(request.inputs.into_iter().next().unwrap().tensor)
}

fn spec_of(name: &str, version: Option<WireChoice>) -> ModelSpec {
    ModelSpec {
        name: name.to_owned(),
        version_choice: version,
        signature_name: String::new(),
    }
}

#[test]
fn version_zero_and_none_are_the_latest() {
    for version in [None, Some(WireChoice::Version(0))] {
        let target = tfs::target(Some(&spec_of("wine", version))).unwrap();
        assert_eq!(target.version, VersionChoice::Default);
    }
    let label = WireChoice::VersionLabel("stable".to_owned());
    let target = tfs::target(Some(&spec_of("wine", Some(label)))).unwrap();
    let stable = VersionLabel::new("stable").unwrap();
    assert_eq!(target.version, VersionChoice::Label(stable));
    for (spec, kind, text) in [
        (
            None,
            ErrorKind::InvalidRequest,
            "the request has no `model_spec`",
        ),
        (
            Some(spec_of("", None)),
            ErrorKind::NotFound,
            "unknown model: ``",
        ),
        (
            Some(spec_of("wine", Some(WireChoice::Version(-1)))),
            ErrorKind::NotFound,
            "unknown version: `wine` has no version `-1`",
        ),
    ] {
        let error = tfs::target(spec.as_ref()).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn only_the_default_signature_exists() {
    for (name, is_known) in [("", true), ("serving_default", true), ("other", false)] {
        let mut message = request(proto(DataType::DtFloat, &[0]));
        let mut spec = spec_of("wine", None);
        spec.signature_name = name.to_owned();
        message.model_spec = Some(spec);
        assert_eq!(
            decode_predict(message, &wine(), LIMIT).is_ok(),
            is_known,
            "{name}"
        );
    }
}

#[test]
fn every_datatype_is_read_from_its_field() {
    let cases = [
        (
            TensorProto {
                bool_val: vec![true, false],
                ..proto(DataType::DtBool, &[2])
            },
            vec![1, 0],
        ),
        (
            TensorProto {
                int_val: vec![1, 255],
                ..proto(DataType::DtUint8, &[2])
            },
            vec![1, 255],
        ),
        (
            TensorProto {
                int_val: vec![1, -1],
                ..proto(DataType::DtInt8, &[2])
            },
            vec![1, 255],
        ),
        (
            TensorProto {
                int_val: vec![65535],
                ..proto(DataType::DtUint16, &[1])
            },
            vec![255, 255],
        ),
        (
            TensorProto {
                int_val: vec![-1],
                ..proto(DataType::DtInt16, &[1])
            },
            vec![255, 255],
        ),
        (
            TensorProto {
                int_val: vec![-1],
                ..proto(DataType::DtInt32, &[1])
            },
            vec![255; 4],
        ),
        (
            TensorProto {
                uint32_val: vec![2],
                ..proto(DataType::DtUint32, &[])
            },
            vec![2, 0, 0, 0],
        ),
        (
            TensorProto {
                int64_val: vec![-1],
                ..proto(DataType::DtInt64, &[1])
            },
            vec![255; 8],
        ),
        (
            TensorProto {
                uint64_val: vec![u64::MAX],
                ..proto(DataType::DtUint64, &[1])
            },
            vec![255; 8],
        ),
        (
            TensorProto {
                half_val: vec![0x3c00],
                ..proto(DataType::DtHalf, &[1])
            },
            vec![0, 0x3c],
        ),
        (
            TensorProto {
                half_val: vec![0x3f80],
                ..proto(DataType::DtBfloat16, &[1])
            },
            vec![0x80, 0x3f],
        ),
        (
            TensorProto {
                float_val: vec![1.5],
                ..proto(DataType::DtFloat, &[1])
            },
            1.5f32.to_le_bytes().into(),
        ),
        (
            TensorProto {
                double_val: vec![1.5],
                ..proto(DataType::DtDouble, &[1])
            },
            1.5f64.to_le_bytes().into(),
        ),
        (
            TensorProto {
                string_val: vec![Bytes::from_static(b"ab")],
                ..proto(DataType::DtString, &[1])
            },
            b"\x02\0\0\0ab".into(),
        ),
    ];
    for (proto, expected) in cases {
        let dtype = proto.dtype();
        assert_eq!(decode(proto).unwrap().content(), &expected, "{dtype:?}");
    }
}

#[test]
fn the_last_value_or_zero_fills_a_short_field() {
    let repeated = TensorProto {
        int_val: vec![1, 2],
        ..proto(DataType::DtInt8, &[2, 2])
    };
    assert_eq!(decode(repeated).unwrap().content(), &[1, 2, 2, 2][..]);
    let none = proto(DataType::DtInt16, &[2]);
    assert_eq!(decode(none).unwrap().content(), &[0; 4][..]);
    let text = Bytes::from_static(b"ab");
    let repeated = TensorProto {
        string_val: vec![text],
        ..proto(DataType::DtString, &[3])
    };
    assert_eq!(
        decode(repeated).unwrap().elements().collect::<Vec<_>>(),
        [b"ab"; 3]
    );
    let none = proto(DataType::DtString, &[2]);
    assert_eq!(
        decode(none).unwrap().elements().collect::<Vec<_>>(),
        [b""; 2]
    );
}

#[test]
fn a_filled_tensor_is_limited_before_it_is_allocated() {
    let max = i64::from(u32::MAX);
    let text = Bytes::from_static(b"0123456789");
    for proto in [
        TensorProto {
            float_val: vec![1.0],
            ..proto(DataType::DtFloat, &[17])
        },
        TensorProto {
            float_val: vec![1.0],
            ..proto(DataType::DtFloat, &[max, 1 << 20])
        },
        TensorProto {
            string_val: vec![text.clone()],
            ..proto(DataType::DtString, &[5])
        },
        TensorProto {
            string_val: vec![text],
            ..proto(DataType::DtString, &[max, 1 << 30])
        },
    ] {
        let error = decode(proto).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let text = "input `x`: the request's tensors take more than the limit of 64 bytes, which --max-body-bytes sets";
        assert_eq!(error.to_string(), text);
    }
    let fits = || TensorProto {
        float_val: vec![1.0],
        ..proto(DataType::DtFloat, &[10])
    };
    assert!(decode(fits()).is_ok());
    let mut message = request(fits());
    message.inputs.insert("t".to_owned(), fits());
    let error = decode_predict(message, &wine(), LIMIT).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn a_contradictory_tensor_is_rejected() {
    let content = Bytes::from_static(b"abcd");
    let unknown_rank = Some(TensorShapeProto {
        dim: Vec::new(),
        unknown_rank: true,
    });
    for (proto, text) in [
        (
            proto(DataType::DtComplex64, &[1]),
            "input `x`: datatype 8 of TensorFlow is not supported by this server",
        ),
        (
            proto(DataType::DtFloat, &[-1]),
            "input `x`: dimension -1 of its shape is not a number from 0 to 4294967295",
        ),
        (
            TensorProto {
                tensor_shape: unknown_rank,
                ..proto(DataType::DtFloat, &[])
            },
            "input `x`: its rank is unknown",
        ),
        (
            TensorProto {
                tensor_content: content.clone(),
                ..proto(DataType::DtFloat, &[2])
            },
            "input `x`: shape [2] of FP32 takes 8 bytes, not 4",
        ),
        (
            TensorProto {
                tensor_content: content.clone(),
                ..proto(DataType::DtString, &[1])
            },
            "input `x`: strings belong in `string_val`, not in `tensor_content`",
        ),
        (
            TensorProto {
                tensor_content: content,
                float_val: vec![1.0],
                ..proto(DataType::DtFloat, &[1])
            },
            "input `x`: it has both `tensor_content` and `float_val`",
        ),
        (
            TensorProto {
                float_val: vec![1.0],
                ..proto(DataType::DtDouble, &[1])
            },
            "input `x`: the elements of FP64 belong in `double_val`, not in `float_val`",
        ),
        (
            TensorProto {
                int_val: vec![1, 2],
                ..proto(DataType::DtInt32, &[1])
            },
            "input `x`: shape [1] takes 1 elements, `int_val` contains 2",
        ),
        (
            TensorProto {
                int_val: vec![1, 128],
                ..proto(DataType::DtInt8, &[2])
            },
            "input `x`: element 1 does not fit in INT8",
        ),
        (
            proto(DataType::DtFloat, &[1; 17]),
            "input `x`: a tensor has at most 16 dimensions, not 17",
        ),
    ] {
        let error = decode(proto).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn outputs_are_encoded_without_a_copy() {
    let y = floats("y", &[1, 2], &[1.0, 2.0]);
    let label = strings("label", &[2], &["ab", "c"]);
    let places = [&y, &label].map(|output| output.tensor.content().as_ptr());
    let message = TfsPredictEncoder
        .encode(response(vec![y, label]), &wine())
        .unwrap();
    let spec = message.model_spec.unwrap();
    assert_eq!(spec.version_choice, Some(WireChoice::Version(7)));
    assert_eq!(
        (spec.name.as_str(), spec.signature_name.as_str()),
        ("wine", "serving_default")
    );
    let y = &message.outputs["y"];
    assert_eq!(y.dtype(), DataType::DtFloat);
    assert_eq!(y.tensor_shape, shape(&[1, 2]));
    assert_eq!(y.tensor_content.as_ptr(), places[0]);
    let label = &message.outputs["label"];
    assert_eq!(label.string_val, ["ab", "c"]);
    assert!(label.tensor_content.is_empty());
    assert_eq!(label.string_val[0].as_ptr(), places[1].wrapping_add(4));
}

#[test]
fn outputs_are_filtered_by_name_without_duplicates() {
    let filter = |names: &[&str]| PredictRequest {
        output_filter: names.iter().map(|&name| name.to_owned()).collect(),
        ..PredictRequest::default()
    };
    let request = decode_predict(filter(&["y"]), &wine(), LIMIT).unwrap();
    assert_eq!(request.outputs, ["y"]);
    for (names, text) in [
        (["y", "y"].as_slice(), "output `y` is requested twice"),
        (
            &["a", "b", "c"],
            "the model has 2 outputs, the request names 3",
        ),
    ] {
        let error = decode_predict(filter(names), &wine(), LIMIT).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn the_signature_is_in_a_map_within_a_map() -> anyhow::Result<()> {
    let message = tfs::model_metadata(&wine());
    let any = &message.metadata["signature_def"];
    assert_eq!(
        any.type_url,
        "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    );
    let map = SignatureDefMap::decode(any.value.as_slice())?;
    let signature = &map.signature_def["serving_default"];
    assert_eq!(signature.method_name, "tensorflow/serving/predict");
    assert_eq!(signature.inputs["x"].dtype(), DataType::DtFloat);
    assert_eq!(signature.inputs["x"].tensor_shape, shape(&[-1, 2]));
    assert_eq!(signature.outputs["label"].dtype(), DataType::DtString);
    for fields in [&[][..], &["signature_def", "x"]] {
        let message = GetModelMetadataRequest {
            model_spec: None,
            metadata_field: fields.iter().map(|&field| field.to_owned()).collect(),
        };
        let error = tfs::check_metadata_fields(&message).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    Ok(())
}

#[test]
fn the_status_contains_the_state_of_each_version() {
    let entry = |version: &str, state| IndexEntry {
        name: "wine".to_owned(),
        version: Version::from_decimal(version),
        state,
    };
    let failed = VersionState::Failed("it did not load".to_owned());
    let status = tfs::model_status(&[entry("6", failed), entry("7", VersionState::Ready)]);
    let states: Vec<_> = (status.model_version_status.iter())
        .map(|of| (of.version, of.state().as_str_name()))
        .collect();
    assert_eq!(states, [(6, "END"), (7, "AVAILABLE")]);
    let reason = status.model_version_status[0].status.as_ref().unwrap();
    assert_eq!(reason.error_message, "it did not load");
}
