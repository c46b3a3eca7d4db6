//! Tests of the text of elements, and of round trips.

use super::*;
use crate::relaxed_json::{ArrayForm, Reader};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use wisp_tensor::{Dimension, Tensor};

fn output(
    name: &str,
    element_type: ElementType,
    dimensions: &[u32],
    content: Vec<u8>,
) -> NamedTensor {
    let shape = Shape::new(dimensions.to_vec()).unwrap();
    NamedTensor {
        name: name.to_owned(),
        tensor: Tensor::new(element_type, shape, Bytes::from(content)).unwrap(),
    }
}

fn all(output: &NamedTensor) -> String {
    let mut text = Vec::new();
    OutputWriter::new(output).unwrap().write_all(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn floats_are_short_and_have_a_point_or_exponent() {
    let numbers = [
        1.0f32,
        0.1,
        -0.0,
        1e-7,
        16_777_216.0,
        3.4e38,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
    ];
    let content = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    let text = all(&output("y", ElementType::Fp32, &[9], content));
    assert_eq!(
        text,
        "[1.0,0.1,-0.0,1e-7,16777216.0,3.4e+38,NaN,Infinity,-Infinity]"
    );
    let content = [-f64::NAN, 0.2]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    assert_eq!(
        all(&output("y", ElementType::Fp64, &[2], content)),
        "[NaN,0.2]"
    );
}

#[test]
fn integers_and_bools_are_json_integers_and_bools() {
    let content = [i64::MIN, i64::MAX]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let text = all(&output("y", ElementType::Int64, &[2], content));
    assert_eq!(text, "[-9223372036854775808,9223372036854775807]");
    let text = all(&output("y", ElementType::Bool, &[2], vec![1, 0]));
    assert_eq!(text, "[true,false]");
}

#[test]
fn two_byte_floats_are_written_as_f32() {
    let halves: [(u16, &str); 9] = [
        (0x3c00, "1.0"),
        (0xc000, "-2.0"),
        (0x0001, "5.9604645e-8"),
        (0x03ff, "0.00006097555"),
        (0x7bff, "65504.0"),
        (0x8000, "-0.0"),
        (0x7c00, "Infinity"),
        (0xfc00, "-Infinity"),
        (0x7e00, "NaN"),
    ];
    for (bits, expected) in halves {
        let text = all(&output(
            "y",
            ElementType::Fp16,
            &[],
            bits.to_le_bytes().to_vec(),
        ));
        let same = text.parse::<f32>().ok() == expected.parse::<f32>().ok();
        assert!(same || text == expected, "{bits:x}: {text}");
    }
    let brain = 0x4049u16.to_le_bytes().to_vec();
    assert_eq!(all(&output("y", ElementType::Bf16, &[], brain)), "3.140625");
}

#[test]
fn bytes_are_base64_by_output_name_or_if_not_utf8() {
    let content = b"\x01\0\0\0a\x02\0\0\0\xff\0".to_vec();
    let text = all(&output("y", ElementType::Bytes, &[2], content.clone()));
    assert_eq!(text, r#"["a",{"b64":"/wA="}]"#);
    let text = all(&output("y_bytes", ElementType::Bytes, &[2], content));
    assert_eq!(text, r#"[{"b64":"YQ=="},{"b64":"/wA="}]"#);
    let text = all(&output("n_bytes", ElementType::Uint8, &[1], vec![1]));
    assert_eq!(text, "[1]");
}

#[test]
fn rows_are_written_in_order() {
    let output = output("y", ElementType::Uint8, &[2, 1, 2], vec![1, 2, 3, 4]);
    let mut values = OutputWriter::new(&output).unwrap();
    let mut text = Vec::new();
    values.write_row(&mut text);
    text.push(b' ');
    values.write_row(&mut text);
    assert_eq!(text, b"[[1,2]] [[3,4]]");
}

#[test]
fn an_empty_tensor_with_many_empty_arrays_is_rejected() {
    let huge = output("y", ElementType::Uint8, &[u32::MAX, 0], vec![]);
    assert!(matches!(
        OutputWriter::new(&huge),
        Err(EncodeError::EmptyArrays { .. })
    ));
    let huge = output("y", ElementType::Uint8, &[65_537, 0], vec![]);
    assert!(OutputWriter::new(&huge).is_err());
    assert_eq!(
        all(&output("y", ElementType::Uint8, &[2, 0, 9], vec![])),
        "[[],[]]"
    );
    assert_eq!(
        all(&output("y", ElementType::Uint8, &[0, u32::MAX], vec![])),
        "[]"
    );
}

/// Arbitrary valid content of a tensor of `count` elements.
fn content(element_type: ElementType, count: usize) -> BoxedStrategy<Vec<u8>> {
    match element_type.size() {
        Some(_) if element_type == ElementType::Bool => vec(0u8..=1, count).boxed(),
        Some(size) => vec(any::<u8>(), count * size).boxed(),
        None => vec(any::<Vec<u8>>(), count)
            .prop_map(|elements| {
                let elements = elements.iter().map(Vec::as_slice);
                Tensor::from_elements(elements)
                    .unwrap()
                    .into_content()
                    .to_vec()
            })
            .boxed(),
    }
}

fn any_output() -> impl Strategy<Value = NamedTensor> {
    let name = prop_oneof!["y", "y_bytes"];
    (select(ElementType::ALL.to_vec()), vec(0u32..4, 0..4), name).prop_flat_map(
        |(element_type, dimensions, name)| {
            let count = dimensions.iter().product::<u32>() as usize;
            content(element_type, count)
                .prop_map(move |content| output(&name, element_type, &dimensions, content))
        },
    )
}

/// Returns the content with every NaN replaced by the one that `NaN` decodes to.
fn with_one_nan(tensor: &Tensor) -> Vec<u8> {
    let content = tensor.content();
    match tensor.element_type() {
        ElementType::Fp32 => content
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
            .flat_map(|n| if n.is_nan() { f32::NAN } else { n }.to_le_bytes())
            .collect(),
        ElementType::Fp64 => content
            .chunks_exact(8)
            .map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()))
            .flat_map(|n| if n.is_nan() { f64::NAN } else { n }.to_le_bytes())
            .collect(),
        ElementType::Fp16 => with_one_short_nan(content, 0x7c00, 0x7e00),
        ElementType::Bf16 => with_one_short_nan(content, 0x7f80, 0x7fc0),
        _ => content.to_vec(),
    }
}

fn with_one_short_nan(content: &[u8], infinity: u16, nan: u16) -> Vec<u8> {
    content
        .chunks_exact(2)
        .map(|bytes| u16::from_le_bytes(bytes.try_into().unwrap()))
        .flat_map(|n| if n & 0x7fff > infinity { nan } else { n }.to_le_bytes())
        .collect()
}

proptest! {
    #![proptest_config(crate::fixture::cases())]

    #[test]
    fn a_written_tensor_reads_back_as_itself(output in any_output()) {
        let text = all(&output);
        let shape: Vec<Dimension> = output.tensor.shape().dimensions().iter().map(|&s| Dimension::Fixed(s)).collect();
        let mut content = Vec::new();
        let declared = (output.tensor.element_type(), shape.as_slice());
        let sizes = crate::relaxed_json::tensor::read(&mut Reader::new(&text), declared, ArrayForm::Nested, &mut content);
        prop_assert_eq!(sizes.as_deref(), Ok(output.tensor.shape().dimensions()));
        prop_assert_eq!(content, with_one_nan(&output.tensor));
    }

    #[test]
    fn every_float_round_trips(f32_bits: u32, f64_bits: u64) {
        let (narrow, wide) = (f32::from_bits(f32_bits), f64::from_bits(f64_bits));
        let text = all(&output("y", ElementType::Fp32, &[], narrow.to_le_bytes().to_vec()));
        let again: f32 = text.parse().unwrap();
        prop_assert!(again.to_bits() == narrow.to_bits() || again.is_nan() && narrow.is_nan());
        let text = all(&output("y", ElementType::Fp64, &[], wide.to_le_bytes().to_vec()));
        let again: f64 = text.parse().unwrap();
        prop_assert!(again.to_bits() == wide.to_bits() || again.is_nan() && wide.is_nan());
    }
}
