//! The elements of a tensor as numbers, whatever their type.
//!
//! For code that compares, displays or generates tensors; tensors in transit stay bytes.

use crate::element_type::ElementType;
use crate::shape::Shape;
use crate::tensor::{Tensor, TensorError};
pub use half::{bf16, f16};

/// Iterates over the elements in order. Integers beyond 2^53 are rounded, and a bool is 0 or 1. BYTES
/// yield nothing.
pub fn numbers(tensor: &Tensor) -> impl Iterator<Item = f64> {
    let element_type = tensor.element_type();
    let size = element_type.size().unwrap_or(usize::MAX);
    let content: &[u8] = match element_type {
        ElementType::Bytes => &[],
        _ => tensor.content(),
    };
    content
        .chunks_exact(size)
        .map(move |bytes| number(element_type, bytes))
}

/// Decodes the little-endian `bytes` of one element; a wrong number of bytes decodes to 0.
pub fn number(element_type: ElementType, bytes: &[u8]) -> f64 {
    macro_rules! read {
        ($type:ty, $wide:expr) => {
            bytes
                .try_into()
                .map_or(0.0, |bytes| $wide(<$type>::from_le_bytes(bytes)))
        };
    }
    match element_type {
        ElementType::Bool | ElementType::Uint8 => read!(u8, f64::from),
        ElementType::Uint16 => read!(u16, f64::from),
        ElementType::Uint32 => read!(u32, f64::from),
        ElementType::Uint64 => read!(u64, |wide| wide as f64),
        ElementType::Int8 => read!(i8, f64::from),
        ElementType::Int16 => read!(i16, f64::from),
        ElementType::Int32 => read!(i32, f64::from),
        ElementType::Int64 => read!(i64, |wide| wide as f64),
        ElementType::Fp16 => read!(f16, f64::from),
        ElementType::Bf16 => read!(bf16, f64::from),
        ElementType::Fp32 => read!(f32, f64::from),
        ElementType::Fp64 => read!(f64, f64::from),
        ElementType::Bytes => 0.0,
    }
}

