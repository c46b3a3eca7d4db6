//! The elements of an output as JSON text.
//!
//! Floats that are not finite are the bare words `NaN`, `Infinity` and `-Infinity`, as Triton and Python write
//! them. A client that needs strict JSON requests such an output as binary data.

use crate::relaxed_json::{write_f32, write_f64, write_json};
use crate::v2::error::EncodeError;
use wisp_tensor::{ElementType, NamedTensor, Tensor};

/// The elements of a tensor that has a JSON form.
#[derive(Debug)]
pub(crate) struct Elements<'a>(&'a Tensor);

impl<'a> Elements<'a> {
    /// Returns the elements of `output`, or an error if any of them has no JSON form.
    pub(crate) fn new(output: &'a NamedTensor) -> Result<Elements<'a>, EncodeError> {
        let NamedTensor { name, tensor } = output;
        let output = || name.clone();
        match tensor.element_type() {
            element_type @ (ElementType::Fp16 | ElementType::Bf16) => {
                Err(EncodeError::NoJsonForm {
                    output: output(),
                    element_type,
                })
            }
            ElementType::Bytes if tensor.elements().any(|text| str::from_utf8(text).is_err()) => {
                Err(EncodeError::NotUtf8 { output: output() })
            }
            _ => Ok(Elements(tensor)),
        }
    }

    /// Returns an estimate of the bytes of JSON text for the elements.
    pub(crate) fn text_size(&self) -> usize {
        self.0.content().len().saturating_mul(3)
    }

    /// Writes the elements as one flat array.
    pub(crate) fn write(&self, text: &mut Vec<u8>) {
        /// Writes integers of this type.
        macro_rules! integers {
            ($integer:ty) => {
                write(text, self.0.content(), |text, bytes| {
                    write_json(text, &<$integer>::from_le_bytes(bytes));
                })
            };
        }
        match self.0.element_type() {
            ElementType::Bool => write(text, self.0.content(), |text, [byte]| {
                write_json(text, &(byte != 0));
            }),
            ElementType::Uint8 => integers!(u8),
            ElementType::Uint16 => integers!(u16),
            ElementType::Uint32 => integers!(u32),
            ElementType::Uint64 => integers!(u64),
            ElementType::Int8 => integers!(i8),
            ElementType::Int16 => integers!(i16),
            ElementType::Int32 => integers!(i32),
            ElementType::Int64 => integers!(i64),
            ElementType::Fp32 => write(text, self.0.content(), |text, bytes| {
                write_f32(text, f32::from_le_bytes(bytes));
            }),
            ElementType::Fp64 => write(text, self.0.content(), |text, bytes| {
                write_f64(text, f64::from_le_bytes(bytes));
            }),
            // `Elements::new` has rejected elements other than strings.
            ElementType::Bytes | ElementType::Fp16 | ElementType::Bf16 => {
                let strings = self.0.elements().map(String::from_utf8_lossy);
                list(text, strings, |text, string| write_json(text, &*string));
            }
        }
    }
}

fn write<const SIZE: usize>(
    text: &mut Vec<u8>,
    content: &[u8],
    element: impl Fn(&mut Vec<u8>, [u8; SIZE]),
) {
    list(text, content.as_chunks().0.iter().copied(), element);
}

fn list<T>(
    text: &mut Vec<u8>,
    elements: impl Iterator<Item = T>,
    element: impl Fn(&mut Vec<u8>, T),
) {
    text.push(b'[');
    for (position, value) in elements.enumerate() {
        if position > 0 {
            text.push(b',');
        }
        element(text, value);
    }
    text.push(b']');
}
