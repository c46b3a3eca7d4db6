//! The facts in the file of a graph that a comparison depends on: the tolerance, and values that select branches.

use super::inputs::is_real;
use std::collections::BTreeMap;
use std::path::Path;
use wisp_backend::compared_values::compared_values;
use wisp_backend::model_outline::ModelOutline;
use wisp_tensor::NamedTensor;
use wisp_tensor::difference::largest_difference;
use wisp_tensor::number::numbers;

/// The facts in the file of a graph on which backends are compared.
#[derive(Debug)]
pub(super) struct Basis {
    pub(super) tolerance: Tolerance,
    /// The numbers that the graph compares its inputs with, by the name of the input. They select branches, which
    /// backends need not all compute.
    pub(super) compared: BTreeMap<String, Vec<i64>>,
}

/// The limits up to which outputs count as equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tolerance {
    /// Backends sum in different orders, and in deep graphs the differences add up to this limit; a wrong
    /// output is far beyond it.
    Real,
    /// In quantized graphs a different rounding changes an output by whole steps of its range.
    Quantized,
}

impl Basis {
    /// Reads the facts in the file at `path`, which has this outline, if it has one.
    pub(super) fn read(path: &Path, outline: Option<&ModelOutline>) -> Basis {
        Basis {
            tolerance: match outline {
                Some(outline) if outline.is_quantized => Tolerance::Quantized,
                _ => Tolerance::Real,
            },
            compared: match outline {
                Some(_) => compared_values(path).unwrap_or_default(),
                None => BTreeMap::new(),
            },
        }
    }
}

impl Tolerance {
    pub(super) fn limit(self) -> f64 {
        match self {
            Tolerance::Real => 1e-2,
            Tolerance::Quantized => 5e-2,
        }
    }

    pub(super) fn difference(self, expected: &[NamedTensor], found: &[NamedTensor]) -> f64 {
        let difference = largest_difference(expected, found);
        if self == Tolerance::Real || difference <= self.limit() || difference.is_infinite() {
            return difference;
        }
        let pairs = expected.iter().zip(found);
        pairs
            .map(|(expected, found)| relative_difference(expected, found))
            .fold(0.0, f64::max)
    }
}

/// Returns the largest difference between two outputs of the same shape, relative to the largest number of
/// the expected one, which is about the range of its quantization.
fn relative_difference(expected: &NamedTensor, found: &NamedTensor) -> f64 {
    if !is_real(expected.tensor.element_type()) {
        let one = std::slice::from_ref(expected);
        return largest_difference(one, std::slice::from_ref(found));
    }
    let finite = numbers(&expected.tensor).filter(|number| number.is_finite());
    let range = finite.map(f64::abs).fold(f64::MIN_POSITIVE, f64::max);
    let pairs = numbers(&expected.tensor).zip(numbers(&found.tensor));
    // The difference of two infinities or NaN is NaN, which `max` ignores; others are excluded before.
    pairs
        .map(|(expected, found)| (expected - found).abs() / range)
        .fold(0.0, f64::max)
}
