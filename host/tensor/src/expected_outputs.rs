//! The check of outputs against expected ones: floats within a tolerance, all other elements equal.

use crate::element_type::ElementType;
use crate::elements_text::elements_text;
use crate::named::NamedTensor;
use crate::number::numbers;
use crate::tensor::Tensor;

/// The first output that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputMismatch {
    #[error("output `{output}` is missing")]
    Missing { output: String },
    #[error("output `{output}` {difference}")]
    Different { output: String, difference: String },
}

/// Checks that each expected output is there and equal, apart from floats that differ by at most `tolerance`.
pub fn check_outputs(
    expected: &[NamedTensor],
    actual: &[NamedTensor],
    tolerance: f64,
) -> Result<(), OutputMismatch> {
    for NamedTensor { name, tensor } in expected {
        let found = actual.iter().find(|output| output.name == *name);
        let found = found.ok_or_else(|| OutputMismatch::Missing {
            output: name.clone(),
        })?;
        if let Some(difference) = difference(tensor, &found.tensor, tolerance) {
            return Err(OutputMismatch::Different {
                output: name.clone(),
                difference,
            });
        }
    }
    Ok(())
}

fn difference(expected: &Tensor, actual: &Tensor, tolerance: f64) -> Option<String> {
    if expected.element_type() != actual.element_type() {
        return Some(format!(
            "is {}, expected {}",
            actual.element_type(),
            expected.element_type()
        ));
    }
    if expected.shape() != actual.shape() {
        return Some(format!(
            "has shape {}, expected {}",
            actual.shape(),
            expected.shape()
        ));
    }
    match expected.element_type() {
        // FP16 and BF16 have no JSON form, so no case expects them.
        ElementType::Fp32 | ElementType::Fp64 => {
            let mut pairs = numbers(expected).zip(numbers(actual)).enumerate();
            pairs.find_map(|(position, (expected, actual))| {
                // This form of the comparison is false for NaN.
                let is_close = (expected - actual).abs() <= tolerance;
                (!is_close).then(|| {
                    format!(
                        "element {position} is {actual}, expected {expected} within {tolerance}"
                    )
                })
            })
        }
        _ if expected.content() == actual.content() => None,
        _ => Some(format!(
            "is {}, expected {}",
            elements_text(actual),
            elements_text(expected)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::from_numbers;
    use crate::shape::Shape;

    fn output(element_type: ElementType, shape: &[u32], elements: &[f64]) -> NamedTensor {
        let mut elements = elements.iter().copied();
        let shape = Shape::new(shape.to_vec()).unwrap();
        let next = || elements.next().unwrap_or_default();
        NamedTensor {
            name: "y".to_owned(),
            tensor: from_numbers(element_type, shape, next).unwrap(),
        }
    }

    fn check(expected: NamedTensor, actual: NamedTensor) -> Result<(), String> {
        let checked = check_outputs(&[expected], &[actual], 0.01);
        checked.map_err(|mismatch| mismatch.to_string())
    }

    #[test]
    fn floats_are_equal_within_the_tolerance_and_others_exactly() {
        let float = |number| output(ElementType::Fp64, &[1], &[number]);
        assert_eq!(check(float(1.0), float(1.005)), Ok(()));
        let error = check(float(1.0), float(1.5)).unwrap_err();
        assert_eq!(error, "output `y` element 0 is 1.5, expected 1 within 0.01");
        assert!(check(float(1.0), float(f64::NAN)).is_err());
        let integers = |numbers: &[f64]| output(ElementType::Int64, &[2], numbers);
        assert_eq!(check(integers(&[1.0, 2.0]), integers(&[1.0, 2.0])), Ok(()));
        let error = check(integers(&[1.0, 2.0]), integers(&[1.0, 3.0])).unwrap_err();
        assert_eq!(error, "output `y` is [1, 3], expected [1, 2]");
    }

    #[test]
    fn another_type_or_shape_and_a_missing_output_are_named() {
        let expected = output(ElementType::Fp32, &[1], &[1.0]);
        let error = check(expected.clone(), output(ElementType::Fp64, &[1], &[1.0]));
        assert_eq!(error.unwrap_err(), "output `y` is FP64, expected FP32");
        let error = check(expected.clone(), output(ElementType::Fp32, &[1, 1], &[1.0]));
        assert!(error.unwrap_err().starts_with("output `y` has shape"));
        let missing = check_outputs(&[expected], &[], 0.0);
        let error = missing.map_err(|mismatch| mismatch.to_string());
        assert_eq!(error.unwrap_err(), "output `y` is missing");
    }
}
