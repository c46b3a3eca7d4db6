//! Rows: the shape that a number of elements makes, and the elements of an output by row.

use super::EncodeError;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Tensor};

/// Why so many elements make no row of a declared shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowError {
    #[error("a row takes {expected} elements, not {actual}")]
    Count { expected: usize, actual: usize },
    #[error("a row takes a multiple of {step} elements, not {actual}")]
    Multiple { step: usize, actual: usize },
    #[error("a row has more than one variable dimension, so that its elements settle no shape")]
    Variable,
    #[error("a row has too many elements")]
    Size,
}

/// The sizes of a row of this declared shape that has so many elements, which settle at most one
/// variable axis.
pub(super) fn fit(declared: &[Dimension], actual: usize) -> Result<Vec<u32>, RowError> {
    let mut step = 1usize;
    let mut variable = 0;
    for dimension in declared {
        match *dimension {
            Dimension::Fixed(size) => {
                step = step.checked_mul(size as usize).ok_or(RowError::Size)?;
            }
            Dimension::Variable => variable += 1,
        }
    }
    let length = match variable {
        0 if actual == step => 0,
        0 => {
            let expected = step;
            return Err(RowError::Count { expected, actual });
        }
        1 if actual > 0 && step > 0 && actual.is_multiple_of(step) => {
            u32::try_from(actual / step).map_err(|_| RowError::Size)?
        }
        1 => return Err(RowError::Multiple { step, actual }),
        _ => return Err(RowError::Variable),
    };
    let sizes = declared.iter().map(|dimension| match *dimension {
        Dimension::Fixed(size) => size,
        Dimension::Variable => length,
    });
    Ok(sizes.collect())
}

/// How many elements of `output` belong to each of so many rows of axis 0.
pub(super) fn length(output: &NamedTensor, rows: usize) -> Result<usize, EncodeError> {
    let shape = output.tensor.shape();
    match shape.dimensions().split_first() {
        Some((&first, rest)) if first as usize == rows => {
            Ok(rest.iter().map(|&size| size as usize).product())
        }
        _ => Err(EncodeError::Rows {
            output: output.name.clone(),
            expected: rows,
        }),
    }
}

/// Whether scores and probabilities are read from elements of this type.
pub(super) fn is_float(element_type: ElementType) -> bool {
    matches!(element_type, ElementType::Fp32 | ElementType::Fp64)
}

/// The element at this position as the nearest single; `None` past the end, and for types that are
/// no numbers of a common width (FP16, BF16, BYTES).
pub(super) fn number(tensor: &Tensor, position: usize) -> Option<f32> {
    let size = tensor.element_type().size()?;
    let start = position.checked_mul(size)?;
    let bytes = tensor.content().get(start..start.checked_add(size)?)?;
    /// The number of this type in these bytes.
    macro_rules! read {
        ($number:ty) => {
            <$number>::from_le_bytes(bytes.try_into().ok()?)
        };
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the wire has singles only, and rounding to them is what is wanted"
    )]
    Some(match tensor.element_type() {
        ElementType::Bool | ElementType::Uint8 => f32::from(read!(u8)),
        ElementType::Uint16 => f32::from(read!(u16)),
        ElementType::Uint32 => read!(u32) as f32,
        ElementType::Uint64 => read!(u64) as f32,
        ElementType::Int8 => f32::from(read!(i8)),
        ElementType::Int16 => f32::from(read!(i16)),
        ElementType::Int32 => read!(i32) as f32,
        ElementType::Int64 => read!(i64) as f32,
        ElementType::Fp32 => read!(f32),
        ElementType::Fp64 => read!(f64) as f32,
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Bytes => return None,
    })
}

/// The elements of a BYTES output as text.
pub(super) fn texts(output: &NamedTensor) -> Result<Vec<&str>, EncodeError> {
    let text = |element| {
        str::from_utf8(element).map_err(|_| EncodeError::NotUtf8 {
            output: output.name.clone(),
        })
    };
    output.tensor.elements().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_settle_one_variable_axis() {
        let fixed = [Dimension::Fixed(2), Dimension::Fixed(3)];
        assert_eq!(fit(&fixed, 6), Ok(vec![2, 3]));
        let (expected, actual) = (6, 5);
        assert_eq!(fit(&fixed, 5), Err(RowError::Count { expected, actual }));
        let variable = [Dimension::Variable, Dimension::Fixed(3)];
        assert_eq!(fit(&variable, 6), Ok(vec![2, 3]));
        for actual in [0, 5] {
            let refused = Err(RowError::Multiple { step: 3, actual });
            assert_eq!(fit(&variable, actual), refused);
        }
        assert_eq!(fit(&[Dimension::Variable; 2], 4), Err(RowError::Variable));
        assert_eq!(fit(&[], 1), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn what_fits_has_exactly_so_many_elements(
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
