//! Compares the outputs of a case with the expected ones.

use super::case::Content;
use crate::harness::difference::{Tolerance, difference, floats, kind_difference};
use wisp_tensor::{ElementType, Tensor};

/// The additional tolerance for sums of many terms, in roundings of the largest term.
const ROUNDINGS: f64 = 8.0;

/// The additional tolerance for terms of about one, such as those of saturated activations.
const NEAR_ONE: f64 = 1e-6;

impl Content {
    /// Returns a description of the difference between an output and the expected one, if there is one.
    pub(super) fn difference(&self, actual: &Tensor, expected: &Tensor) -> Option<String> {
        if self.random {
            return kind_difference(actual, expected);
        }
        let largest = floats(expected)
            .into_iter()
            .flatten()
            .filter(|value| value.is_finite())
            .fold(0.0, |largest: f64, value| largest.max(value.abs()));
        // A sum is as exact as its largest terms, even if they cancel out to almost zero.
        let roundings = largest * ROUNDINGS * epsilon(expected);
        let tolerance = Tolerance {
            relative: self.rtol,
            absolute: self.atol.max(roundings).max(NEAR_ONE),
        };
        difference(actual, expected, tolerance)
    }
}

/// Returns the distance from 1 to the next number of this type.
fn epsilon(tensor: &Tensor) -> f64 {
    match tensor.element_type() {
        ElementType::Fp16 => 2f64.powi(-10),
        ElementType::Bf16 => 2f64.powi(-7),
        ElementType::Fp32 => f64::from(f32::EPSILON),
        _ => f64::EPSILON,
    }
}
