//! The comparison of the outputs that two versions compute for the same inputs.
//!
//! The label of a row of floats is the position of the largest one along the last axis, as in a classification.
//! An integer, a boolean or a string is a label itself.

use wisp_protocol::release::OutputCounts;
use wisp_tensor::number::numbers;
use wisp_tensor::{ElementType, NamedTensor, Tensor};

/// The comparison of one output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutputComparison {
    pub name: String,
    /// Set if the output is missing, or has another element type or shape.
    pub mismatched: bool,
    /// The rows with a label.
    pub labels: u64,
    /// The rows with the same label.
    pub labels_agreed: u64,
    /// The largest difference.
    pub absolute: f64,
    /// The largest difference relative to the larger of both numbers.
    pub relative: f64,
    /// The largest difference relative to the stable version's number if that is beyond 1.
    scaled: f64,
}

impl OutputComparison {
    /// Returns whether both versions computed the same: the same labels, and numbers within the tolerance.
    pub fn agrees(&self, tolerance: Option<f64>) -> bool {
        !self.mismatched
            && self.labels == self.labels_agreed
            && tolerance.is_none_or(|tolerance| self.scaled <= tolerance)
    }

    /// Adds the comparison to the counts of its output.
    pub fn add_to(&self, counts: &mut OutputCounts) {
        counts.compared = counts.compared.saturating_add(1);
        counts.mismatched = counts.mismatched.saturating_add(u64::from(self.mismatched));
        counts.labels = counts.labels.saturating_add(self.labels);
        counts.labels_agreed = counts.labels_agreed.saturating_add(self.labels_agreed);
        counts.max_absolute_difference = counts.max_absolute_difference.max(self.absolute);
        counts.max_relative_difference = counts.max_relative_difference.max(self.relative);
    }
}

/// Compares the outputs of the stable version with the candidate's. Further outputs of the candidate are ignored.
pub fn compare(stable: &[NamedTensor], candidate: &[NamedTensor]) -> Vec<OutputComparison> {
    let compare_one = |stable: &NamedTensor| {
        let found = candidate.iter().find(|output| output.name == stable.name);
        let mut comparison = match found {
            Some(found) => compare_tensors(&stable.tensor, &found.tensor),
            None => mismatch(),
        };
        comparison.name.clone_from(&stable.name);
        comparison
    };
    stable.iter().map(compare_one).collect()
}

fn mismatch() -> OutputComparison {
    OutputComparison {
        mismatched: true,
        ..OutputComparison::default()
    }
}

fn compare_tensors(stable: &Tensor, candidate: &Tensor) -> OutputComparison {
    let element_type = stable.element_type();
    if element_type != candidate.element_type() || stable.shape() != candidate.shape() {
        return mismatch();
    }
    let mut comparison = OutputComparison::default();
    match element_type {
        ElementType::Bytes => {
            for (own, other) in stable.elements().zip(candidate.elements()) {
                comparison.add_label(own == other);
            }
        }
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64 => {
            for (own, other) in numbers(stable).zip(numbers(candidate)) {
                comparison.add_numbers(own, other);
            }
            comparison.add_classes(stable, candidate);
        }
        _ => {
            for (own, other) in numbers(stable).zip(numbers(candidate)) {
                comparison.add_numbers(own, other);
                comparison.add_label(own == other);
            }
        }
    }
    comparison
}

impl OutputComparison {
    fn add_label(&mut self, agrees: bool) {
        self.labels = self.labels.saturating_add(1);
        self.labels_agreed = self.labels_agreed.saturating_add(u64::from(agrees));
    }

    fn add_numbers(&mut self, stable: f64, candidate: f64) {
        if stable == candidate || (stable.is_nan() && candidate.is_nan()) {
            return;
        }
        let difference = (stable - candidate).abs();
        if !difference.is_finite() {
            // Only one of them is a number.
            self.absolute = f64::MAX;
            self.relative = f64::MAX;
            self.scaled = f64::MAX;
            return;
        }
        let larger = stable.abs().max(candidate.abs());
        self.absolute = self.absolute.max(difference);
        self.relative = self.relative.max(difference / larger);
        self.scaled = self.scaled.max(difference / stable.abs().max(1.0));
    }

    /// Compares the positions of the largest numbers in each row, if the rows have several.
    fn add_classes(&mut self, stable: &Tensor, candidate: &Tensor) {
        let dimensions = stable.shape().dimensions();
        let classes = dimensions.last().copied().unwrap_or(0);
        let classes = usize::try_from(classes).unwrap_or(0);
        if dimensions.len() < 2 || classes < 2 {
            return;
        }
        let (own, other) = (positions(stable, classes), positions(candidate, classes));
        for (own, other) in own.into_iter().zip(other) {
            self.add_label(own == other);
        }
    }
}

