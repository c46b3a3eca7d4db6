//! Raw requests, with a body that is the bytes of the model's only required input.
//!
//! The shape is the one in the signature: a variable batch axis has size 1, and the size of a single
//! other variable axis follows from the length of the body.

use super::error::{DecodeError, InputError};
use crate::call::ModelDescription;
use crate::quoted::Quoted;
use bytes::{BufMut, Bytes, BytesMut};
use wisp_tensor::signature::DimensionList;
use wisp_tensor::tensor::byte_length;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Tensor, TensorError, TensorSpec};

/// Returns `body` as the model's only required input.
pub(super) fn decode(body: Bytes, model: &ModelDescription) -> Result<NamedTensor, DecodeError> {
    let mut required = model
        .signature
        .inputs
        .iter()
        .filter(|input| !input.optional);
    let (Some(input), None) = (required.next(), required.next()) else {
        let required = model
            .signature
            .inputs
            .iter()
            .filter(|input| !input.optional)
            .count();
        return Err(DecodeError::RawInputs { required });
    };
    let mut shape = input.shape.clone();
    if model.max_batch_size > 0
        && let Some(batch @ Dimension::Variable) = shape.first_mut()
    {
        *batch = Dimension::Fixed(1);
    }
    let tensor = match input.element_type {
        ElementType::Bytes => element(body, shape),
        _ => numbers(body, input, shape),
    };
    match tensor {
        Ok(tensor) => Ok(NamedTensor {
            name: input.name.clone(),
            tensor,
        }),
        Err(error) => Err(DecodeError::Input {
            name: Quoted::new(&input.name),
            error,
        }),
    }
}

/// Returns a numeric tensor whose one variable axis is sized to fit the body.
fn numbers(body: Bytes, input: &TensorSpec, shape: Vec<Dimension>) -> Result<Tensor, InputError> {
    let variable = shape
        .iter()
        .filter(|&&size| size == Dimension::Variable)
        .count();
    if variable > 1 {
        return Err(InputError::RawVariable);
    }
    let wrong_length = || InputError::RawLength {
        element_type: input.element_type,
        shape: DimensionList(&shape).to_string(),
        actual: body.len(),
    };
    let size = match variable {
        0 => 1,
        _ => {
            let element_size = input.element_type.size().ok_or_else(wrong_length)?;
            let step = byte_length(&resolve(&shape, 1)?, element_size)?;
            // If another axis is empty, the step is 0 and no size can be derived.
            let size = body.len().checked_div(step).ok_or_else(wrong_length)?;
            u32::try_from(size).map_err(|_| wrong_length())?
        }
    };
    let resolved = resolve(&shape, size)?;
    Tensor::new(input.element_type, resolved, body.clone()).map_err(|_| wrong_length())
}

/// Returns a BYTES tensor with the body as its only element. The length prefix requires a copy.
fn element(body: Bytes, shape: Vec<Dimension>) -> Result<Tensor, InputError> {
    let shape = resolve(&shape, 1)?;
    if shape.elements() != 1 {
        return Err(InputError::RawElements);
    }
    let length = u32::try_from(body.len()).map_err(|_| TensorError::Size)?;
    let mut content = BytesMut::with_capacity(body.len() + size_of_val(&length));
    content.put_u32_le(length);
    content.put_slice(&body);
    Ok(Tensor::new(ElementType::Bytes, shape, content.freeze())?)
}

/// Returns the shape with every variable axis set to `size`.
fn resolve(shape: &[Dimension], size: u32) -> Result<Shape, InputError> {
    let sizes = shape.iter().map(|dimension| match *dimension {
        Dimension::Fixed(fixed) => fixed,
        Dimension::Variable => size,
    });
    Ok(Shape::new(sizes.collect()).map_err(TensorError::from)?)
}