/// Creates a tensor of these numbers, each rounded to the nearest value of its type. A BOOL is whether
/// the number is not 0; BYTES elements are empty.
pub fn from_numbers(
    element_type: ElementType,
    shape: Shape,
    mut next: impl FnMut() -> f64,
) -> Result<Tensor, TensorError> {
    // An empty BYTES element is only its length prefix, four zero bytes.
    let size = element_type.size().unwrap_or(4);
    let length = crate::tensor::byte_length(&shape, size)?;
    let mut content = Vec::with_capacity(length);
    for _ in 0..shape.elements() {
        push(&mut content, element_type, next());
    }
    Tensor::new(element_type, shape, content.into())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` gives the nearest number that the type has"
)]
fn push(content: &mut Vec<u8>, element_type: ElementType, number: f64) {
    match element_type {
        ElementType::Bool => content.push(u8::from(number != 0.0)),
        ElementType::Uint8 => content.extend((number as u8).to_le_bytes()),
        ElementType::Uint16 => content.extend((number as u16).to_le_bytes()),
        ElementType::Uint32 => content.extend((number as u32).to_le_bytes()),
        ElementType::Uint64 => content.extend((number as u64).to_le_bytes()),
        ElementType::Int8 => content.extend((number as i8).to_le_bytes()),
        ElementType::Int16 => content.extend((number as i16).to_le_bytes()),
        ElementType::Int32 => content.extend((number as i32).to_le_bytes()),
        ElementType::Int64 => content.extend((number as i64).to_le_bytes()),
        ElementType::Fp16 => content.extend(nearest_f16(number).to_le_bytes()),
        ElementType::Bf16 => content.extend(nearest_bf16(number).to_le_bytes()),
        ElementType::Fp32 => content.extend((number as f32).to_le_bytes()),
        ElementType::Fp64 => content.extend(number.to_le_bytes()),
        ElementType::Bytes => content.extend([0; 4]),
    }
}

/// Returns the FP16 number nearest to `number`. Ties round to even; numbers beyond the range give
/// infinity.
pub fn nearest_f16(number: f64) -> f16 {
    f16::from_f32(rounded_to_odd(number))
}

/// Returns the BF16 number nearest to `number`. Ties round to even; numbers beyond the range give
/// infinity.
pub fn nearest_bf16(number: f64) -> bf16 {
    bf16::from_f32(rounded_to_odd(number))
}

/// Returns an f32 that rounds to the same FP16 or BF16 number as `number` does.
///
/// `f16::from_f64` drops the low bits of an f64 before it rounds, so numbers just beside the midpoint of
/// two values round to the wrong one. Rounding to odd instead keeps the information that bits were
/// dropped: an inexact result has its last bit set and so is never a midpoint.
#[expect(clippy::cast_possible_truncation, reason = "the rounding is corrected")]
fn rounded_to_odd(number: f64) -> f32 {
    let nearest = number as f32;
    let difference = f64::from(nearest).abs() - number.abs();
    // The difference is not a number for infinities and NaN, and infinite beyond the range of an f32.
    if !difference.is_finite() || difference == 0.0 {
        return nearest;
    }
    let bits = nearest.to_bits();
    let toward_zero = if difference > 0.0 { bits - 1 } else { bits };
    f32::from_bits(toward_zero | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_survive_every_numeric_type() {
        for element_type in ElementType::ALL {
            let mut next = [0.0, 1.0, 1.0].into_iter();
            let shape = Shape::new(vec![3]).unwrap();
            let tensor = from_numbers(element_type, shape, || next.next().unwrap()).unwrap();
            let found: Vec<f64> = numbers(&tensor).collect();
            match element_type {
                ElementType::Bytes => assert!(found.is_empty()),
                _ => assert_eq!(found, [0.0, 1.0, 1.0], "{element_type}"),
            }
        }
    }

    #[test]
    fn halfway_between_two_floats_the_even_one_is_nearest() {
        for low in 0..0x7bff_u16 {
            let at = |bits| f64::from(f16::from_bits(bits));
            let middle = f64::midpoint(at(low), at(low + 1));
            let even = low + (low & 1);
            assert_eq!(nearest_f16(middle).to_bits(), even, "{middle}");
            assert_eq!(nearest_f16(middle.next_down()).to_bits(), low, "{middle}");
            assert_eq!(nearest_f16(middle.next_up()).to_bits(), low + 1, "{middle}");
            assert_eq!(nearest_f16(-middle).to_bits(), even | 0x8000, "{middle}");
        }
        for low in 0..0x7f7f_u16 {
            let at = |bits| f64::from(bf16::from_bits(bits));
            let middle = f64::midpoint(at(low), at(low + 1));
            let even = low + (low & 1);
            assert_eq!(nearest_bf16(middle).to_bits(), even, "{middle}");
            assert_eq!(nearest_bf16(middle.next_down()).to_bits(), low, "{middle}");
            assert_eq!(
                nearest_bf16(middle.next_up()).to_bits(),
                low + 1,
                "{middle}"
            );
        }
    }

    #[test]
    fn every_two_byte_float_is_the_nearest_to_itself() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            if !half.is_nan() {
                assert_eq!(nearest_f16(half.into()).to_bits(), bits);
            }
            if !brain.is_nan() {
                assert_eq!(nearest_bf16(brain.into()).to_bits(), bits);
            }
        }
        assert!(nearest_f16(f64::NAN).is_nan() && nearest_bf16(f64::NAN).is_nan());
    }

    #[test]
    fn floats_beyond_the_range_are_infinite_and_below_it_zero() {
        for (number, bits) in [
            (65_519.99, 0x7bff),
            (65_520.0, 0x7c00),
            (-1e300, 0xfc00),
            (f64::INFINITY, 0x7c00),
            (2f64.powi(-25), 0),
            (2f64.powi(-25).next_up(), 1),
            (f64::MIN_POSITIVE, 0),
            (-0.0, 0x8000),
        ] {
            assert_eq!(nearest_f16(number).to_bits(), bits, "{number}");
        }
        assert_eq!(nearest_bf16(3.4e38).to_bits(), 0x7f80);
        assert_eq!(nearest_bf16(f64::from(f32::MAX)).to_bits(), 0x7f80);
    }

    #[test]
    fn a_number_outside_the_type_becomes_the_nearest_one_in_it() {
        let mut content = Vec::new();
        push(&mut content, ElementType::Int8, 300.0);
        assert_eq!(number(ElementType::Int8, &content), 127.0);
        assert_eq!(number(ElementType::Int32, &[1]), 0.0);
    }
}
