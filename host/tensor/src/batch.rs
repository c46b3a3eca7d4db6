//! Splitting of tensors along the batch axis, which is axis 0, into rows or parts of several rows, and stacking of
//! them into a batch.

use crate::element_type::ElementType;
use crate::shape::Shape;
use crate::tensor::{Tensor, TensorError};
use bytes::{Bytes, BytesMut};

/// The error for tensors without rows, or that do not form a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("a tensor without axes has no rows")]
    NoAxes,
    #[error("a batch needs at least one tensor")]
    Empty,
    #[error("the tensors differ in type, or in shape besides axis 0")]
    Different,
    #[error("the tensor has {actual} rows, expected {expected}")]
    Rows { expected: u64, actual: u32 },
    #[error(transparent)]
    Tensor(TensorError),
}

/// Splits a tensor into one tensor per row. The content is shared, not copied.
pub fn split(tensor: &Tensor) -> Result<Vec<Tensor>, BatchError> {
    let rows = tensor.shape().dimensions().first();
    let rows = *rows.ok_or(BatchError::NoAxes)?;
    parts(tensor, (0..rows).map(|_| 1))
}

/// Splits a tensor into parts of these numbers of rows, which must be all of its rows. The content is shared, not
/// copied.
pub fn split_parts(tensor: &Tensor, sizes: &[u32]) -> Result<Vec<Tensor>, BatchError> {
    let rows = tensor.shape().dimensions().first();
    let actual = *rows.ok_or(BatchError::NoAxes)?;
    let expected = sizes.iter().copied().map(u64::from).sum();
    if u64::from(actual) != expected {
        return Err(BatchError::Rows { expected, actual });
    }
    parts(tensor, sizes.iter().copied())
}

/// Splits the first rows of a tensor into parts of these numbers of rows.
fn parts(tensor: &Tensor, sizes: impl Iterator<Item = u32>) -> Result<Vec<Tensor>, BatchError> {
    let (element_type, inner) = outline(tensor)?;
    let mut rest = tensor.content().clone();
    sizes
        .map(|rows| {
            let shape = Shape::new([&[rows], inner].concat())
                .map_err(|error| BatchError::Tensor(TensorError::Shape(error)))?;
            let length = match element_type.size() {
                Some(size) => shape.elements().saturating_mul(size),
                None => strings_length(&rest, shape.elements()),
            };
            let content = rest.split_to(length.min(rest.len()));
            Tensor::new(element_type, shape, content).map_err(BatchError::Tensor)
        })
        .collect()
}

/// Returns the number of bytes that the first `elements` BYTES elements of `content` take.
fn strings_length(content: &Bytes, elements: usize) -> usize {
    let mut length = 0usize;
    for _ in 0..elements {
        let size = content.get(length..).and_then(|rest| rest.first_chunk());
        let size = size.map_or(0, |size| u32::from_le_bytes(*size) as usize);
        length = length.saturating_add(4).saturating_add(size);
    }
    length
}

/// Stacks the rows of all tensors into one tensor, in order.
pub fn stack(tensors: &[Tensor]) -> Result<Tensor, BatchError> {
    let [first, others @ ..] = tensors else {
        return Err(BatchError::Empty);
    };
    if others.is_empty() {
        return Ok(first.clone());
    }
    let (element_type, inner) = outline(first)?;
    let mut rows = 0u32;
    let mut length = 0usize;
    for tensor in tensors {
        if outline(tensor)? != (element_type, inner) {
            return Err(BatchError::Different);
        }
        let own = tensor.shape().dimensions()[0];
        let too_many = || BatchError::Tensor(TensorError::Size);
        rows = rows.checked_add(own).ok_or_else(too_many)?;
        length = (length.checked_add(tensor.content().len())).ok_or_else(too_many)?;
    }
    let shape = Shape::new([&[rows], inner].concat())
        .map_err(|error| BatchError::Tensor(TensorError::Shape(error)))?;
    let mut content = BytesMut::with_capacity(length);
    for tensor in tensors {
        content.extend_from_slice(tensor.content());
    }
    Tensor::new(element_type, shape, content.freeze()).map_err(BatchError::Tensor)
}

