//! Tests of the bytes after the JSON of a request.

use super::*;

#[test]
fn binary_inputs_are_slices_of_the_body_in_order() -> anyhow::Result<()> {
    let json = r#"{"inputs":[
        {"name":"t","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":9}},
        {"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}]}"#;
    let elements = b"\x01\0\0\0a\0\0\0\0";
    let rest = [elements.as_slice(), &f32_bytes(&[1.0, 2.0])].concat();
    let body = Bytes::from([json.as_bytes(), &rest].concat());
    let (request, _) = decoder(Some(json.len()), &[]).decode(body.clone(), &two_inputs())?;
    let expected = [
        tensor("t", ElementType::Bytes, &[2], elements),
        tensor("x", ElementType::Fp32, &[1, 2], &f32_bytes(&[1.0, 2.0])),
    ];
    assert_eq!(request.inputs, expected);
    let content = request.inputs[1].tensor.content();
    assert_eq!(content.as_ptr(), body[json.len() + 9..].as_ptr(), "copied");
    Ok(())
}

#[test]
fn json_and_binary_inputs_may_be_mixed() -> anyhow::Result<()> {
    let json = r#"{"inputs":[
        {"name":"t","shape":[1],"datatype":"BYTES","data":["a"]},
        {"name":"x","shape":[1,2],"datatype":"FP16","parameters":{"binary_data_size":4}}]}"#;
    let (request, _) = decode_binary(json, &[1, 2, 3, 4])?;
    let expected = [
        tensor("t", ElementType::Bytes, &[1], b"\x01\0\0\0a"),
        tensor("x", ElementType::Fp16, &[1, 2], &[1, 2, 3, 4]),
    ];
    assert_eq!(request.inputs, expected);
    Ok(())
}

#[test]
fn every_byte_after_the_json_belongs_to_an_input() {
    let json = |size: &str, other: &str| {
        format!(
            r#"{{"inputs":[{{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{{"binary_data_size":{size}}}}}
                ,{{"name":"t","shape":[1],"datatype":"UINT8","parameters":{{"binary_data_size":{other}}}}}]}}"#
        )
    };
    assert!(decode_binary(&json("8", "1"), &[0; 9]).is_ok());
    for (size, other, length) in [
        ("8", "1", 8),
        ("8", "1", 10),
        ("8", "0", 9),
        ("9", "18446744073709551615", 8),
        ("18446744073709551615", "18446744073709551615", 9),
        ("9223372036854775807", "9223372036854775808", 0),
    ] {
        let text = error_text(decode_binary(&json(size, other), &vec![0; length]));
        assert!(text.starts_with("the inputs declare "), "{text}");
        assert!(
            text.ends_with(&format!("the body contains {length}")),
            "{text}"
        );
    }
    // The sum is correct, but the size of an input is not.
    assert_eq!(
        error_text(decode_binary(&json("4", "5"), &[0; 9])),
        "input `x`: shape [1, 2] of FP32 takes 8 bytes, not 4"
    );
    let text = error_text(decode(&json("8", "1")));
    assert_eq!(
        text,
        "the inputs declare 9 bytes of binary data, the body contains 0"
    );
}

#[test]
fn binary_elements_are_validated() {
    let json = |datatype: &str, size: usize| {
        format!(
            r#"{{"inputs":[{{"name":"x","shape":[1],"datatype":"{datatype}","parameters":{{"binary_data_size":{size}}}}}]}}"#
        )
    };
    let text = error_text(decode_binary(&json("BYTES", 5), b"\xff\xff\xff\xffa"));
    assert!(
        text.starts_with("input `x`: the length of BYTES element 0 reaches past the end"),
        "{text}"
    );
}

#[test]
fn any_byte_of_a_bool_other_than_zero_is_true() -> anyhow::Result<()> {
    let json = r#"{"inputs":[{"name":"x","shape":[3],"datatype":"BOOL","parameters":{"binary_data_size":3}}]}"#;
    let body = Bytes::from([json.as_bytes(), &[0, 7, 255]].concat());
    let decoder = decoder(Some(json.len()), &[]);
    // The copy is counted before it is made.
    assert!(decoder.decoded_bytes(&body) >= 3 + json_size(json));
    let (request, _) = decoder.decode(body, &two_inputs())?;
    let expected = tensor("x", ElementType::Bool, &[3], &[0, 1, 1]);
    assert_eq!(request.inputs, [expected]);
    let escaped = json.replace("BOOL", "BOO\\u004c");
    let body = Bytes::from([escaped.as_bytes(), &[0, 7, 255]].concat());
    let decoder = super::decoder(Some(escaped.len()), &[]);
    assert!(decoder.decoded_bytes(&body) >= 3 + json_size(&escaped));
    let raw = model(vec![spec("x", ElementType::Bool, &[3])], 0);
    let decoder = super::decoder(Some(0), &[]);
    let (request, _) = decoder.decode(Bytes::from_static(&[2, 0, 1]), &raw)?;
    assert_eq!(request.inputs[0].tensor.content()[..], [1, 0, 1]);
    Ok(())
}

/// Returns the bytes that decoding this JSON takes without binary data.
fn json_size(json: &str) -> usize {
    decoder(None, &[]).decoded_bytes(&Bytes::copy_from_slice(json.as_bytes()))
}

#[test]
fn a_header_length_beyond_the_body_is_rejected() {
    for length in [3, usize::MAX] {
        let result = decoder(Some(length), &[]).decode(Bytes::from_static(b"{}"), &two_inputs());
        let expected = format!(
            "the body has 2 bytes, fewer than the {length} that Inference-Header-Content-Length \
             declares"
        );
        assert_eq!(error_text(result), expected);
    }
}
