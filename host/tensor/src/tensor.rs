//! Bytes whose length has been validated against a type and a shape.
//!
//! A [`Tensor`] can only be created through a check, so its users (a backend, an encoder) need no check
//! of their own. It holds only a reference to shared bytes: cloning and slicing copy no data.

use crate::element_type::ElementType;
use crate::memory_budget::Reservation;
use crate::shape::{Shape, ShapeError};
use bytes::{BufMut, Bytes, BytesMut};

/// A typed, shaped view of shared bytes in V2's binary layout: little-endian, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    element_type: ElementType,
    shape: Shape,
    content: Bytes,
}

/// The error for bytes that do not match their type and shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("shape {shape} of {element_type} takes {expected} bytes, not {actual}")]
    Length {
        element_type: ElementType,
        shape: Shape,
        expected: usize,
        actual: usize,
    },
    #[error("the size in bytes is too large")]
    Size,
    #[error("the length of BYTES element {element} reaches past the end of the tensor")]
    ElementPastEnd { element: usize },
    #[error("shape {shape} takes {expected} BYTES elements, the tensor holds more")]
    ElementsLeft { shape: Shape, expected: usize },
}

impl Tensor {
    /// Checks that `content` is exactly a tensor of this type and shape.
    ///
    /// Copies nothing, except for a BOOL tensor of shared bytes in which some byte is neither 0 nor 1: any
    /// byte other than 0 becomes 1.
    pub fn new(
        element_type: ElementType,
        shape: Shape,
        content: Bytes,
    ) -> Result<Tensor, TensorError> {
        match element_type.size() {
            Some(size) => {
                let expected = byte_length(&shape, size)?;
                if content.len() != expected {
                    return Err(TensorError::Length {
                        element_type,
                        shape,
                        expected,
                        actual: content.len(),
                    });
                }
            }
            None => check_elements(&shape, &content)?,
        }
        // Backends read a BOOL as a Rust or C++ bool, for which any other byte is undefined behavior.
        let content = match element_type {
            ElementType::Bool => normalized_bools(content),
            _ => content,
        };
        Ok(Tensor {
            element_type,
            shape,
            content,
        })
    }

    /// Creates a BYTES tensor of one axis from these elements.
    pub fn from_elements<'a>(
        elements: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<Tensor, TensorError> {
        let count = u32::try_from(elements.len()).map_err(|_| TensorError::Size)?;
        let mut content = BytesMut::new();
        for element in elements {
            let length = u32::try_from(element.len()).map_err(|_| TensorError::Size)?;
            content.put_u32_le(length);
            content.put_slice(element);
        }
        Ok(Tensor {
            element_type: ElementType::Bytes,
            shape: Shape::new(vec![count])?,
            content: content.freeze(),
        })
    }

    /// Returns the type of every element.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// Returns the sizes per axis.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the tensor's bytes, which have no particular alignment.
    pub fn content(&self) -> &Bytes {
        &self.content
    }

    /// Returns the tensor's bytes, without the guarantee of their type and shape.
    pub fn into_content(self) -> Bytes {
        self.content
    }

    /// Returns the same tensor with its bytes reserved until their last clone is dropped.
    pub fn with_reservation(self, reservation: Reservation) -> Tensor {
        Tensor {
            content: reservation.keep_for(self.content),
            ..self
        }
    }

    /// Iterates over the elements of a BYTES tensor in order; any other type yields nothing.
    pub fn elements(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = match self.element_type {
            ElementType::Bytes => &self.content,
            _ => &[],
        };
        std::iter::from_fn(move || {
            let (element, after) = split_element(rest)?;
            rest = after;
            Some(element)
        })
    }
}

/// Returns the number of bytes of `shape` at `size` bytes per element.
pub fn byte_length(shape: &Shape, size: usize) -> Result<usize, TensorError> {
    shape.elements().checked_mul(size).ok_or(TensorError::Size)
}

/// Returns the bytes with 1 for each one that is not 0.
fn normalized_bools(content: Bytes) -> Bytes {
    if content.iter().all(|&byte| byte <= 1) {
        return content;
    }
    let mut content = content
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    for byte in content.iter_mut() {
        *byte = u8::from(*byte != 0);
    }
    content.freeze()
}

