//! Tests of elements in JSON: decoding, errors, and round trips.

use super::*;
use crate::v2::error::InputError;

fn shape(dimensions: &[u32]) -> Shape {
    Shape::new(dimensions.to_vec()).unwrap()
}

/// Returns the error of decoding `text` as a tensor of this type and shape `[1]`.
fn decode_error(text: &str, element_type: ElementType) -> InputError {
    decode(text, element_type, &shape(&[1])).unwrap_err()
}

#[test]
fn data_may_be_nested_in_any_way() {
    let fits: [(&str, &[u32]); 22] = [
        ("[1,2,3,4,5,6]", &[2, 3]),
        ("[[1,2,3],[4,5,6]]", &[2, 3]),
        (
            " [ [ [ 1 ] , [ 2 ] , [ 3 ] ] , [ [ 4 ] , [ 5 ] , [ 6 ] ] ] ",
            &[2, 3, 1],
        ),
        ("[1,2,3,4,5,6]", &[6]),
        ("[1]", &[]),
        ("1", &[]),
        ("[]", &[0]),
        ("[]", &[0, 3]),
        ("[]", &[2, 0]),
        ("[[],[]]", &[2, 0]),
        ("[[],[]]", &[2, 0, 3]),
        ("[[[],[]]]", &[1, 2, 0]),
        ("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", &[1; 16]),
        // Unlike the shape, with the right count.
        ("[[1,2],[3,4,5,6]]", &[2, 3]),
        ("[[1,2],[3,4],[5,6]]", &[2, 3]),
        ("[[1,2,3],[4,5,6]]", &[2, 3, 1]),
        ("[[[1]],2]", &[2, 1, 1]),
        ("[1,[2]]", &[2]),
        ("[[1,2]]", &[2]),
        ("[[1]]", &[]),
        ("[[]]", &[0]),
        ("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", &[1; 16]),
    ];
    for (text, dimensions) in fits {
        let content = decode(text, ElementType::Uint8, &shape(dimensions));
        let expected: Vec<u8> = text
            .bytes()
            .filter(u8::is_ascii_digit)
            .map(|digit| digit - b'0')
            .collect();
        assert_eq!(content.as_deref(), Ok(expected.as_slice()), "{text}");
    }
    for text in ["1", "\"1\"", "{\"a\":1}"] {
        let error = decode(text, ElementType::Uint8, &shape(&[1])).unwrap_err();
        assert_eq!(error, InputError::NotAnArray, "{text}");
    }
}

#[test]
fn the_error_for_a_wrong_count_contains_the_count() {
    let count = |text| {
        decode(text, ElementType::Uint8, &shape(&[2, 1]))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        count("[]"),
        "shape [2, 1] takes 2 elements, `data` contains 0"
    );
    assert_eq!(
        count("[1]"),
        "shape [2, 1] takes 2 elements, `data` contains 1"
    );
    assert_eq!(
        count("[1,2,3,4]"),
        "shape [2, 1] takes 2 elements, `data` contains more"
    );
    assert_eq!(
        count("[[[]]]"),
        "shape [2, 1] takes 2 elements, `data` contains 0"
    );
}

#[test]
fn integers_are_in_range_without_a_fraction() {
    let cases = [
        (ElementType::Uint8, "0", "255", "256"),
        (ElementType::Uint16, "0", "65535", "65536"),
        (ElementType::Uint32, "0", "4294967295", "4294967296"),
        (
            ElementType::Uint64,
            "0",
            "18446744073709551615",
            "18446744073709551616",
        ),
        (ElementType::Int8, "-128", "127", "128"),
        (ElementType::Int16, "-32768", "32767", "-32769"),
        (
            ElementType::Int32,
            "-2147483648",
            "2147483647",
            "2147483648",
        ),
        (
            ElementType::Int64,
            "-9223372036854775808",
            "9223372036854775807",
            "-9223372036854775809",
        ),
    ];
    for (element_type, least, most, beyond) in cases {
        let text = format!("[{least},{most}]");
        assert!(decode(&text, element_type, &shape(&[2])).is_ok(), "{text}");
        for wrong in [
            beyond,
            "1.5",
            "1.0",
            "1e0",
            "true",
            "null",
            "\"1\"",
            "{\"a\":1}",
        ] {
            let error = InputError::Element {
                position: 0,
                element_type,
            };
            assert_eq!(
                decode_error(&format!("[{wrong}]"), element_type),
                error,
                "{wrong}"
            );
        }
    }
    assert_eq!(
        decode("[1,-1]", ElementType::Uint8, &shape(&[2]))
            .unwrap_err()
            .to_string(),
        "element 1 of `data` is not an integer from 0 to 255"
    );
}

#[test]
fn numbers_beyond_the_range_of_a_float_are_rejected() {
    for (element_type, beyond) in [
        (ElementType::Fp32, "1e39"),
        (ElementType::Fp32, "-3.5e38"),
        (ElementType::Fp64, "1e400"),
    ] {
        let text = decode_error(&format!("[{beyond}]"), element_type).to_string();
        let expected =
            format!("element 0 of `data` is not a number within the range of {element_type}");
        assert_eq!(text, expected);
    }
    for wrong in ["true", "nan", "\"1\"", "\"NaN\"", "{}"] {
        assert!(
            decode(&format!("[{wrong}]"), ElementType::Fp32, &shape(&[1])).is_err(),
            "{wrong}"
        );
    }
    let integers = decode("[7,-2]", ElementType::Fp64, &shape(&[2])).unwrap();
    assert_eq!(
        integers,
        [7f64.to_le_bytes(), (-2f64).to_le_bytes()].concat()
    );
}

#[test]
fn a_bool_is_true_or_false() {
    let content = decode("[true, false]", ElementType::Bool, &shape(&[2])).unwrap();
    assert_eq!(content, [1, 0].as_slice());
    for wrong in ["1", "0", "\"true\"", "null"] {
        let text = decode_error(&format!("[{wrong}]"), ElementType::Bool).to_string();
        assert_eq!(text, "element 0 of `data` is not true or false");
    }
}

#[test]
fn strings_are_unescaped_and_may_contain_brackets() {
    let text = r#"["a]b,[", "", "\"\\\u00e9\n", "é", "\ud83d\ude00", "\\"]"#;
    let content = decode(text, ElementType::Bytes, &shape(&[6])).unwrap();
    let tensor = wisp_tensor::Tensor::new(ElementType::Bytes, shape(&[6]), content).unwrap();
    let elements: Vec<&[u8]> = tensor.elements().collect();
    let expected = ["a]b,[", "", "\"\\é\n", "é", "😀", "\\"].map(str::as_bytes);
    assert_eq!(elements, expected);
    for wrong in ["1", "null", "NaN", r#""\ud800""#, r#""\udc00\ud800""#] {
        assert!(
            decode(&format!("[{wrong}]"), ElementType::Bytes, &shape(&[1])).is_err(),
            "{wrong}"
        );
    }
}
