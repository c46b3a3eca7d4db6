//! Tests of bodies without JSON.

use super::*;
use crate::v2::response::OutputForm;

fn decode_raw(body: &[u8], model: &ModelDescription) -> Result<NamedTensor, CodecError> {
    let (mut request, _) = decoder(Some(0), &[]).decode(Bytes::copy_from_slice(body), model)?;
    assert_eq!(request.inputs.len(), 1);
    Ok(request.inputs.remove(0))
}

fn check_error(body: &[u8], model: &ModelDescription, expected: &str) {
    let error = decode_raw(body, model).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_raw_request_has_batch_size_one_and_the_declared_shape() -> anyhow::Result<()> {
    let model = model(vec![spec("x", ElementType::Fp32, &[-1, 2])], 8);
    let content = f32_bytes(&[1.0, 2.0]);
    let expected = tensor("x", ElementType::Fp32, &[1, 2], &content);
    assert_eq!(decode_raw(&content, &model)?, expected);
    for length in [0, 4, 7, 16] {
        let expected = format!("input `x`: {length} bytes do not make a raw tensor of FP32 [1, 2]");
        check_error(&vec![0; length], &model, &expected);
    }
    Ok(())
}

#[test]
fn the_length_of_the_body_determines_one_variable_axis() -> anyhow::Result<()> {
    let batched = model(vec![spec("x", ElementType::Int16, &[-1, -1, 2])], 8);
    let expected = tensor("x", ElementType::Int16, &[1, 3, 2], &[7; 12]);
    assert_eq!(decode_raw(&[7; 12], &batched)?, expected);
    assert_eq!(
        decode_raw(&[], &batched)?,
        tensor("x", ElementType::Int16, &[1, 0, 2], &[])
    );
    check_error(
        &[7; 13],
        &batched,
        "input `x`: 13 bytes do not make a raw tensor of INT16 [1, -1, 2]",
    );
    let unbatched = model(vec![spec("x", ElementType::Int16, &[-1, 2])], 0);
    let expected = tensor("x", ElementType::Int16, &[3, 2], &[7; 12]);
    assert_eq!(decode_raw(&[7; 12], &unbatched)?, expected);
    Ok(())
}

#[test]
fn two_variable_axes_are_rejected() {
    let model = model(vec![spec("x", ElementType::Int8, &[-1, -1])], 0);
    let expected = "input `x`: a raw request takes an input with at most one variable dimension besides the batch";
    check_error(&[0; 4], &model, expected);
}

#[test]
fn an_empty_axis_beside_a_variable_one_is_rejected() {
    let model = model(vec![spec("x", ElementType::Int8, &[-1, 0])], 0);
    for length in [0, 4] {
        let expected =
            format!("input `x`: {length} bytes do not make a raw tensor of INT8 [-1, 0]");
        check_error(&vec![0; length], &model, &expected);
    }
}

#[test]
fn a_bytes_input_takes_the_body_as_its_only_element() -> anyhow::Result<()> {
    for (shape, max_batch_size, dimensions) in [
        (&[1][..], 0, &[1][..]),
        (&[-1], 0, &[1]),
        (&[-1, 1], 4, &[1, 1]),
        (&[], 0, &[]),
    ] {
        let model = model(vec![spec("t", ElementType::Bytes, shape)], max_batch_size);
        let expected = tensor("t", ElementType::Bytes, dimensions, b"\x02\0\0\0ab");
        assert_eq!(decode_raw(b"ab", &model)?, expected, "{shape:?}");
    }
    let two = model(vec![spec("t", ElementType::Bytes, &[2])], 0);
    check_error(
        b"ab",
        &two,
        "input `t`: a raw request takes a BYTES input of a single element",
    );
    Ok(())
}

#[test]
fn exactly_one_input_must_be_required() -> anyhow::Result<()> {
    let optional = TensorSpec {
        optional: true,
        ..spec("o", ElementType::Fp32, &[1])
    };
    let required = spec("x", ElementType::Uint8, &[2]);
    let one = model(vec![optional.clone(), required], 0);
    assert_eq!(
        decode_raw(&[1, 2], &one)?,
        tensor("x", ElementType::Uint8, &[2], &[1, 2])
    );
    for (model, count) in [(two_inputs(), 2), (model(vec![optional], 0), 0)] {
        let expected = format!(
            "a raw request, one without JSON, takes a model with exactly one required input; this one has {count}"
        );
        check_error(&[1, 2], &model, &expected);
    }
    Ok(())
}

#[test]
fn an_empty_body_is_raw_with_and_without_the_header() -> anyhow::Result<()> {
    let model = model(vec![spec("x", ElementType::Fp32, &[-1, 2])], 8);
    for header_length in [None, Some(0)] {
        let error = decoder(header_length, &[])
            .decode(Bytes::new(), &model)
            .unwrap_err();
        let expected = "input `x`: 0 bytes do not make a raw tensor of FP32 [1, 2]";
        assert_eq!(error.to_string(), expected);
    }
    Ok(())
}

#[test]
fn the_response_to_a_raw_request_is_binary_unless_json_is_accepted() -> anyhow::Result<()> {
    let model = model(vec![spec("x", ElementType::Uint8, &[1])], 0);
    let cases: [(&[&str], OutputForm); 7] = [
        (&[], OutputForm::Binary),
        (&["*/*"], OutputForm::Binary),
        (&["application/*"], OutputForm::Binary),
        (&["application/octet-stream"], OutputForm::Binary),
        (&["application/json"], OutputForm::Json),
        (
            &["text/plain", "*/*;q=0.1, Application/JSON;q=0.9"],
            OutputForm::Json,
        ),
        (&["application/jsonp"], OutputForm::Binary),
    ];
    for (accept, form) in cases {
        let (request, reply) = decoder(Some(0), accept).decode(Bytes::from_static(b"a"), &model)?;
        assert_eq!(reply, V2Encoder::for_raw_request(form), "{accept:?}");
        assert!(request.outputs.is_empty() && request.parameters.is_empty());
    }
    Ok(())
}
