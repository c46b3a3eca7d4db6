//! Sizes per axis whose product is known to be representable.
//!
//! Dimensions come from clients, guests and model files alike. The product is checked here once, before
//! any memory is allocated for it.

use std::fmt;

/// The maximum rank of a tensor. ONNX models in use stay under 8.
pub const MAX_RANK: usize = 16;

/// The sizes of a tensor along its axes, outermost first, and the number of its elements.
///
/// Invariant: there are at most [`MAX_RANK`] axes, and the product of the sizes fits in an `isize`, so it
/// can be the length of an allocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    dimensions: Vec<u32>,
    elements: usize,
}

/// The error for dimensions that are not a valid shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    #[error("a tensor has at most {MAX_RANK} dimensions, not {rank}")]
    Rank { rank: usize },
    #[error("the product of the dimensions is too large")]
    Product,
}

impl Shape {
    /// Creates a shape with these sizes per axis. No axes mean a single element (a scalar).
    pub fn new(dimensions: Vec<u32>) -> Result<Shape, ShapeError> {
        if dimensions.len() > MAX_RANK {
            return Err(ShapeError::Rank {
                rank: dimensions.len(),
            });
        }
        // A zero makes the product zero, but multiplying [0, 2^32 - 1, 2^32 - 1] in another order would
        // overflow midway. The check therefore uses the product of the nonzero sizes.
        dimensions
            .iter()
            .filter(|&&size| size != 0)
            .try_fold(1isize, |product, &size| {
                product.checked_mul(isize::try_from(size).ok()?)
            })
            .ok_or(ShapeError::Product)?;
        let elements = dimensions.iter().map(|&size| size as usize).product();
        Ok(Shape {
            dimensions,
            elements,
        })
    }

    /// Returns the sizes per axis, outermost first.
    pub fn dimensions(&self) -> &[u32] {
        &self.dimensions
    }

    /// Returns the sizes per axis, without the guarantee on their product.
    pub fn into_dimensions(self) -> Vec<u32> {
        self.dimensions
    }

    /// Returns the number of axes.
    pub fn rank(&self) -> usize {
        self.dimensions.len()
    }

    /// Returns the product of all sizes: 1 for a scalar, 0 if any axis is empty.
    pub fn elements(&self) -> usize {
        self.elements
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.dimensions).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_scalar_has_one_element_and_an_empty_axis_makes_none() {
        assert_eq!(Shape::new(vec![]).map(|s| s.elements()), Ok(1));
        assert_eq!(Shape::new(vec![3, 0, 7]).map(|s| s.elements()), Ok(0));
    }

    #[test]
    fn a_product_that_only_a_zero_saves_is_refused() {
        assert_eq!(
            Shape::new(vec![0, u32::MAX, u32::MAX]),
            Err(ShapeError::Product)
        );
        assert_eq!(Shape::new(vec![u32::MAX; 3]), Err(ShapeError::Product));
    }

    #[test]
    fn rank_is_bounded() {
        assert!(Shape::new(vec![1; MAX_RANK]).is_ok());
        assert_eq!(
            Shape::new(vec![1; MAX_RANK + 1]),
            Err(ShapeError::Rank { rank: 17 })
        );
    }

    proptest! {
        #[test]
        fn elements_are_the_exact_product(dimensions in proptest::collection::vec(any::<u32>(), 0..20)) {
            let exact = dimensions.iter().try_fold(1u128, |p, &d| p.checked_mul(u128::from(d)));
            if let Ok(shape) = Shape::new(dimensions) {
                prop_assert_eq!(Some(shape.elements() as u128), exact);
            }
        }
    }
}
