//! Tests of the values of one input: shapes, and the elements of each datatype.

use super::*;

fn dimensions(shape: &[i64]) -> Vec<Dimension> {
    let sizes = shape.iter().map(|&size| Dimension::from_wire(size));
    sizes.collect::<Option<_>>().unwrap()
}

fn read_as(
    text: &str,
    element_type: ElementType,
    shape: &[i64],
    form: ArrayForm,
) -> Result<(Vec<u32>, Vec<u8>), ValueError> {
    let mut content = Vec::new();
    let declared = (element_type, &*dimensions(shape));
    let sizes = read(&mut Reader::new(text), declared, form, &mut content)?;
    Ok((sizes, content))
}

fn sizes(text: &str, shape: &[i64], form: ArrayForm) -> Result<Vec<u32>, ValueError> {
    read_as(text, ElementType::Uint8, shape, form).map(|(sizes, _)| sizes)
}

#[test]
fn arrays_nest_like_the_shape_and_determine_variable_axes() -> anyhow::Result<()> {
    let cases: [(&str, &[i64], &[u32]); 8] = [
        ("7", &[], &[]),
        (" [1 , 2] ", &[-1], &[2]),
        ("[[1,2,3],[4,5,6]]", &[-1, 3], &[2, 3]),
        ("[[[1]],[[2]]]", &[2, -1, -1], &[2, 1, 1]),
        ("[]", &[-1], &[0]),
        ("[]", &[-1, 4], &[0, 4]),
        ("[]", &[-1, -1], &[0, 0]),
        ("[[],[]]", &[2, 0], &[2, 0]),
    ];
    for (text, shape, expected) in cases {
        assert_eq!(sizes(text, shape, ArrayForm::Nested)?, expected, "{text}");
    }
    Ok(())
}

