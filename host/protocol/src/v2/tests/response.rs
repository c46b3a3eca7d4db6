//! Tests of response formats.

use super::*;
use crate::call::InferResponse;
use crate::encoded_response::EncodedResponse;
use wisp_tensor::{Parameter, ParameterValue};

fn answer(outputs: Vec<NamedTensor>) -> InferResponse {
    InferResponse {
        outputs,
        parameters: Vec::new(),
    }
}

fn scores() -> NamedTensor {
    tensor(
        "y",
        ElementType::Fp32,
        &[1, 3],
        &f32_bytes(&[2.0, -0.1, 1e-7]),
    )
}

fn label() -> NamedTensor {
    tensor("label", ElementType::Bytes, &[1], b"\x04\0\0\0a\"\n\x01")
}

/// Encodes the response to a request with these members in addition to its inputs.
fn encode(asked: &str, response: InferResponse) -> Result<EncodedResponse, CodecError> {
    let (_, reply) = decode(&format!(r#"{{"inputs":[]{asked}}}"#)).unwrap();
    reply.encode(response, &two_inputs())
}

fn text(reply: &EncodedResponse) -> &str {
    str::from_utf8(&reply.chunks[0]).unwrap()
}

const JSON_SCORES: &str = r#"{"name":"y","datatype":"FP32","shape":[1,3],"data":[2.0,-0.1,1e-7]}"#;
const JSON_LABEL: &str =
    r#"{"name":"label","datatype":"BYTES","shape":[1],"data":["a\"\n\u0001"]}"#;
const BINARY_SCORES: &str =
    r#"{"name":"y","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}}"#;
const BINARY_LABEL: &str =
    r#"{"name":"label","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":8}}"#;

#[test]
fn a_response_is_json_unless_binary_is_requested() -> anyhow::Result<()> {
    let reply = encode("", answer(vec![scores(), label()]))?;
    let expected = format!(
        r#"{{"model_name":"wine","model_version":"7","outputs":[{JSON_SCORES},{JSON_LABEL}]}}"#
    );
    assert_eq!(text(&reply), expected);
    assert_eq!(reply.content_type, "application/json");
    assert_eq!(reply.header_length, None);
    assert_eq!(reply.chunks.len(), 1);
    assert_eq!(reply.content_length(), expected.len());
    Ok(())
}

#[test]
fn the_form_of_an_output_overrides_that_of_the_request() -> anyhow::Result<()> {
    const ALL: &str = r#","parameters":{"binary_data_output":true}"#;
    const NONE: &str = r#","parameters":{"binary_data_output":false}"#;
    let first = |value: bool| {
        format!(
            r#","outputs":[{{"name":"y","parameters":{{"binary_data":{value}}}}},{{"name":"label"}}]"#
        )
    };
    let cases = [
        (ALL.to_owned(), BINARY_SCORES, BINARY_LABEL),
        (NONE.to_owned(), JSON_SCORES, JSON_LABEL),
        (first(true), BINARY_SCORES, JSON_LABEL),
        (first(false), JSON_SCORES, JSON_LABEL),
        (format!("{ALL}{}", first(false)), JSON_SCORES, BINARY_LABEL),
        (format!("{NONE}{}", first(true)), BINARY_SCORES, JSON_LABEL),
    ];
    for (asked, scores_text, label_text) in cases {
        let reply = encode(&asked, answer(vec![scores(), label()]))?;
        let expected = format!(
            r#"{{"model_name":"wine","model_version":"7","outputs":[{scores_text},{label_text}]}}"#
        );
        assert_eq!(text(&reply), expected, "{asked}");
    }
    Ok(())
}

#[test]
fn binary_outputs_follow_the_json_in_order_without_a_copy() -> anyhow::Result<()> {
    let empty = tensor("e", ElementType::Fp64, &[0], &[]);
    let response = answer(vec![scores(), empty, label()]);
    let contents = [0, 2].map(|index| response.outputs[index].tensor.content().clone());
    let reply = encode(r#","parameters":{"binary_data_output":true}"#, response)?;
    assert_eq!(reply.content_type, "application/octet-stream");
    assert_eq!(reply.header_length, Some(reply.chunks[0].len()));
    assert_eq!(reply.chunks[1..], contents);
    assert_eq!(reply.chunks[1].as_ptr(), contents[0].as_ptr(), "copied");
    assert!(text(&reply).contains(r#""shape":[0],"parameters":{"binary_data_size":0}"#));
    Ok(())
}

#[test]
fn id_and_parameters_are_written_if_present() -> anyhow::Result<()> {
    let parameter = |name: &str, value| Parameter {
        name: name.to_owned(),
        value,
    };
    let response = InferResponse {
        outputs: Vec::new(),
        parameters: vec![
            parameter("b", ParameterValue::Bool(false)),
            parameter("i", ParameterValue::Int64(-1)),
            parameter("u", ParameterValue::Uint64(u64::MAX)),
            parameter("d", ParameterValue::Double(0.5)),
            parameter("s", ParameterValue::String("\"".to_owned())),
        ],
    };
    let reply = encode(r#","id":"a\"b""#, response)?;
    let expected = r#"{"model_name":"wine","model_version":"7","id":"a\"b","parameters":{"b":false,"i":-1,"u":18446744073709551615,"d":0.5,"s":"\""},"outputs":[]}"#;
    assert_eq!(text(&reply), expected);
    Ok(())
}

#[test]
fn outputs_without_a_json_form_are_rejected_with_a_suggestion() -> anyhow::Result<()> {
    let cases = [
        (
            ElementType::Fp16,
            vec![0; 2],
            "is FP16, which has no JSON form",
        ),
        (
            ElementType::Bf16,
            vec![0; 2],
            "is BF16, which has no JSON form",
        ),
        (
            ElementType::Bytes,
            b"\x01\0\0\0\xff".to_vec(),
            "contains bytes that are not UTF-8, which JSON cannot represent",
        ),
    ];
    for (element_type, content, reason) in cases {
        let response = || answer(vec![tensor("y", element_type, &[1], &content)]);
        let error = encode("", response()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        let expected =
            format!("output `y` {reason}: request it with the parameter `binary_data`: true");
        assert_eq!(error.to_string(), expected);
        let way_out = r#","outputs":[{"name":"y","parameters":{"binary_data":true}}]"#;
        assert_eq!(encode(way_out, response())?.chunks[1], content);
    }
    Ok(())
}

#[test]
fn floats_that_are_not_finite_are_bare_words() -> anyhow::Result<()> {
    let single = f32_bytes(&[f32::NAN, -f32::NAN, f32::INFINITY, 0.5]);
    let double: Vec<u8> = [f64::NEG_INFINITY, f64::NAN]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let outputs = vec![
        tensor("y", ElementType::Fp32, &[2, 2], &single),
        tensor("label", ElementType::Fp64, &[2], &double),
    ];
    let reply = encode("", answer(outputs))?;
    let text = text(&reply);
    assert!(
        text.contains(r#""data":[NaN,NaN,Infinity,0.5]}"#)
            && text.contains(r#""data":[-Infinity,NaN]}]}"#),
        "{text}"
    );
    Ok(())
}

#[test]
fn an_infinite_parameter_is_a_handler_error() {
    let response = InferResponse {
        outputs: Vec::new(),
        parameters: vec![Parameter {
            name: "p".to_owned(),
            value: ParameterValue::Double(f64::NAN),
        }],
    };
    assert_eq!(encode("", response).unwrap_err().kind(), ErrorKind::Handler);
}

#[test]
fn classes_replace_their_output_in_both_forms() -> anyhow::Result<()> {
    let asked = |more: &str| {
        format!(r#","outputs":[{{"name":"y","parameters":{{"classification":2{more}}}}}]"#)
    };
    let response = || answer(vec![scores(), label()]);
    let reply = encode(&asked(""), response())?;
    let classes =
        r#"{"name":"y","datatype":"BYTES","shape":[2],"data":["2.000000:0","0.000000:2"]}"#;
    assert!(text(&reply).contains(classes), "{}", text(&reply));
    assert!(text(&reply).contains(JSON_LABEL), "{}", text(&reply));
    let reply = encode(&asked(r#","binary_data":true"#), response())?;
    assert_eq!(
        reply.chunks[1],
        "\x0a\0\0\x002.000000:0\x0a\0\0\x000.000000:2"
    );
    Ok(())
}
