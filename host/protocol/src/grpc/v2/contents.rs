//! A tensor's elements in typed repeated fields: `InferTensorContents`.
//!
//! Each datatype has one field, which must contain exactly as many elements as the shape; the other
//! fields must be empty. FP16 and BF16 have no field.

use super::error::InputError;
use crate::grpc::element::{boolean, narrow, numbers, strings, strings_size};
use crate::grpc::message::inference::InferTensorContents;
use bytes::Bytes;
use wisp_tensor::{ElementType, Shape};

/// Encodes the elements as the content of a tensor of this type and shape.
pub(super) fn decode(
    contents: &InferTensorContents,
    element_type: ElementType,
    shape: &Shape,
) -> Result<Bytes, InputError> {
    let list = check_lists(contents, element_type, shape)?;
    let mut content = Vec::new();
    let InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    let read = match element_type {
        ElementType::Bool => numbers(&mut content, bool_contents, boolean),
        ElementType::Uint8 => numbers(&mut content, uint_contents, narrow!(u8)),
        ElementType::Uint16 => numbers(&mut content, uint_contents, narrow!(u16)),
        ElementType::Uint32 => numbers(&mut content, uint_contents, narrow!(u32)),
        ElementType::Uint64 => numbers(&mut content, uint64_contents, narrow!(u64)),
        ElementType::Int8 => numbers(&mut content, int_contents, narrow!(i8)),
        ElementType::Int16 => numbers(&mut content, int_contents, narrow!(i16)),
        ElementType::Int32 => numbers(&mut content, int_contents, narrow!(i32)),
        ElementType::Int64 => numbers(&mut content, int64_contents, narrow!(i64)),
        ElementType::Fp32 => numbers(&mut content, fp32_contents, |value: f32| {
            Some(value.to_le_bytes())
        }),
        ElementType::Fp64 => numbers(&mut content, fp64_contents, |value: f64| {
            Some(value.to_le_bytes())
        }),
        ElementType::Bytes => {
            content.reserve(strings_size(bytes_contents));
            strings(&mut content, bytes_contents)
        }
        ElementType::Fp16 | ElementType::Bf16 => return Err(InputError::RawOnly(element_type)),
    };
    match read {
        Ok(()) => Ok(Bytes::from(content)),
        Err(position) => Err(InputError::Element {
            position,
            list,
            element_type,
        }),
    }
}

/// Returns the name of the field for this datatype, after checking that it has as many elements as the
/// shape and that the other fields are empty.
fn check_lists(
    contents: &InferTensorContents,
    element_type: ElementType,
    shape: &Shape,
) -> Result<&'static str, InputError> {
    let expected = list_of(element_type).ok_or(InputError::RawOnly(element_type))?;
    for (list, actual) in lengths(contents) {
        if list == expected {
            if actual != shape.elements() {
                return Err(InputError::Count {
                    shape: shape.clone(),
                    list,
                    actual,
                });
            }
        } else if actual > 0 {
            return Err(InputError::OtherList {
                element_type,
                expected,
                actual: list,
            });
        }
    }
    Ok(expected)
}

/// Returns whether all fields are empty.
pub(super) fn is_empty(contents: &InferTensorContents) -> bool {
    lengths(contents).iter().all(|&(_, length)| length == 0)
}

fn lengths(contents: &InferTensorContents) -> [(&'static str, usize); 8] {
    let InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    [
        ("bool_contents", bool_contents.len()),
        ("int_contents", int_contents.len()),
        ("int64_contents", int64_contents.len()),
        ("uint_contents", uint_contents.len()),
        ("uint64_contents", uint64_contents.len()),
        ("fp32_contents", fp32_contents.len()),
        ("fp64_contents", fp64_contents.len()),
        ("bytes_contents", bytes_contents.len()),
    ]
}

/// Returns the name of the field that holds elements of this type.
fn list_of(element_type: ElementType) -> Option<&'static str> {
    match element_type {
        ElementType::Bool => Some("bool_contents"),
        ElementType::Uint8 | ElementType::Uint16 | ElementType::Uint32 => Some("uint_contents"),
        ElementType::Uint64 => Some("uint64_contents"),
        ElementType::Int8 | ElementType::Int16 | ElementType::Int32 => Some("int_contents"),
        ElementType::Int64 => Some("int64_contents"),
        ElementType::Fp32 => Some("fp32_contents"),
        ElementType::Fp64 => Some("fp64_contents"),
        ElementType::Bytes => Some("bytes_contents"),
        ElementType::Fp16 | ElementType::Bf16 => None,
    }
}
