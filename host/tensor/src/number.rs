//! The elements of a tensor as numbers, whatever their type.
//!
//! For code that compares, displays or generates tensors; tensors in transit stay bytes.

use crate::element_type::ElementType;
use crate::half_precision::{bf16, f16, nearest_bf16, nearest_f16};
use crate::shape::Shape;
use crate::tensor::{Tensor, TensorError};

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
    fn a_number_outside_the_type_becomes_the_nearest_one_in_it() {
        let mut content = Vec::new();
        push(&mut content, ElementType::Int8, 300.0);
        assert_eq!(number(ElementType::Int8, &content), 127.0);
        assert_eq!(number(ElementType::Int32, &[1]), 0.0);
    }
}
