//! Tensors in TensorFlow's format: `TensorProto`.
//!
//! The content is either in `tensor_content`, which becomes the tensor without a copy, or in the repeated
//! field of its datatype. That field may be shorter than the shape requires: its last element then fills
//! the rest, and zeros (or empty strings) fill a tensor without elements. A longer field is an error.

use super::budget::Budget;
use super::error::InputError;
use crate::grpc::element::{boolean, narrow, numbers, strings, strings_size};
use crate::grpc::message::tensorflow::tensor_shape_proto::Dim;
use crate::grpc::message::tensorflow::{DataType, TensorProto, TensorShapeProto};
use bytes::Bytes;
use wisp_tensor::shape::MAX_RANK;
use wisp_tensor::tensor::byte_length;
use wisp_tensor::{ElementType, Shape, ShapeError, Tensor, TensorError};

/// Decodes a tensor; the memory it takes beyond the message counts against `budget`.
pub(super) fn decode(proto: TensorProto, budget: &mut Budget) -> Result<Tensor, InputError> {
    let element_type = element_type(proto.dtype).ok_or(InputError::Datatype(proto.dtype))?;
    let shape = decode_shape(proto.tensor_shape.as_ref())?;
    let list = check_lists(&proto, element_type, &shape)?;
    let content = match (proto.tensor_content.is_empty(), list) {
        (false, Some(list)) => return Err(InputError::TwoContents { list }),
        (false, None) if element_type == ElementType::Bytes => {
            return Err(InputError::StringContent);
        }
        (false, None) => proto.tensor_content,
        (true, _) => decode_list(&proto, element_type, &shape, budget)?,
    };
    Ok(Tensor::new(element_type, shape, content)?)
}

/// Returns the content size that the shape requires, for a tensor that is decoded from its repeated
/// field; 0 for one with `tensor_content` or an unsupported datatype.
pub(super) fn filled_bytes(proto: &TensorProto) -> usize {
    let Some(element_type) = element_type(proto.dtype) else {
        return 0;
    };
    if !proto.tensor_content.is_empty() {
        return 0;
    }
    let dim = proto.tensor_shape.iter().flat_map(|shape| &shape.dim);
    let sizes = dim.map(|dim| usize::try_from(dim.size).unwrap_or(0));
    let elements = sizes.fold(1, usize::saturating_mul);
    let size = element_type.size().unwrap_or_else(|| {
        let last = proto.string_val.last();
        size_of::<u32>() + last.map_or(0, Bytes::len)
    });
    elements.saturating_mul(size)
}

/// Returns the number of bytes of `tensor_content` that are copied unless they are 0 and 1, for BOOLs.
pub(super) fn copied_bytes(proto: &TensorProto) -> usize {
    match element_type(proto.dtype) {
        Some(ElementType::Bool) => proto.tensor_content.len(),
        _ => 0,
    }
}

/// Encodes a tensor without copying an element.
pub(super) fn encode(tensor: Tensor) -> TensorProto {
    let dim = |&size: &u32| Dim {
        size: i64::from(size),
        name: String::new(),
    };
    let tensor_shape = TensorShapeProto {
        dim: tensor.shape().dimensions().iter().map(dim).collect(),
        unknown_rank: false,
    };
    let mut proto = TensorProto {
        dtype: data_type(tensor.element_type()).into(),
        tensor_shape: Some(tensor_shape),
        ..TensorProto::default()
    };
    match tensor.element_type() {
        ElementType::Bytes => {
            let elements = tensor.elements();
            proto.string_val = elements
                .map(|element| tensor.content().slice_ref(element))
                .collect();
        }
        _ => proto.tensor_content = tensor.into_content(),
    }
    proto
}

/// Returns TensorFlow's datatype for an element type.
pub(super) fn data_type(element_type: ElementType) -> DataType {
    match element_type {
        ElementType::Bool => DataType::DtBool,
        ElementType::Uint8 => DataType::DtUint8,
        ElementType::Uint16 => DataType::DtUint16,
        ElementType::Uint32 => DataType::DtUint32,
        ElementType::Uint64 => DataType::DtUint64,
        ElementType::Int8 => DataType::DtInt8,
        ElementType::Int16 => DataType::DtInt16,
        ElementType::Int32 => DataType::DtInt32,
        ElementType::Int64 => DataType::DtInt64,
        ElementType::Fp16 => DataType::DtHalf,
        ElementType::Bf16 => DataType::DtBfloat16,
        ElementType::Fp32 => DataType::DtFloat,
        ElementType::Fp64 => DataType::DtDouble,
        ElementType::Bytes => DataType::DtString,
    }
}

/// Returns the element type for a datatype number of TensorFlow, which also has quantized, complex and
/// resource types.
fn element_type(dtype: i32) -> Option<ElementType> {
    let dtype = DataType::try_from(dtype).ok()?;
    ElementType::ALL
        .into_iter()
        .find(|&element_type| data_type(element_type) == dtype)
}

fn decode_shape(shape: Option<&TensorShapeProto>) -> Result<Shape, InputError> {
    let Some(TensorShapeProto { dim, unknown_rank }) = shape else {
        return Ok(Shape::new(Vec::new()).map_err(TensorError::from)?);
    };
    if *unknown_rank {
        return Err(InputError::UnknownRank);
    }
    // Checked before memory is reserved for a list of any length.
    if dim.len() > MAX_RANK {
        let rank = dim.len();
        return Err(TensorError::from(ShapeError::Rank { rank }).into());
    }
    let sizes = dim
        .iter()
        .map(|dim| u32::try_from(dim.size).map_err(|_| InputError::Dimension(dim.size)));
    let shape = Shape::new(sizes.collect::<Result<_, _>>()?);
    Ok(shape.map_err(TensorError::from)?)
}

