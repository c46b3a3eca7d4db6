//! Compares the outputs of a case with the expected ones.

use super::case::Content;
use crate::harness::difference::{Tolerance, difference, floats, kind_difference};
use anyhow::Result;
use bytes::Bytes;
use wisp_tensor::{ElementType, NamedTensor, Tensor};

/// The additional tolerance for sums of many terms, in roundings of the largest term.
const ROUNDINGS: f64 = 8.0;

/// The additional tolerance for terms of about one, such as those of saturated activations.
const NEAR_ONE: f64 = 1e-6;

impl Content {
    /// Returns a description of the difference between the outputs of a backend and the right ones, if there
    /// is one. The bytes of the right ones are slices of `tensors`.
    pub(crate) fn fault(&self, outputs: &[NamedTensor], tensors: &Bytes) -> Result<Option<String>> {
        if outputs.len() != self.outputs.len() {
            return Ok(Some(format!("{} outputs", outputs.len())));
        }
        for (position, (output, expected)) in outputs.iter().zip(&self.outputs).enumerate() {
            let NamedTensor { name, tensor } = expected.tensor(tensors)?;
            if output.name != name {
                return Ok(Some(format!("`{name}` is called {}", output.name)));
            }
            let Some(difference) = self.difference(&output.tensor, &tensor) else {
                continue;
            };
            if let Some(other) = self.also_right.get(position) {
                let other = other.tensor(tensors)?.tensor;
                if self.difference(&output.tensor, &other).is_none() {
                    continue;
                }
            }
            return Ok(Some(format!("`{name}` {difference}")));
        }
        Ok(None)
    }

    /// Returns a description of the difference between an output and the expected one, if there is one.
    fn difference(&self, actual: &Tensor, expected: &Tensor) -> Option<String> {
        if self.random {
            return kind_difference(actual, expected);
        }
        if self.bitwise {
            return bitwise_difference(actual, expected);
        }
        let tolerance = match self.strict {
            true => Tolerance {
                relative: self.rtol,
                absolute: self.atol,
            },
            false => self.tolerance(expected),
        };
        difference(actual, expected, tolerance)
    }

    /// Returns the tolerances with an allowance for sums of large terms.
    fn tolerance(&self, expected: &Tensor) -> Tolerance {
        let largest = floats(expected)
            .into_iter()
            .flatten()
            .filter(|value| value.is_finite())
            .fold(0.0, |largest: f64, value| largest.max(value.abs()));
        // A sum is as exact as its largest terms, even if they cancel out to almost zero.
        let roundings = largest * ROUNDINGS * epsilon(expected);
        Tolerance {
            relative: self.rtol,
            absolute: self.atol.max(roundings).max(NEAR_ONE),
        }
    }
}

/// Returns a description of the first difference in a bit, if there is one. All NaNs are equal.
fn bitwise_difference(actual: &Tensor, expected: &Tensor) -> Option<String> {
    let equal = Tolerance {
        relative: 0.0,
        absolute: 0.0,
    };
    if let Some(difference) = difference(actual, expected, equal) {
        return Some(difference);
    }
    // Equal numbers of different bits are zeros of different signs.
    let (actual, expected) = (floats(actual)?, floats(expected)?);
    let mut pairs = actual.iter().zip(&expected).enumerate();
    let (position, (actual, expected)) = pairs.find(|(_, (actual, expected))| {
        !expected.is_nan() && actual.is_sign_negative() != expected.is_sign_negative()
    })?;
    Some(format!(
        "element {position} is {actual:?}, expected {expected:?}"
    ))
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
