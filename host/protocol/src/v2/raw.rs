//! Raw requests, with a body that is the bytes of the model's only required input.
//!
//! The shape is the one in the signature: a variable batch axis has size 1, and the size of a single
//! other variable axis follows from the length of the body.

use super::error::{DecodeError, InputError};
use crate::call::ModelDescription;
use crate::quoted::Quoted;
use bytes::{BufMut, Bytes, BytesMut};
use wisp_tensor::signature::DimensionList;
use wisp_tensor::{
    Dimension, ElementType, FitError, NamedTensor, Shape, Tensor, TensorError, TensorSpec,
};

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
    let wrong_length = || InputError::RawLength {
        element_type: input.element_type,
        shape: DimensionList(&shape).to_string(),
        actual: body.len(),
    };
    let element_size = input.element_type.size().ok_or_else(wrong_length)?;
    // `Tensor::new` refuses the bytes of an incomplete element.
    let elements = body.len() / element_size;
    let fitted = Shape::fit(&shape, elements).map_err(|error| match error {
        FitError::Variable => InputError::RawVariable,
        FitError::Shape(error) => TensorError::from(error).into(),
        FitError::Count { .. } | FitError::Multiple { .. } | FitError::Empty => wrong_length(),
    })?;
    Tensor::new(input.element_type, fitted, body.clone()).map_err(|_| wrong_length())
}

/// Returns a BYTES tensor with the body as its only element. The length prefix requires a copy.
fn element(body: Bytes, shape: Vec<Dimension>) -> Result<Tensor, InputError> {
    let shape = Dimension::resolve(&shape, 1).map_err(TensorError::from)?;
    if shape.elements() != 1 {
        return Err(InputError::RawElements);
    }
    let length = u32::try_from(body.len()).map_err(|_| TensorError::Size)?;
    let mut content = BytesMut::with_capacity(body.len() + size_of_val(&length));
    content.put_u32_le(length);
    content.put_slice(&body);
    Ok(Tensor::new(ElementType::Bytes, shape, content.freeze())?)
}