/// Returns the position of the first largest number of each row.
fn positions(tensor: &Tensor, classes: usize) -> Vec<usize> {
    let mut positions = Vec::new();
    let mut largest = (0, f64::NEG_INFINITY);
    for (index, number) in numbers(tensor).enumerate() {
        let position = index % classes;
        if position == 0 {
            largest = (0, f64::NEG_INFINITY);
        }
        if number > largest.1 {
            largest = (position, number);
        }
        if position.saturating_add(1) == classes {
            positions.push(largest.0);
        }
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_tensor::Shape;
    use wisp_tensor::number::from_numbers;

    fn tensor(element_type: ElementType, shape: &[u32], elements: &[f64]) -> NamedTensor {
        let mut elements = elements.iter().copied();
        let shape = Shape::new(shape.to_vec()).unwrap();
        let next = || elements.next().unwrap_or_default();
        NamedTensor {
            name: "y".to_owned(),
            tensor: from_numbers(element_type, shape, next).unwrap(),
        }
    }

    fn compared(stable: NamedTensor, candidate: NamedTensor) -> OutputComparison {
        compare(&[stable], &[candidate]).remove(0)
    }

    #[test]
    fn the_largest_float_of_each_row_is_its_label() {
        let stable = tensor(ElementType::Fp32, &[2, 3], &[0.1, 0.5, 0.4, 0.9, 0.0, 0.1]);
        let candidate = tensor(ElementType::Fp32, &[2, 3], &[0.1, 0.25, 0.4, 0.9, 0.0, 0.1]);
        let found = compared(stable.clone(), candidate);
        assert_eq!((found.labels, found.labels_agreed), (2, 1));
        assert_eq!((found.absolute, found.relative), (0.25, 0.5));
        assert!(!found.agrees(None));
        let same = compared(stable.clone(), stable);
        assert!(same.agrees(Some(0.0)));
        assert_eq!(same.name, "y");
    }

    #[test]
    fn floats_without_classes_agree_within_the_tolerance() {
        let stable = tensor(ElementType::Fp64, &[2, 1], &[100.0, 0.0]);
        let candidate = tensor(ElementType::Fp64, &[2, 1], &[101.0, 0.0]);
        let found = compared(stable, candidate);
        assert_eq!(found.labels, 0);
        assert!(found.agrees(None) && found.agrees(Some(0.01)));
        assert!(!found.agrees(Some(0.009)));
    }

    #[test]
    fn integers_and_strings_are_labels() {
        let stable = tensor(ElementType::Int64, &[3], &[1.0, 2.0, 3.0]);
        let candidate = tensor(ElementType::Int64, &[3], &[1.0, 2.0, 4.0]);
        let found = compared(stable, candidate);
        assert_eq!((found.labels, found.labels_agreed), (3, 2));
        let text = |elements: [&[u8]; 2]| NamedTensor {
            name: "y".to_owned(),
            tensor: Tensor::from_elements(elements.into_iter()).unwrap(),
        };
        let found = compared(text([b"a", b"b"]), text([b"a", b"c"]));
        assert_eq!((found.labels, found.labels_agreed), (2, 1));
    }

    #[test]
    fn another_shape_or_type_or_a_missing_output_is_a_mismatch() {
        let stable = tensor(ElementType::Fp32, &[1], &[1.0]);
        let mut other = stable.clone();
        other.name = "z".to_owned();
        for candidate in [
            tensor(ElementType::Fp32, &[1, 1], &[1.0]),
            tensor(ElementType::Fp64, &[1], &[1.0]),
            other,
        ] {
            let found = compared(stable.clone(), candidate);
            assert!(found.mismatched && !found.agrees(None));
        }
    }

    #[test]
    fn numbers_that_are_none_differ_from_all_others() {
        let stable = tensor(ElementType::Fp32, &[2], &[f64::NAN, f64::INFINITY]);
        assert!(compared(stable.clone(), stable.clone()).agrees(Some(0.0)));
        let candidate = tensor(ElementType::Fp32, &[2], &[0.0, f64::INFINITY]);
        let found = compared(stable, candidate);
        assert!(!found.agrees(Some(1e9)));
        assert_eq!(found.absolute, f64::MAX);
    }
}
