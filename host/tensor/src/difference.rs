//! Comparison of outputs that different programs computed for the same inputs.

use crate::element_type::ElementType;
use crate::named::NamedTensor;
use crate::number::numbers;
use crate::tensor::Tensor;

/// Returns the largest difference between numbers of two sets of outputs for the same inputs. It is
/// relative to the expected number if that is beyond 1. It is infinite if the number of outputs, their
/// element types or shapes differ, or strings do.
pub fn largest_difference(expected: &[NamedTensor], found: &[NamedTensor]) -> f64 {
    if expected.len() != found.len() {
        return f64::INFINITY;
    }
    let pairs = expected.iter().zip(found);
    pairs
        .map(|(expected, found)| tensor_difference(&expected.tensor, &found.tensor))
        .fold(0.0, f64::max)
}

fn tensor_difference(expected: &Tensor, found: &Tensor) -> f64 {
    if expected.element_type() != found.element_type() || expected.shape() != found.shape() {
        return f64::INFINITY;
    }
    if expected.element_type() == ElementType::Bytes {
        return match expected.content() == found.content() {
            true => 0.0,
            false => f64::INFINITY,
        };
    }
    let pairs = numbers(expected).zip(numbers(found));
    let difference = |(expected, found): (f64, f64)| {
        if expected == found || (expected.is_nan() && found.is_nan()) {
            return 0.0;
        }
        let difference = (expected - found).abs() / expected.abs().max(1.0);
        // Infinity if only one of them is not finite.
        match difference.is_nan() {
            true => f64::INFINITY,
            false => difference,
        }
    };
    pairs.map(difference).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::from_numbers;
    use crate::shape::Shape;
    use crate::tensor::TensorError;

    #[test]
    fn differences_are_relative_to_large_numbers_and_absolute_to_small_ones()
    -> Result<(), TensorError> {
        let outputs = |numbers: &[f64]| -> Result<Vec<NamedTensor>, TensorError> {
            let mut numbers_left = numbers.iter().copied();
            let size = u32::try_from(numbers.len()).map_err(|_| TensorError::Size)?;
            let shape = Shape::new(vec![size])?;
            let next = || numbers_left.next().unwrap_or_default();
            Ok(vec![NamedTensor {
                name: "y".to_owned(),
                tensor: from_numbers(ElementType::Fp64, shape, next)?,
            }])
        };
        for (expected, found, difference) in [
            (&[1.0, 0.0][..], &[1.0, 0.5][..], 0.5),
            (&[100.0], &[101.0], 0.01),
            (&[f64::NAN, f64::INFINITY], &[f64::NAN, f64::INFINITY], 0.0),
            (&[f64::NAN], &[0.0], f64::INFINITY),
            (&[0.0], &[0.0, 0.0], f64::INFINITY),
        ] {
            let largest = largest_difference(&outputs(expected)?, &outputs(found)?);
            assert_eq!(largest, difference, "{expected:?} {found:?}");
        }
        assert_eq!(largest_difference(&outputs(&[1.0])?, &[]), f64::INFINITY);
        Ok(())
    }
}
