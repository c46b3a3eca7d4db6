//! Tests of generate requests and their responses.

use super::*;
use crate::fixture::{floats, json, model, response, spec, strings};

/// A model with a batch axis, whose rows are a string and two numbers, and with an optional threshold.
fn rows() -> ModelDescription {
    let mut threshold = spec("threshold", ElementType::Fp32, &[1]);
    threshold.optional = true;
    let inputs = vec![
        spec("text", ElementType::Bytes, &[-1]),
        spec("x", ElementType::Fp32, &[-1, 2]),
        threshold,
    ];
    model(inputs, Vec::new())
}

fn decode(
    body: &str,
    model: &ModelDescription,
) -> Result<(InferRequest, GenerateEncoder), CodecError> {
    let decoder = GenerateDecoder::new(GenerateForm::Object);
    decoder.decode(Bytes::copy_from_slice(body.as_bytes()), model)
}

fn error_text(body: &str) -> String {
    let error = decode(body, &rows()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{body}");
    error.to_string()
}

fn encode(form: GenerateForm, outputs: Vec<NamedTensor>) -> Result<EncodedResponse, CodecError> {
    let id = Some("7".to_owned());
    GenerateEncoder { id, form }.encode(response(outputs), &rows())
}

#[test]
fn members_named_like_inputs_become_tensors_with_the_batch_axis() -> anyhow::Result<()> {
    let (request, encoder) = decode(
        r#"{"id":"7","x":[1,2.5],"text":"hi","threshold":0.5,"top_k":3,"parameters":{"seed":-1,"s":"a"}}"#,
        &rows(),
    )?;
    let expected = [
        floats("x", &[1, 2], &[1.0, 2.5]),
        strings("text", &[1], &["hi"]),
        floats("threshold", &[1], &[0.5]),
    ];
    assert_eq!(request.inputs, expected);
    let parameters = [
        ("top_k", ParameterValue::Int64(3)),
        ("seed", ParameterValue::Int64(-1)),
        ("s", ParameterValue::String("a".to_owned())),
    ];
    let parameters = parameters.map(|(name, value)| Parameter {
        name: name.to_owned(),
        value,
    });
    assert_eq!(request.parameters, parameters);
    assert!(request.outputs.is_empty());
    assert_eq!(encoder.id.as_deref(), Some("7"));
    Ok(())
}

#[test]
fn without_a_batch_axis_values_have_the_whole_shape() -> anyhow::Result<()> {
    let mut model = rows();
    model.max_batch_size = 0;
    model.signature.inputs[1].shape.remove(0);
    let (request, _) = decode(r#"{"text":["a","b"],"x":[1,2]}"#, &model)?;
    assert_eq!(request.inputs[0], strings("text", &[2], &["a", "b"]));
    assert_eq!(request.inputs[1], floats("x", &[2], &[1.0, 2.0]));
    let (request, _) = decode(r#"{"text":"a"}"#, &model)?;
    assert_eq!(request.inputs, [strings("text", &[1], &["a"])]);
    Ok(())
}

#[test]
fn null_members_are_absent_and_reserved_parameters_have_no_effect() -> anyhow::Result<()> {
    let body = r#"{"text":"a","x":null,"id":null,"parameters":null,"priority":[1],"y":null}"#;
    let (request, encoder) = decode(body, &rows())?;
    assert_eq!(request.inputs.len(), 1);
    assert!(request.parameters.is_empty());
    assert_eq!(encoder.id, None);
    Ok(())
}

#[test]
fn a_byte_order_mark_is_skipped_and_an_empty_id_is_absent() -> anyhow::Result<()> {
    let (request, encoder) = decode("\u{feff}{\"text\":\"a\",\"id\":\"\"}", &rows())?;
    assert_eq!(request.inputs, [strings("text", &[1], &["a"])]);
    assert_eq!(encoder.id, None);
    Ok(())
}

#[test]
fn an_error_names_the_member_and_the_change_to_make() {
    for (body, text) in [
        ("", "the body is not valid JSON: "),
        (
            "[]",
            "the body is not an object with a value for each input",
        ),
        (r#"{"x":[1,2]"#, "the body is not valid JSON: "),
        (r#"{"x":[1,2],"x":[1,2]}"#, "`x` is given twice"),
        (
            r#"{"x":[1]}"#,
            "input `x`: a flat array of 1 does not fill shape [2]",
        ),
        (r#"{"x":["a","b"]}"#, "input `x`: element 0 is not "),
        (
            r#"{"text":["a","b"]}"#,
            "input `text`: a flat array of 2 does not fill shape []",
        ),
        (
            r#"{"txt":["a"]}"#,
            "`txt` is not an input, expected one of: text, x, threshold; as a parameter it must be",
        ),
        (
            r#"{"txt":"a"}"#,
            "no member of the body is an input, expected one of: text, x, threshold",
        ),
        (r#"{"id":7}"#, "`id` is not a string of at most 1024 bytes"),
        (r#"{"id":"7","id":"8"}"#, "`id` is given twice"),
        (r#"{"parameters":[]}"#, "`parameters` is not an object"),
        (r#"{"a":1,"parameters":{"a":2}}"#, "`a` is given twice"),
        (r#"{"parameters":{"a":{}}}"#, "`a` is not an input"),
    ] {
        let found = error_text(body);
        assert!(found.starts_with(text), "{body}: {found}");
    }
    let many: Vec<String> = (0..=MAX_PARAMETERS)
        .map(|n| format!("\"p{n}\":1"))
        .collect();
    let found = error_text(&format!("{{{}}}", many.join(",")));
    assert_eq!(found, "more than 256 parameters");
    let invalid = GenerateDecoder::new(GenerateForm::Object)
        .decode(Bytes::from_static(b"{\"\xff\":1}"), &rows());
    assert_eq!(invalid.unwrap_err().to_string(), "the body is not UTF-8");
}

#[test]
fn an_output_is_an_element_or_a_flat_array() -> anyhow::Result<()> {
    let outputs = vec![
        strings("text", &[1, 1], &["a\"\n"]),
        floats("y", &[1, 2, 2], &[1.0, -0.5, f32::NAN, 4.0]),
        floats("none", &[1, 0], &[]),
    ];
    let expected = concat!(
        r#"{"id":"7","model_name":"wine","model_version":"7","text":"a\"\n","#,
        r#""y":[1.0,-0.5,NaN,4.0],"none":[]}"#,
    );
    assert_eq!(json(encode(GenerateForm::Object, outputs)?), expected);
    Ok(())
}

#[test]
fn a_stream_has_one_event() -> anyhow::Result<()> {
    let encoded = encode(GenerateForm::Events, vec![floats("id", &[1], &[2.0])])?;
    assert_eq!(encoded.content_type, "text/event-stream; charset=utf-8");
    let text = String::from_utf8(encoded.chunks.concat())?;
    let expected = r#"{"model_name":"wine","model_version":"7","id":2.0}"#;
    assert_eq!(text, format!("data: {expected}\n\n"));
    Ok(())
}

#[test]
fn parameters_of_a_response_are_an_object() -> anyhow::Result<()> {
    let parameters = [
        ("a", ParameterValue::Bool(true)),
        ("b", ParameterValue::Double(f64::INFINITY)),
    ];
    let parameters = parameters.map(|(name, value)| Parameter {
        name: name.to_owned(),
        value,
    });
    let response = InferResponse {
        outputs: Vec::new(),
        parameters: parameters.to_vec(),
    };
    let form = GenerateForm::Object;
    let encoded = GenerateEncoder { id: None, form }.encode(response, &rows())?;
    let expected =
        r#"{"model_name":"wine","model_version":"7","parameters":{"a":true,"b":Infinity}}"#;
    assert_eq!(json(encoded), expected);
    Ok(())
}