fn check_elements(shape: &Shape, content: &[u8]) -> Result<(), TensorError> {
    let mut rest = content;
    for element in 0..shape.elements() {
        let (_, after) = split_element(rest).ok_or(TensorError::ElementPastEnd { element })?;
        rest = after;
    }
    if !rest.is_empty() {
        return Err(TensorError::ElementsLeft {
            shape: shape.clone(),
            expected: shape.elements(),
        });
    }
    Ok(())
}

/// Returns the first length-prefixed element of `content` and the bytes after it.
fn split_element(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = content.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(dimensions: &[u32]) -> Shape {
        Shape::new(dimensions.to_vec()).unwrap()
    }

    #[test]
    fn length_must_match_type_and_shape_exactly() {
        let fits = Tensor::new(ElementType::Fp32, shape(&[2, 3]), Bytes::from(vec![0; 24]));
        assert!(fits.is_ok());
        for length in [0, 23, 25, 48] {
            let result = Tensor::new(
                ElementType::Fp32,
                shape(&[2, 3]),
                Bytes::from(vec![0; length]),
            );
            assert!(
                matches!(result, Err(TensorError::Length { expected: 24, actual, .. }) if actual == length)
            );
        }
    }

    #[test]
    fn a_size_that_overflows_in_bytes_is_refused_before_it_is_compared() {
        let huge = shape(&[1 << 31, 1 << 31]);
        assert_eq!(
            Tensor::new(ElementType::Fp64, huge, Bytes::new()),
            Err(TensorError::Size)
        );
    }

    #[test]
    fn bytes_elements_must_fill_the_tensor_exactly() {
        let two = Tensor::from_elements([b"ab".as_slice(), b""].into_iter()).unwrap();
        assert_eq!(two.elements().collect::<Vec<_>>(), [b"ab".as_slice(), b""]);
        let content = two.content().clone();
        assert!(matches!(
            Tensor::new(ElementType::Bytes, shape(&[3]), content.clone()),
            Err(TensorError::ElementPastEnd { element: 2 })
        ));
        assert!(matches!(
            Tensor::new(ElementType::Bytes, shape(&[1]), content),
            Err(TensorError::ElementsLeft { .. })
        ));
        let lying = Bytes::from_static(&[255, 255, 255, 255, 1]);
        assert!(matches!(
            Tensor::new(ElementType::Bytes, shape(&[1]), lying),
            Err(TensorError::ElementPastEnd { element: 0 })
        ));
    }

    #[test]
    fn any_byte_of_a_bool_other_than_zero_is_one() {
        let shared = Bytes::from(vec![0, 1, 2, 255]);
        let own = Bytes::from(vec![0, 1, 2, 255]);
        for content in [shared.clone(), own, Bytes::from_static(&[0, 1, 2, 255])] {
            let tensor = Tensor::new(ElementType::Bool, shape(&[4]), content).unwrap();
            assert_eq!(tensor.content()[..], [0, 1, 1, 1]);
        }
        assert_eq!(shared[..], [0, 1, 2, 255]);
        let normal = Bytes::from(vec![0, 1, 1]);
        let tensor = Tensor::new(ElementType::Bool, shape(&[3]), normal.clone()).unwrap();
        assert_eq!(tensor.content().as_ptr(), normal.as_ptr());
    }

    proptest! {
        #[test]
        fn any_elements_survive_the_layout(elements in proptest::collection::vec(any::<Vec<u8>>(), 0..20)) {
            let tensor = Tensor::from_elements(elements.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(tensor.elements().collect::<Vec<_>>(), elements.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let again = Tensor::new(ElementType::Bytes, tensor.shape().clone(), tensor.content().clone());
            prop_assert_eq!(again, Ok(tensor));
        }

        #[test]
        fn arbitrary_bytes_never_panic(content in any::<Vec<u8>>(), dimensions in proptest::collection::vec(0u32..5, 0..4)) {
            for element_type in ElementType::ALL {
                let _ = Tensor::new(element_type, shape(&dimensions), Bytes::from(content.clone()));
            }
        }
    }
}
