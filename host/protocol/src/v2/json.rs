//! The elements of a tensor as JSON: the `data` of an input or output.
//!
//! The `data` of an input arrives as text and is decoded straight into the tensor's bytes, so the order
//! of keys does not matter and each number is rounded once. `crate::number` checks arrays of numbers
//! while it reads them, so long ones arrive unparsed (`crate::array_extraction`). Everything else, error reports
//! included, is read from text that serde_json has validated as one JSON value, but for bare words.
//!
//! Decisions: `1.0` is not an integer, as in Triton; BOOL is `true` or `false`, never a number; numbers
//! beyond the datatype's range are errors, not infinities; FP16 and BF16 have no JSON form. As in Triton,
//! `data` may be nested in any way with as many elements as the shape, and floats may be the bare words
//! `NaN`, `Infinity` and `-Infinity` (`masked_text`). `null` is a missing value, NaN. Outputs without a JSON
//! form (FP16, BF16, bytes that are not UTF-8) are errors that suggest binary data.

mod cursor;
mod elements;

pub(super) use elements::Elements;

use super::error::{ElementCount, InputError};
use crate::number::{read_f32, read_f64, read_tensor};
use bytes::Bytes;
use cursor::{Cursor, Token};
use wisp_tensor::tensor::byte_length;
use wisp_tensor::{ElementType, Shape};

/// A closure that appends an integer to a tensor's bytes; it returns `None` for anything else.
///
/// With closures instead of function pointers, the loop over the elements is compiled once per type.
macro_rules! integer {
    ($integer:ty) => {
        |cursor, content| {
            let value: $integer = cursor.scalar().parse().ok()?;
            content.extend_from_slice(&value.to_le_bytes());
            Some(())
        }
    };
}

/// Decodes the elements in `text` into the bytes of a tensor of this type and shape.
///
/// `text` must be one valid JSON value, apart from bare words among the elements of its arrays; anything
/// else gives an error or meaningless bytes, never a panic.
pub(super) fn decode(
    text: &str,
    element_type: ElementType,
    shape: &Shape,
) -> Result<Bytes, InputError> {
    if let Some(content) = decode_numbers(text, element_type, shape) {
        return Ok(content);
    }
    let list = List {
        text,
        element_type,
        shape,
    };
    let content = match element_type {
        ElementType::Bool => list.read(read_bool),
        ElementType::Uint8 => list.read(integer!(u8)),
        ElementType::Uint16 => list.read(integer!(u16)),
        ElementType::Uint32 => list.read(integer!(u32)),
        ElementType::Uint64 => list.read(integer!(u64)),
        ElementType::Int8 => list.read(integer!(i8)),
        ElementType::Int16 => list.read(integer!(i16)),
        ElementType::Int32 => list.read(integer!(i32)),
        ElementType::Int64 => list.read(integer!(i64)),
        ElementType::Fp32 => list.read(|cursor, content| {
            let (number, length) = read_f32(cursor.rest())?;
            cursor.skip(length);
            content.extend_from_slice(&number.to_le_bytes());
            Some(())
        }),
        ElementType::Fp64 => list.read(|cursor, content| {
            let (number, length) = read_f64(cursor.rest())?;
            cursor.skip(length);
            content.extend_from_slice(&number.to_le_bytes());
            Some(())
        }),
        ElementType::Fp16 | ElementType::Bf16 => Err(InputError::NoJsonForm(element_type)),
        ElementType::Bytes => list.read(read_string),
    };
    content.map(Bytes::from)
}

/// Decodes numbers like [`decode`], from text that need not be valid JSON; returns `None` on any error, and
/// for arrays that are neither flat nor nested exactly as the shape.
pub(super) fn decode_numbers(
    text: &str,
    element_type: ElementType,
    shape: &Shape,
) -> Option<Bytes> {
    read_tensor(text, element_type, shape).map(Bytes::from)
}

/// The `data` of an input, with its declared type and shape.
struct List<'a> {
    text: &'a str,
    element_type: ElementType,
    shape: &'a Shape,
}

impl List<'_> {
    fn read(
        &self,
        read_element: impl Fn(&mut Cursor, &mut Vec<u8>) -> Option<()>,
    ) -> Result<Vec<u8>, InputError> {
        let mut content = Vec::with_capacity(self.capacity()?);
        let mut cursor = Cursor::new(self.text);
        let mut depth = 0usize;
        let mut position = 0;
        while let Some(token) = cursor.next_token() {
            match token {
                Token::Open => depth += 1,
                Token::Close => depth = depth.saturating_sub(1),
                Token::Scalar if depth == 0 && self.shape.rank() > 0 => {
                    return Err(InputError::NotAnArray);
                }
                Token::Scalar => {
                    if position == self.shape.elements() {
                        return Err(self.count(ElementCount::More));
                    }
                    if read_element(&mut cursor, &mut content).is_none() {
                        return Err(InputError::Element {
                            position,
                            element_type: self.element_type,
                        });
                    }
                    position += 1;
                }
            }
        }
        match position == self.shape.elements() {
            true => Ok(content),
            false => Err(self.count(ElementCount::Exactly(position))),
        }
    }

    /// Returns the number of bytes to reserve: the tensor's size, or 0 if the text is too short for it.
    fn capacity(&self) -> Result<usize, InputError> {
        let Some(size) = self.element_type.size() else {
            return Ok(self.text.len());
        };
        let bytes = byte_length(self.shape, size)?;
        // An element takes at least a digit and a comma or bracket.
        match self.shape.elements() <= self.text.len().div_ceil(2) {
            true => Ok(bytes),
            false => Ok(0),
        }
    }

    fn count(&self, actual: ElementCount) -> InputError {
        InputError::Count {
            shape: self.shape.clone(),
            actual,
        }
    }
}

fn read_bool(cursor: &mut Cursor, content: &mut Vec<u8>) -> Option<()> {
    content.push(match cursor.scalar() {
        "false" => 0,
        "true" => 1,
        _ => return None,
    });
    Some(())
}

fn read_string(cursor: &mut Cursor, content: &mut Vec<u8>) -> Option<()> {
    let text = cursor.scalar();
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    match inner.contains('\\') {
        false => append_element(inner, content),
        // Fails on lone surrogates, which the first pass accepts.
        true => append_element(&serde_json::from_str::<String>(text).ok()?, content),
    }
}

/// Appends one BYTES element: its length as a little-endian u32, then its bytes.
fn append_element(element: &str, content: &mut Vec<u8>) -> Option<()> {
    let length = u32::try_from(element.len()).ok()?;
    content.extend_from_slice(&length.to_le_bytes());
    content.extend_from_slice(element.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests;
