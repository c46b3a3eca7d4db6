//! The elements of an output as JSON text.

use crate::v2::error::EncodeError;
use serde::ser::{Error, SerializeSeq};
use serde::{Serialize, Serializer};
use wisp_tensor::{ElementType, NamedTensor, Tensor};

/// The elements of a tensor that has a JSON form.
#[derive(Debug)]
pub(crate) struct Elements<'a>(&'a Tensor);

impl<'a> Elements<'a> {
    /// Returns the elements of `output`, or an error if any of them has no JSON form.
    pub(crate) fn new(output: &'a NamedTensor) -> Result<Elements<'a>, EncodeError> {
        let NamedTensor { name, tensor } = output;
        let output = || name.clone();
        let content = tensor.content();
        let has_json_form = match tensor.element_type() {
            element_type @ (ElementType::Fp16 | ElementType::Bf16) => {
                return Err(EncodeError::NoJsonForm {
                    output: output(),
                    element_type,
                });
            }
            ElementType::Fp32 => all(content, |bytes| f32::from_le_bytes(bytes).is_finite()),
            ElementType::Fp64 => all(content, |bytes| f64::from_le_bytes(bytes).is_finite()),
            ElementType::Bytes => {
                return match tensor.elements().all(|text| str::from_utf8(text).is_ok()) {
                    true => Ok(Elements(tensor)),
                    false => Err(EncodeError::NotUtf8 { output: output() }),
                };
            }
            _ => true,
        };
        match has_json_form {
            true => Ok(Elements(tensor)),
            false => Err(EncodeError::NotFinite { output: output() }),
        }
    }

    /// Returns an estimate of the bytes of JSON text for the elements.
    pub(crate) fn text_size(&self) -> usize {
        self.0.content().len().saturating_mul(3)
    }
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content = self.0.content().as_ref();
        match self.0.element_type() {
            ElementType::Bool => write(serializer, content, |[byte]| byte != 0),
            ElementType::Uint8 => write(serializer, content, u8::from_le_bytes),
            ElementType::Uint16 => write(serializer, content, u16::from_le_bytes),
            ElementType::Uint32 => write(serializer, content, u32::from_le_bytes),
            ElementType::Uint64 => write(serializer, content, u64::from_le_bytes),
            ElementType::Int8 => write(serializer, content, i8::from_le_bytes),
            ElementType::Int16 => write(serializer, content, i16::from_le_bytes),
            ElementType::Int32 => write(serializer, content, i32::from_le_bytes),
            ElementType::Int64 => write(serializer, content, i64::from_le_bytes),
            ElementType::Fp32 => write(serializer, content, f32::from_le_bytes),
            ElementType::Fp64 => write(serializer, content, f64::from_le_bytes),
            ElementType::Bytes => {
                let mut list = serializer.serialize_seq(None)?;
                for element in self.0.elements() {
                    list.serialize_element(str::from_utf8(element).map_err(Error::custom)?)?;
                }
                list.end()
            }
            ElementType::Fp16 | ElementType::Bf16 => Err(Error::custom("no JSON form")),
        }
    }
}

fn write<S: Serializer, T: Serialize, const SIZE: usize>(
    serializer: S,
    content: &[u8],
    element: impl Fn([u8; SIZE]) -> T,
) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(None)?;
    for &bytes in content.as_chunks().0 {
        list.serialize_element(&element(bytes))?;
    }
    list.end()
}

fn all<const SIZE: usize>(content: &[u8], holds: impl Fn([u8; SIZE]) -> bool) -> bool {
    content.as_chunks().0.iter().all(|&bytes| holds(bytes))
}
