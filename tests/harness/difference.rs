//! Compares a computed tensor with the expected one.
//!
//! Types, shapes, integers, bools and strings must be equal. Floats must agree within a tolerance, NaN
//! with NaN, and infinities with the same infinity.

use wisp_tensor::{ElementType, Tensor};

/// The tolerance between two numbers: `absolute + relative * expected`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    pub(crate) relative: f64,
    pub(crate) absolute: f64,
}

/// Returns a description of the difference, if there is one.
pub(crate) fn difference(
    actual: &Tensor,
    expected: &Tensor,
    tolerance: Tolerance,
) -> Option<String> {
    if let Some(difference) = kind_difference(actual, expected) {
        return Some(difference);
    }
    let Some(expected_values) = floats(expected) else {
        let same = actual.content() == expected.content();
        return (!same).then(|| first_unequal(actual, expected));
    };
    let actual_values = floats(actual)?;
    let mut pairs = actual_values.iter().zip(&expected_values).enumerate();
    let (position, (actual, expected)) = pairs.find(|(_, (actual, expected))| {
        let equal = actual == expected || (actual.is_nan() && expected.is_nan());
        // False for a distance that is NaN or infinite.
        let near = expected.is_finite()
            && (*actual - *expected).abs()
                <= tolerance.absolute + tolerance.relative * expected.abs();
        !equal && !near
    })?;
    Some(format!(
        "element {position} is {actual}, expected {expected}"
    ))
}

/// Returns a description of the difference in type or shape, if there is one.
pub(crate) fn kind_difference(actual: &Tensor, expected: &Tensor) -> Option<String> {
    let kind = |tensor: &Tensor| format!("{} {}", tensor.element_type(), tensor.shape());
    let (actual, expected) = (kind(actual), kind(expected));
    (actual != expected).then(|| format!("is {actual}, expected {expected}"))
}

fn first_unequal(actual: &Tensor, expected: &Tensor) -> String {
    let pairs = actual.content().iter().zip(expected.content());
    let position = pairs.take_while(|(actual, expected)| actual == expected);
    format!("byte {} differs", position.count())
}

/// Returns the elements of a tensor of floats.
pub(crate) fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let content: &[u8] = tensor.content();
    let pairs = || content.as_chunks::<2>().0.iter();
    let quads = || content.as_chunks::<4>().0.iter();
    let eights = || content.as_chunks::<8>().0.iter();
    Some(match tensor.element_type() {
        ElementType::Fp16 => pairs()
            .map(|b| f16_to_f64(u16::from_le_bytes(*b)))
            .collect(),
        ElementType::Bf16 => pairs()
            .map(|b| bf16_to_f64(u16::from_le_bytes(*b)))
            .collect(),
        ElementType::Fp32 => quads().map(|b| f32::from_le_bytes(*b).into()).collect(),
        ElementType::Fp64 => eights().map(|b| f64::from_le_bytes(*b)).collect(),
        _ => return None,
    })
}

/// Returns the value of an IEEE 754 half-precision number.
fn f16_to_f64(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2f64.powi(exponent - 15),
    }
}

/// Returns the value of a bfloat16 number, the upper half of an f32.
fn bf16_to_f64(bits: u16) -> f64 {
    f32::from_bits(u32::from(bits) << 16).into()
}

#[test]
fn half_precision_numbers_are_read_as_in_ieee_754() {
    let cases = [
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (0x7bff, 65504.0),
        (0x0001, 2f64.powi(-24)),
        (0xfc00, f64::NEG_INFINITY),
    ];
    for (bits, value) in cases {
        assert_eq!(f16_to_f64(bits), value, "{bits:#x}");
    }
    assert!(f16_to_f64(0x7e00).is_nan());
}
