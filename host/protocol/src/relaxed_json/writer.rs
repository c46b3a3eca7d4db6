//! Encoding of the elements of an output as JSON text, with bare `NaN` and infinities.
//!
//! Floats have the shortest digits that decode to the same number of their datatype, and a point or an
//! exponent; integers have neither. A BYTES element is a string, or `{"b64": "..."}` if the name of the
//! output ends in `_bytes` (TF Serving's rule) or the element is not UTF-8 (TF Serving would write its
//! bytes unchanged, which no JSON parser accepts).

use super::element::BASE64;
use super::error::EncodeError;
use base64::Engine;
use serde::Serialize;
use wisp_tensor::half_precision::{bf16, f16};
use wisp_tensor::{ElementType, NamedTensor, Shape};

/// The maximum number of empty arrays in one output. A tensor with an axis of size 0 has no content,
/// but its nested arrays take as much text as the sizes of the axes before it require.
const MAX_EMPTY_ARRAYS: u64 = 1 << 16;

/// A writer of the elements of one output, in order. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct OutputWriter<'a> {
    output: &'a NamedTensor,
    as_base64: bool,
    /// The content that has not been written yet.
    rest: &'a [u8],
}

impl<'a> OutputWriter<'a> {
    pub(crate) fn new(output: &'a NamedTensor) -> Result<OutputWriter<'a>, EncodeError> {
        let shape = output.tensor.shape();
        if empty_arrays(shape) > MAX_EMPTY_ARRAYS {
            return Err(EncodeError::EmptyArrays {
                output: output.name.clone(),
                shape: shape.to_string(),
            });
        }
        Ok(OutputWriter {
            output,
            as_base64: output.name.ends_with("_bytes"),
            rest: output.tensor.content(),
        })
    }

    /// Writes all elements, nested as the shape.
    pub(crate) fn write_all(&mut self, text: &mut Vec<u8>) {
        self.write_nested(text, self.output.tensor.shape().dimensions());
    }

    /// Writes the next entry of axis 0, nested as the other axes.
    pub(crate) fn write_row(&mut self, text: &mut Vec<u8>) {
        let dimensions = self.output.tensor.shape().dimensions();
        self.write_nested(text, dimensions.get(1..).unwrap_or_default());
    }

    /// Writes the next element.
    pub(crate) fn write_one(&mut self, text: &mut Vec<u8>) {
        let element_type = self.output.tensor.element_type();
        let (element, rest) = match element_type.size() {
            Some(size) => self.rest.split_at_checked(size),
            None => self.rest.split_first_chunk().and_then(|(length, rest)| {
                rest.split_at_checked(u32::from_le_bytes(*length).try_into().ok()?)
            }),
        }
        .expect("a tensor holds as many elements as its shape says");
        self.rest = rest;
        match (element_type, self.as_base64) {
            (ElementType::Bytes, true) => write_base64(text, element),
            _ => write_element(text, element_type, element),
        }
    }

    fn write_nested(&mut self, text: &mut Vec<u8>, sizes: &[u32]) {
        let Some((&size, inner)) = sizes.split_first() else {
            return self.write_one(text);
        };
        text.push(b'[');
        for position in 0..size {
            if position > 0 {
                text.push(b',');
            }
            self.write_nested(text, inner);
        }
        text.push(b']');
    }
}

/// Returns the number of empty arrays in the nested form of a tensor of this shape.
fn empty_arrays(shape: &Shape) -> u64 {
    let dimensions = shape.dimensions();
    match dimensions.iter().position(|&size| size == 0) {
        Some(axis) => dimensions[..axis]
            .iter()
            .fold(1, |lists, &size| lists.saturating_mul(u64::from(size))),
        None => 0,
    }
}

/// The bytes of an element as a number of this type.
macro_rules! read {
    ($number:ty, $element:expr) => {
        <$number>::from_le_bytes(fixed($element))
    };
}

/// Writes an element from its bytes, which for BYTES exclude the length.
pub(crate) fn write_element(text: &mut Vec<u8>, element_type: ElementType, element: &[u8]) {
    match element_type {
        ElementType::Bool => write_json(text, &(element != [0])),
        ElementType::Uint8 => write_json(text, &read!(u8, element)),
        ElementType::Uint16 => write_json(text, &read!(u16, element)),
        ElementType::Uint32 => write_json(text, &read!(u32, element)),
        ElementType::Uint64 => write_json(text, &read!(u64, element)),
        ElementType::Int8 => write_json(text, &read!(i8, element)),
        ElementType::Int16 => write_json(text, &read!(i16, element)),
        ElementType::Int32 => write_json(text, &read!(i32, element)),
        ElementType::Int64 => write_json(text, &read!(i64, element)),
        ElementType::Fp16 => write_f32(text, read!(f16, element).into()),
        ElementType::Bf16 => write_f32(text, read!(bf16, element).into()),
        ElementType::Fp32 => write_f32(text, read!(f32, element)),
        ElementType::Fp64 => write_f64(text, read!(f64, element)),
        ElementType::Bytes => write_string(text, element),
    }
}

/// Returns the bytes of an element as the nearest f64; `None` for BYTES.
pub(crate) fn number(element_type: ElementType, element: &[u8]) -> Option<f64> {
    let is_number = element_type != ElementType::Bytes;
    is_number.then(|| wisp_tensor::number::number(element_type, element))
}

/// Writes bytes as a string, or in base64 if they are not UTF-8.
pub(crate) fn write_string(text: &mut Vec<u8>, bytes: &[u8]) {
    match str::from_utf8(bytes) {
        Ok(string) => write_json(text, string),
        Err(_) => write_base64(text, bytes),
    }
}

/// Writes a value that has a form in strict JSON.
pub(crate) fn write_json(text: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(text, value)
        .expect("a vector takes every byte; what callers write has a JSON form");
}

/// Writes a float, or the bare word for one that is not finite.
pub(crate) fn write_f32(text: &mut Vec<u8>, number: f32) {
    match non_finite_literal(f64::from(number)) {
        Some(word) => text.extend_from_slice(word),
        None => write_json(text, &number),
    }
}

/// Writes a double like [`write_f32`].
pub(crate) fn write_f64(text: &mut Vec<u8>, number: f64) {
    match non_finite_literal(number) {
        Some(word) => text.extend_from_slice(word),
        None => write_json(text, &number),
    }
}

fn non_finite_literal(number: f64) -> Option<&'static [u8]> {
    match number {
        f64::INFINITY => Some(b"Infinity"),
        f64::NEG_INFINITY => Some(b"-Infinity"),
        _ if number.is_nan() => Some(b"NaN"),
        _ => None,
    }
}

fn write_base64(text: &mut Vec<u8>, bytes: &[u8]) {
    text.extend_from_slice(b"{\"b64\":\"");
    text.extend_from_slice(BASE64.encode(bytes).as_bytes());
    text.extend_from_slice(b"\"}");
}

fn fixed<const SIZE: usize>(element: &[u8]) -> [u8; SIZE] {
    element
        .try_into()
        .expect("an element has the size of its type")
}

#[cfg(test)]
mod tests;
