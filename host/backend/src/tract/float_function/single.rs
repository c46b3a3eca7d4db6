//! Loops over f32 that the compiler vectorises, with tract's exponential as their only costly part.
//!
//! tract's kernel of the exponential is right for all arguments, NaN and infinities included.

use tract_onnx::prelude::TractResult;
use tract_onnx::tract_core::tract_linalg::routines::Func;

/// The numbers whose exponentials are computed together; they stay in the first cache.
const CHUNK: usize = 1024;

/// The limit below which the series of the hyperbolic tangent is more precise than its exponential form.
const SERIES_LIMIT: f32 = 0.3;

pub(super) fn sigmoid(numbers: &mut [f32]) -> TractResult<()> {
    with_exponential(numbers, |x| -x, |_, power| 1.0 / (1.0 + power))
}

pub(super) fn silu(numbers: &mut [f32]) -> TractResult<()> {
    with_exponential(numbers, |x| -x, |x, power| x / (1.0 + power))
}

pub(super) fn gelu_tanh(numbers: &mut [f32]) -> TractResult<()> {
    const SCALE: f32 = -2.0 * 0.797_884_6;
    let exponent = |x: f32| SCALE * (x + 0.044_715 * x * x * x);
    with_exponential(numbers, exponent, |x, power| x / (1.0 + power))
}

pub(super) fn tanh(numbers: &mut [f32]) -> TractResult<()> {
    let exponent = |x: f32| -2.0 * x.abs();
    with_exponential(numbers, exponent, |x, power| {
        let square = x * x;
        let series = x
            * (1.0
                + square
                    * (-1.0 / 3.0
                        + square
                            * (2.0 / 15.0 + square * (-17.0 / 315.0 + square * (62.0 / 2835.0)))));
        let ratio = ((1.0 - power) / (1.0 + power)).copysign(x);
        // NaN is not below the limit.
        if x.abs() < SERIES_LIMIT {
            series
        } else {
            ratio
        }
    })
}

pub(super) fn hard_swish(numbers: &mut [f32]) -> TractResult<()> {
    for x in numbers {
        let gate = *x * (1.0 / 6.0) + 0.5;
        // Each comparison is false for NaN and keeps it.
        let gate = if gate < 0.0 { 0.0 } else { gate };
        let gate = if gate > 1.0 { 1.0 } else { gate };
        *x *= gate;
    }
    Ok(())
}

/// Replaces each number by `combine` of itself and of the exponential of its `exponent`.
fn with_exponential(
    numbers: &mut [f32],
    exponent: impl Fn(f32) -> f32,
    combine: impl Fn(f32, f32) -> f32,
) -> TractResult<()> {
    let exponential = Func::Exp.ew_f32()?;
    let mut powers = [0f32; CHUNK];
    for chunk in numbers.chunks_mut(CHUNK) {
        let powers = &mut powers[..chunk.len()];
        for (power, x) in powers.iter_mut().zip(chunk.iter()) {
            *power = exponent(*x);
        }
        exponential.run(powers)?;
        for (x, power) in chunk.iter_mut().zip(powers.iter()) {
            *x = combine(*x, *power);
        }
    }
    Ok(())
}