#[test]
fn other_nestings_are_rejected() {
    let cases: [(&str, &[i64], &str); 10] = [
        (
            "1",
            &[-1],
            "its nesting does not match shape [-1]: expected arrays 1 deep",
        ),
        (
            "[1]",
            &[],
            "its nesting does not match shape []: expected arrays 0 deep",
        ),
        (
            "[[1]]",
            &[-1],
            "its nesting does not match shape [-1]: expected arrays 1 deep",
        ),
        (
            "[1,[2]]",
            &[-1],
            "its nesting does not match shape [-1]: expected arrays 1 deep",
        ),
        (
            "[[1],2]",
            &[-1, -1],
            "its nesting does not match shape [-1, -1]: expected arrays 2 deep",
        ),
        (
            "[1,2]",
            &[1, 2],
            "its nesting does not match shape [1, 2]: expected arrays 2 deep",
        ),
        ("[[1,2],[3]]", &[-1, -1], "its arrays differ in length"),
        ("[[],[3]]", &[-1, -1], "its arrays differ in length"),
        ("[1,2]", &[3], "it has shape [2], expected [3]"),
        (
            "[[1,2],[3,4]]",
            &[-1, 3],
            "it has shape [2, 2], expected [-1, 3]",
        ),
    ];
    for (text, shape, expected) in cases {
        let error = sizes(text, shape, ArrayForm::Nested).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn values_may_be_flat_or_bare_if_that_determines_the_shape() {
    type Case = (&'static str, &'static [i64], Option<&'static [u32]>);
    let cases: [Case; 14] = [
        ("7", &[], Some(&[])),
        ("[7]", &[], Some(&[])),
        ("7", &[1], Some(&[1])),
        ("7", &[-1, 1], Some(&[1, 1])),
        ("[1,2,3]", &[-1], Some(&[3])),
        ("[1,2,3,4,5,6]", &[2, 3], Some(&[2, 3])),
        ("[1,2,3,4,5,6]", &[-1, 3], Some(&[2, 3])),
        ("[[1,2,3],[4,5,6]]", &[-1, 3], Some(&[2, 3])),
        ("[]", &[-1, 3], Some(&[0, 3])),
        ("[1,2]", &[], None),
        ("[1,2,3,4]", &[-1, 3], None),
        ("[1,2,3,4]", &[-1, -1], None),
        ("[1]", &[-1, 0], None),
        ("[1,[2]]", &[2], None),
    ];
    for (text, shape, expected) in cases {
        let found = sizes(text, shape, ArrayForm::Any).ok();
        assert_eq!(found.as_deref(), expected, "{text} as {shape:?}");
    }
    let error = sizes("[1,2,3,4]", &[-1, 3], ArrayForm::Any).unwrap_err();
    let expected = "a flat array of 4 does not fill shape [-1, 3]: nest it like the shape";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_declared_size_is_not_allocated() {
    let huge = [i64::from(u32::MAX), i64::from(u32::MAX)];
    for form in [ArrayForm::Nested, ArrayForm::Any] {
        assert!(sizes("[1]", &huge, form).is_err());
        assert!(sizes("[[1]]", &huge, form).is_err());
    }
}

#[test]
fn integers_are_in_range_and_exact() -> anyhow::Result<()> {
    let (_, content) = read_as(
        "18446744073709551615",
        ElementType::Uint64,
        &[],
        ArrayForm::Nested,
    )?;
    assert_eq!(content, u64::MAX.to_le_bytes());
    let (_, content) = read_as(
        "9007199254740993",
        ElementType::Int64,
        &[],
        ArrayForm::Nested,
    )?;
    assert_eq!(content, 9_007_199_254_740_993i64.to_le_bytes());
    for wrong in [
        "256",
        "-1",
        "1.0",
        "1e0",
        "true",
        "\"1\"",
        "{\"a\":1}",
        "NaN",
        "Infinity",
    ] {
        let error = read_as(
            &format!("[1,{wrong}]"),
            ElementType::Uint8,
            &[2],
            ArrayForm::Nested,
        );
        let expected = ValueError::Element {
            position: 1,
            element_type: ElementType::Uint8,
        };
        assert_eq!(error, Err(expected), "{wrong}");
    }
    Ok(())
}

#[test]
fn floats_are_rounded_once_and_may_be_nan_or_infinite() -> anyhow::Result<()> {
    let text = "[0.1,-2,1e-45,16777217,NaN,Infinity,-Infinity]";
    let (_, content) = read_as(text, ElementType::Fp32, &[-1], ArrayForm::Nested)?;
    let numbers = content
        .as_chunks()
        .0
        .iter()
        .copied()
        .map(f32::from_le_bytes);
    let numbers: Vec<f32> = numbers.collect();
    assert_eq!(numbers[..4], [0.1, -2.0, 1e-45, 16_777_216.0]);
    assert!(numbers[4].is_nan());
    assert_eq!(numbers[5..], [f32::INFINITY, f32::NEG_INFINITY]);
    for (element_type, wrong) in [
        (ElementType::Fp32, "1e39"),
        (ElementType::Fp32, "-1e39"),
        (ElementType::Fp64, "1e400"),
        (ElementType::Fp64, "\"NaN\""),
        (ElementType::Fp64, "true"),
    ] {
        assert!(
            read_as(wrong, element_type, &[], ArrayForm::Nested).is_err(),
            "{wrong}"
        );
    }
    Ok(())
}

#[test]
fn strings_may_be_base64() -> anyhow::Result<()> {
    let text = r#"["a\n\u00e9", {"b64":"/wA="}, { "b64" : "YQ" }, {"b64":""}]"#;
    let (sizes, content) = read_as(text, ElementType::Bytes, &[-1], ArrayForm::Nested)?;
    assert_eq!(sizes, [4]);
    assert_eq!(
        content,
        b"\x04\0\0\0a\n\xc3\xa9\x02\0\0\0\xff\0\x01\0\0\0a\0\0\0\0"
    );
    for wrong in [
        "1",
        r#"{"b64":"*"}"#,
        r#"{"b64":1}"#,
        r#"{"b64":"YQ==","x":1}"#,
        r#"{"x":"YQ=="}"#,
        r#"{}"#,
        r#""\ud800""#,
    ] {
        let error = read_as(wrong, ElementType::Bytes, &[], ArrayForm::Nested).unwrap_err();
        let expected = r#"element 0 is not a string or {"b64": its bytes in base64}"#;
        assert_eq!(error.to_string(), expected, "{wrong}");
    }
    Ok(())
}

#[test]
fn two_byte_floats_are_decoded_like_other_numbers() -> anyhow::Result<()> {
    let text = "[1,-2.5,0.1,NaN,-Infinity]";
    let bits = |content: Vec<u8>| -> Vec<u16> {
        let pairs = content.chunks_exact(2);
        pairs
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect()
    };
    let (_, halves) = read_as(text, ElementType::Fp16, &[5], ArrayForm::Nested)?;
    assert_eq!(bits(halves), [0x3c00, 0xc100, 0x2e66, 0x7e00, 0xfc00]);
    let (_, brains) = read_as(text, ElementType::Bf16, &[5], ArrayForm::Nested)?;
    assert_eq!(bits(brains), [0x3f80, 0xc020, 0x3dcd, 0x7fc0, 0xff80]);
    for (wrong, element_type) in [
        ("65520", ElementType::Fp16),
        ("1e400", ElementType::Fp16),
        ("-3.4e38", ElementType::Bf16),
        ("\"1\"", ElementType::Fp16),
        ("true", ElementType::Bf16),
    ] {
        let error = read_as(wrong, element_type, &[], ArrayForm::Nested).unwrap_err();
        let expected = format!(
            "element 0 is not a number within the range of {element_type}, NaN, Infinity or null"
        );
        assert_eq!(error.to_string(), expected, "{wrong}");
    }
    Ok(())
}

#[test]
fn a_missing_value_is_nan_for_floats_and_an_error_for_others() -> anyhow::Result<()> {
    for (element_type, expected) in [
        (ElementType::Fp16, &[0, 0x7e][..]),
        (ElementType::Bf16, &[0xc0, 0x7f]),
        (ElementType::Fp32, &f32::NAN.to_le_bytes()),
        (ElementType::Fp64, &f64::NAN.to_le_bytes()),
    ] {
        for (text, shape) in [("null", &[][..]), ("[null]", &[1]), ("[[null]]", &[1, -1])] {
            let (_, content) = read_as(text, element_type, shape, ArrayForm::Nested)?;
            assert_eq!(content, expected, "{element_type} {text}");
        }
        // Without plain numbers only, the elements are read one by one.
        let (sizes, content) = read_as("[1, null, NaN]", element_type, &[-1], ArrayForm::Nested)?;
        assert_eq!(sizes, [3]);
        assert_eq!(content[expected.len()..], [expected, expected].concat());
    }
    for (element_type, wanted) in [
        (ElementType::Bool, "true or false"),
        (ElementType::Int8, "an integer from -128 to 127"),
        (
            ElementType::Bytes,
            r#"a string or {"b64": its bytes in base64}"#,
        ),
    ] {
        let error = read_as("[null]", element_type, &[1], ArrayForm::Nested).unwrap_err();
        let expected = format!(
            "element 0 is null, a missing value, which only floating-point inputs can have: it must be {wanted}"
        );
        assert_eq!(error.to_string(), expected);
    }
    Ok(())
}

#[test]
fn bools_are_true_or_false() {
    for wrong in ["1", "\"true\"", "null"] {
        assert!(
            read_as(wrong, ElementType::Bool, &[], ArrayForm::Nested).is_err(),
            "{wrong}"
        );
    }
    let (_, content) = read_as("[true,false]", ElementType::Bool, &[2], ArrayForm::Nested).unwrap();
    assert_eq!(content, [1, 0]);
}
