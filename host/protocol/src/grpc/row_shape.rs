//! The shape of a row, derived from its number of elements.

use wisp_tensor::{Dimension, FitError, Shape, ShapeError};

/// The error for a number of elements that does not fit a declared shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowShapeError {
    #[error("a row takes {expected} elements, not {actual}")]
    Count { expected: usize, actual: usize },
    #[error("a row takes a multiple of {step} elements, not {actual}")]
    Multiple { step: usize, actual: usize },
    #[error("a row takes at least one element")]
    Empty,
    #[error("a row has more than one variable dimension, so its elements do not determine a shape")]
    Variable,
    #[error(
        "a row has a variable dimension and one of size 0, so its elements do not determine a shape"
    )]
    Undetermined,
    #[error("a row has no valid shape: {0}")]
    Shape(ShapeError),
}

/// Returns the sizes of a row of shape `declared` with `actual` elements. The count determines at most
/// one variable axis, which is not empty.
pub(super) fn fit(declared: &[Dimension], actual: usize) -> Result<Vec<u32>, RowShapeError> {
    let shape = Shape::fit(declared, actual)?;
    match actual == 0 && declared.contains(&Dimension::Variable) {
        true => Err(RowShapeError::Empty),
        false => Ok(shape.into_dimensions()),
    }
}

impl From<FitError> for RowShapeError {
    fn from(error: FitError) -> RowShapeError {
        match error {
            FitError::Count { expected, actual } => RowShapeError::Count { expected, actual },
            FitError::Multiple { step, actual } => RowShapeError::Multiple { step, actual },
            FitError::Variable => RowShapeError::Variable,
            FitError::Empty => RowShapeError::Undetermined,
            FitError::Shape(error) => RowShapeError::Shape(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_element_count_determines_one_variable_axis() {
        let fixed = [Dimension::Fixed(2), Dimension::Fixed(3)];
        assert_eq!(fit(&fixed, 6), Ok(vec![2, 3]));
        let (expected, actual) = (6, 5);
        assert_eq!(
            fit(&fixed, actual),
            Err(RowShapeError::Count { expected, actual })
        );
        let variable = [Dimension::Variable, Dimension::Fixed(3)];
        assert_eq!(fit(&variable, 6), Ok(vec![2, 3]));
        let step = 3;
        assert_eq!(
            fit(&variable, actual),
            Err(RowShapeError::Multiple { step, actual })
        );
        assert_eq!(fit(&variable, 0), Err(RowShapeError::Empty));
        assert_eq!(
            fit(&[Dimension::Variable; 2], 4),
            Err(RowShapeError::Variable)
        );
        assert_eq!(fit(&[], 1), Ok(vec![]));
        let empty = [Dimension::Variable, Dimension::Fixed(0)];
        assert_eq!(fit(&empty, 0), Err(RowShapeError::Undetermined));
        let expected = 0;
        assert_eq!(
            fit(&empty, actual),
            Err(RowShapeError::Count { expected, actual })
        );
        assert_eq!(
            fit(&[Dimension::Fixed(1); 17], 1),
            Err(RowShapeError::Shape(ShapeError::Rank { rank: 17 }))
        );
    }

    proptest! {
        #![proptest_config(crate::fixture::cases())]

        #[test]
        fn a_fitted_shape_has_the_given_number_of_elements(
            declared in proptest::collection::vec(proptest::option::of(0u32..5), 0..5),
            count in 0usize..50,
        ) {
            let declared = declared.into_iter().map(|size| match size {
                Some(size) => Dimension::Fixed(size),
                None => Dimension::Variable,
            });
            let declared: Vec<_> = declared.collect();
            if let Ok(sizes) = fit(&declared, count) {
                prop_assert_eq!(sizes.iter().map(|&size| size as usize).product::<usize>(), count);
            }
        }
    }
}
