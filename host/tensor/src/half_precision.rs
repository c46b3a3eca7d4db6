//! Rounding to FP16 and BF16, two-byte floats that Rust has no types for.
//!
//! The crate `half` rounds an f64 twice: it drops the low bits first, and so rounds numbers just beside the
//! midpoint of two values to the wrong one. Here the first step rounds to odd, which keeps the information
//! on which side of the midpoint the number is.

pub use half::{bf16, f16};

/// Returns the nearest FP16 number. Ties round to even; numbers beyond the range give infinity.
pub fn nearest_f16(number: f64) -> f16 {
    f16::from_f32(round_to_odd(number))
}

/// Returns the nearest BF16 number. Ties round to even; numbers beyond the range give infinity.
pub fn nearest_bf16(number: f64) -> bf16 {
    bf16::from_f32(round_to_odd(number))
}

/// Returns the number as an f32 if there is such an f32, or else the one of the two adjacent f32s whose
/// last bit is 1. It is never a midpoint of two values with fewer bits.
fn round_to_odd(number: f64) -> f32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounds to the nearest f32, which is corrected below"
    )]
    let nearest = number as f32;
    let widened = f64::from(nearest);
    if widened == number {
        return nearest;
    }
    let is_above = widened.abs() > number.abs();
    let toward_zero = nearest.to_bits() - u32::from(is_above);
    f32::from_bits(toward_zero | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_the_nearest_to_itself() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            match half.is_nan() {
                true => assert!(nearest_f16(half.to_f64()).is_nan()),
                false => assert_eq!(nearest_f16(half.to_f64()).to_bits(), bits),
            }
            match brain.is_nan() {
                true => assert!(nearest_bf16(brain.to_f64()).is_nan()),
                false => assert_eq!(nearest_bf16(brain.to_f64()).to_bits(), bits),
            }
        }
    }

    #[test]
    fn midpoints_round_to_even_and_numbers_beside_them_to_the_nearer_value() {
        for low in 0..0x7bff_u16 {
            let (below, above) = (f16::from_bits(low), f16::from_bits(low + 1));
            let middle = f64::midpoint(below.to_f64(), above.to_f64());
            let even = low + (low & 1);
            assert_eq!(nearest_f16(middle).to_bits(), even, "{middle}");
            assert_eq!(nearest_f16(middle.next_down()).to_bits(), low, "{middle}");
            assert_eq!(nearest_f16(middle.next_up()).to_bits(), low + 1, "{middle}");
            assert_eq!(nearest_f16(-middle).to_bits(), even | 0x8000, "{middle}");
        }
        for low in 0..0x7f7f_u16 {
            let (below, above) = (bf16::from_bits(low), bf16::from_bits(low + 1));
            let middle = f64::midpoint(below.to_f64(), above.to_f64());
            let even = low + (low & 1);
            assert_eq!(nearest_bf16(middle).to_bits(), even, "{middle}");
            assert_eq!(nearest_bf16(middle.next_down()).to_bits(), low, "{middle}");
            assert_eq!(
                nearest_bf16(middle.next_up()).to_bits(),
                low + 1,
                "{middle}"
            );
        }
    }

    #[test]
    fn numbers_beyond_the_range_are_infinite_and_tiny_ones_zero() {
        assert_eq!(nearest_f16(65_519.99).to_bits(), 0x7bff);
        assert_eq!(nearest_f16(65_520.0).to_bits(), 0x7c00);
        assert_eq!(nearest_f16(-1e300).to_bits(), 0xfc00);
        assert_eq!(nearest_f16(f64::INFINITY).to_bits(), 0x7c00);
        assert_eq!(nearest_bf16(3.4e38).to_bits(), 0x7f80);
        assert_eq!(nearest_bf16(f64::from(f32::MAX)).to_bits(), 0x7f80);
        assert_eq!(nearest_f16(2f64.powi(-25)).to_bits(), 0);
        assert_eq!(nearest_f16(2f64.powi(-25).next_up()).to_bits(), 1);
        assert_eq!(nearest_f16(f64::MIN_POSITIVE).to_bits(), 0);
        assert_eq!(nearest_f16(-0.0).to_bits(), 0x8000);
    }
}
