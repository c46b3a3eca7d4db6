//! Requests of real clients, recorded by `fixtures/make.py` with the clients' own code.

use super::inference::ModelInferRequest;
use super::tensorflow::serving::{GetModelMetadataRequest, GetModelStatusRequest, PredictRequest};
use super::*;
use crate::call::VersionChoice;
use crate::grpc::v2::ModelInferDecoder;
use crate::grpc::{tfs, v2};
use wisp_tensor::{Parameter, ParameterValue};

/// Loads a message of this folder into one buffer, as it arrives from the wire.
macro_rules! fixture {
    ($name:literal) => {
        Bytes::from_static(include_bytes!(concat!("fixtures/", $name, ".bin")))
    };
}

const LIMIT: usize = 1024;

#[test]
fn tritonclient_sends_raw_tensors_that_share_the_messages_memory() -> anyhow::Result<()> {
    let body = fixture!("triton_raw");
    let message = ModelInferRequest::decode(body.clone())?;
    let target = v2::target(&message.model_name, &message.model_version)?;
    assert_eq!(target.model.as_str(), "wine");
    assert_eq!(
        target.version,
        VersionChoice::Number(Version::from_decimal("7").unwrap())
    );
    let (request, encoder) = ModelInferDecoder.decode(message, &wine())?;
    let x = floats("x", &[2, 2], &[1.5, -2.0, 0.25, 4.0]);
    let t = strings("t", &[3], &["ab", "", "é"]);
    assert_eq!(request.inputs, [x, t]);
    assert!(
        body.as_ptr_range()
            .contains(&request.inputs[0].tensor.content().as_ptr())
    );
    assert_eq!(request.outputs, ["y"]);
    let parameter = |name: &str, value| Parameter {
        name: name.to_owned(),
        value,
    };
    let expected = [
        parameter("exact", ParameterValue::Bool(true)),
        parameter("mode", ParameterValue::String("fast".to_owned())),
        parameter("threshold", ParameterValue::Double(0.5)),
        parameter("top", ParameterValue::Int64(2)),
    ];
    assert_eq!(request.parameters, expected);
    assert_eq!(
        encoder.encode(response(Vec::new()), &wine()).unwrap().id,
        "r1"
    );
    Ok(())
}

#[test]
fn tritonclient_sends_halves_without_version_and_id() -> anyhow::Result<()> {
    let message = ModelInferRequest::decode(fixture!("triton_half"))?;
    assert_eq!(
        v2::target(&message.model_name, &message.model_version)?.version,
        VersionChoice::Default
    );
    let (request, encoder) = ModelInferDecoder.decode(message, &wine())?;
    assert_eq!(request.inputs[0].tensor.element_type(), ElementType::Fp16);
    assert_eq!(
        request.inputs[0].tensor.content()[..4],
        [0x00, 0x3e, 0x00, 0xc0]
    );
    assert_eq!(
        encoder.encode(response(Vec::new()), &wine()).unwrap().id,
        ""
    );
    Ok(())
}

#[test]
fn stubs_of_the_schema_send_typed_contents() -> anyhow::Result<()> {
    let message = ModelInferRequest::decode(fixture!("triton_typed"))?;
    let (request, _) = ModelInferDecoder.decode(message, &wine())?;
    let expected = tensor("x", ElementType::Int8, &[3], &[0x80, 0, 0x7f]);
    assert_eq!(request.inputs, [expected]);
    Ok(())
}

#[test]
fn ovmsclient_sends_tensor_content_and_version_zero_for_the_latest() -> anyhow::Result<()> {
    let body = fixture!("ovms_predict");
    let message = PredictRequest::decode(body.clone())?;
    assert_eq!(
        tfs::target(message.model_spec.as_ref())?.version,
        VersionChoice::Default
    );
    let request = decode_predict(message, &wine(), 0)?;
    assert_eq!(
        request.inputs,
        [floats("x", &[2, 2], &[1.5, -2.0, 0.25, 4.0])]
    );
    assert!(
        body.as_ptr_range()
            .contains(&request.inputs[0].tensor.content().as_ptr())
    );

    let message = PredictRequest::decode(fixture!("ovms_predict_version"))?;
    let target = tfs::target(message.model_spec.as_ref())?;
    assert_eq!(
        target.version,
        VersionChoice::Number(Version::from_decimal("7").unwrap())
    );

    let message = PredictRequest::decode(fixture!("ovms_lists"))?;
    let request = decode_predict(message, &wine(), LIMIT)?;
    assert_eq!(request.inputs, [floats("x", &[1, 2], &[1.5, -2.0])]);
    Ok(())
}

#[test]
fn ovmsclient_sends_strings_in_a_list() -> anyhow::Result<()> {
    let message = PredictRequest::decode(fixture!("ovms_strings"))?;
    let request = decode_predict(message, &wine(), LIMIT)?;
    let elements: Vec<&[u8]> = request.inputs[0].tensor.elements().collect();
    assert_eq!(elements, [b"ab".as_slice(), b"\xff"]);
    Ok(())
}

#[test]
fn ovmsclient_asks_for_state_and_signature() -> anyhow::Result<()> {
    let message = GetModelStatusRequest::decode(fixture!("ovms_status"))?;
    assert_eq!(
        tfs::target(message.model_spec.as_ref())?.version,
        VersionChoice::Default
    );
    let message = GetModelMetadataRequest::decode(fixture!("ovms_metadata"))?;
    tfs::check_metadata_fields(&message)?;
    Ok(())
}