/// Returns the name of the repeated field that has elements, if any. It must be the field of the
/// datatype, with no more elements than the shape.
fn check_lists(
    proto: &TensorProto,
    element_type: ElementType,
    shape: &Shape,
) -> Result<Option<&'static str>, InputError> {
    let lists = [
        ("half_val", proto.half_val.len()),
        ("float_val", proto.float_val.len()),
        ("double_val", proto.double_val.len()),
        ("int_val", proto.int_val.len()),
        ("string_val", proto.string_val.len()),
        ("scomplex_val", proto.scomplex_val.len()),
        ("int64_val", proto.int64_val.len()),
        ("bool_val", proto.bool_val.len()),
        ("dcomplex_val", proto.dcomplex_val.len()),
        ("uint32_val", proto.uint32_val.len()),
        ("uint64_val", proto.uint64_val.len()),
    ];
    let expected = list_of(element_type);
    let mut found = None;
    for (list, actual) in lists.into_iter().filter(|&(_, length)| length > 0) {
        if list != expected {
            return Err(InputError::OtherList {
                element_type,
                expected,
                actual: list,
            });
        }
        if actual > shape.elements() {
            let shape = shape.clone();
            return Err(InputError::Count {
                shape,
                list,
                actual,
            });
        }
        found = Some(list);
    }
    Ok(found)
}

/// Returns the name of the repeated field that holds elements of this type.
fn list_of(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Fp16 | ElementType::Bf16 => "half_val",
        ElementType::Fp32 => "float_val",
        ElementType::Fp64 => "double_val",
        ElementType::Int8
        | ElementType::Int16
        | ElementType::Int32
        | ElementType::Uint8
        | ElementType::Uint16 => "int_val",
        ElementType::Bytes => "string_val",
        ElementType::Int64 => "int64_val",
        ElementType::Bool => "bool_val",
        ElementType::Uint32 => "uint32_val",
        ElementType::Uint64 => "uint64_val",
    }
}

/// Decodes the repeated field of a tensor; its length has been checked against the shape.
fn decode_list(
    proto: &TensorProto,
    element_type: ElementType,
    shape: &Shape,
    budget: &mut Budget,
) -> Result<Bytes, InputError> {
    let Some(size) = element_type.size() else {
        return decode_strings(&proto.string_val, shape, budget);
    };
    let length = byte_length(shape, size)?;
    budget.take(Some(length))?;
    let mut content = Vec::with_capacity(length);
    let read = match element_type {
        ElementType::Bool => numbers(&mut content, &proto.bool_val, boolean),
        ElementType::Uint8 => numbers(&mut content, &proto.int_val, narrow!(u8)),
        ElementType::Uint16 => numbers(&mut content, &proto.int_val, narrow!(u16)),
        ElementType::Uint32 => numbers(&mut content, &proto.uint32_val, narrow!(u32)),
        ElementType::Uint64 => numbers(&mut content, &proto.uint64_val, narrow!(u64)),
        ElementType::Int8 => numbers(&mut content, &proto.int_val, narrow!(i8)),
        ElementType::Int16 => numbers(&mut content, &proto.int_val, narrow!(i16)),
        ElementType::Int32 => numbers(&mut content, &proto.int_val, narrow!(i32)),
        ElementType::Int64 => numbers(&mut content, &proto.int64_val, narrow!(i64)),
        // The bits of the 16-bit float, in the low bits of the integer.
        ElementType::Fp16 | ElementType::Bf16 => {
            numbers(&mut content, &proto.half_val, narrow!(u16))
        }
        ElementType::Fp32 => numbers(&mut content, &proto.float_val, |value: f32| {
            Some(value.to_le_bytes())
        }),
        ElementType::Fp64 => numbers(&mut content, &proto.double_val, |value: f64| {
            Some(value.to_le_bytes())
        }),
        ElementType::Bytes => Ok(()),
    };
    read.map_err(|position| InputError::Element {
        position,
        element_type,
    })?;
    match content.len().checked_sub(size) {
        None => content.resize(length, 0),
        Some(start) => {
            let last = content[start..].to_vec();
            while content.len() < length {
                content.extend_from_slice(&last);
            }
        }
    }
    Ok(Bytes::from(content))
}

fn decode_strings(
    elements: &[Bytes],
    shape: &Shape,
    budget: &mut Budget,
) -> Result<Bytes, InputError> {
    let empty = Bytes::new();
    let last = elements.last().unwrap_or(&empty);
    let missing = shape.elements().saturating_sub(elements.len());
    let filled = last
        .len()
        .checked_add(4)
        .and_then(|size| size.checked_mul(missing));
    let length = filled.and_then(|filled| filled.checked_add(strings_size(elements)));
    budget.take(length)?;
    let mut content = Vec::with_capacity(length.unwrap_or_default());
    let all = elements.iter().chain(std::iter::repeat_n(last, missing));
    strings(&mut content, all).map_err(|position| InputError::Element {
        position,
        element_type: ElementType::Bytes,
    })?;
    Ok(Bytes::from(content))
}