/// Returns the element type and the shape without axis 0, which all tensors of a batch share.
fn outline(tensor: &Tensor) -> Result<(ElementType, &[u32]), BatchError> {
    let (_, inner) = (tensor.shape().dimensions())
        .split_first()
        .ok_or(BatchError::NoAxes)?;
    Ok((tensor.element_type(), inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::from_numbers;
    use proptest::prelude::*;

    fn numbers(element_type: ElementType, dimensions: &[u32]) -> Tensor {
        let mut number = 0.0;
        let next = || {
            number += 1.0;
            number
        };
        from_numbers(element_type, Shape::new(dimensions.to_vec()).unwrap(), next).unwrap()
    }

    #[test]
    fn tensors_without_rows_or_of_different_shapes_are_not_a_batch() {
        let scalar = numbers(ElementType::Fp32, &[]);
        assert_eq!(split(&scalar), Err(BatchError::NoAxes));
        assert_eq!(stack(&[]), Err(BatchError::Empty));
        for other in [
            numbers(ElementType::Fp32, &[1, 3]),
            numbers(ElementType::Int32, &[1, 2]),
            numbers(ElementType::Fp32, &[2]),
        ] {
            let first = numbers(ElementType::Fp32, &[1, 2]);
            assert_eq!(stack(&[first, other]), Err(BatchError::Different));
        }
    }

    #[test]
    fn an_empty_batch_has_no_rows() {
        let empty = numbers(ElementType::Fp32, &[0, 2]);
        assert_eq!(split(&empty), Ok(vec![]));
        assert_eq!(split_parts(&empty, &[0]), Ok(vec![empty]));
    }

    #[test]
    fn parts_must_be_all_rows() {
        let tensor = numbers(ElementType::Fp32, &[5, 2]);
        for (sizes, expected) in [
            (vec![2, 2], 4),
            (vec![], 0),
            (vec![u32::MAX, 6], 4_294_967_301),
        ] {
            let split = split_parts(&tensor, &sizes);
            assert_eq!(
                split,
                Err(BatchError::Rows {
                    expected,
                    actual: 5
                })
            );
        }
        let scalar = numbers(ElementType::Fp32, &[]);
        assert_eq!(split_parts(&scalar, &[1]), Err(BatchError::NoAxes));
    }

    proptest! {
        #[test]
        fn stacked_rows_equal_the_original_tensor(rows in 1u32..6, columns in 0u32..4, index in 0..13usize) {
            let tensor = numbers(ElementType::ALL[index], &[rows, columns]);
            let parts = split(&tensor).unwrap();
            prop_assert_eq!(parts.len(), rows as usize);
            prop_assert!(parts.iter().all(|part| part.shape().dimensions() == [1, columns]));
            prop_assert_eq!(stack(&parts).unwrap(), tensor);
        }

        #[test]
        fn stacked_parts_equal_the_original_tensor(sizes in prop::collection::vec(0u32..4, 1..6), columns in 0u32..4, index in 0..13usize) {
            let tensor = numbers(ElementType::ALL[index], &[sizes.iter().sum(), columns]);
            let parts = split_parts(&tensor, &sizes).unwrap();
            let rows: Vec<u32> = parts.iter().map(|part| part.shape().dimensions()[0]).collect();
            prop_assert_eq!(rows, sizes);
            prop_assert_eq!(stack(&parts).unwrap(), tensor);
        }

        #[test]
        fn strings_are_split_at_their_lengths(texts in prop::collection::vec(".{0,9}", 1..6)) {
            let tensor = Tensor::from_elements(texts.iter().map(|text| text.as_bytes())).unwrap();
            let parts = split(&tensor).unwrap();
            let found: Vec<&[u8]> = parts.iter().flat_map(|part| part.elements()).collect();
            let expected: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(stack(&parts).unwrap(), tensor);
        }
    }
}
