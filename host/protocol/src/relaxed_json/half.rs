//! Conversions of FP16 and BF16, two-byte floats that Rust has no types for.
//!
//! The crate `half` is not used, because it drops the low bits of an f64 before it rounds, and so rounds
//! numbers just beside the midpoint of two values to the wrong one.

/// The numbers of bits after the sign.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    exponent_bits: u32,
    fraction_bits: u32,
}

pub(super) const FP16: Format = Format {
    exponent_bits: 5,
    fraction_bits: 10,
};

pub(super) const BF16: Format = Format {
    exponent_bits: 8,
    fraction_bits: 7,
};

impl Format {
    /// Returns the bits of infinity without the sign, above those of all finite numbers.
    fn infinity(self) -> u64 {
        ((1 << self.exponent_bits) - 1) << self.fraction_bits
    }
}

/// Converts an FP16 number to an f32, exactly.
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    const SMALLEST_HALF: f32 = 1.0 / (1u32 << 24) as f32;
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let fraction = bits & 0x3ff;
    let magnitude = match exponent {
        0 => (f32::from(fraction) * SMALLEST_HALF).to_bits(),
        0x1f => 0xff << 23 | u32::from(fraction) << 13,
        // The exponent biases are 15 and 127.
        _ => (exponent + 112) << 23 | u32::from(fraction) << 13,
    };
    f32::from_bits(sign | magnitude)
}

/// Converts a BF16 number to an f32, exactly.
pub(super) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Returns the bits of the number of this format that is nearest to `number`. Ties round to even;
/// numbers beyond the range give infinity.
pub(super) fn nearest(number: f64, format: Format) -> u16 {
    const DOUBLE_FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    const DOUBLE_BIAS: u64 = 1023;
    let Format {
        exponent_bits,
        fraction_bits,
    } = format;
    let bits = number.to_bits();
    let infinity = format.infinity();
    let exponent = bits >> DOUBLE_FRACTION_BITS & 0x7ff;
    let fraction = bits & ((1 << DOUBLE_FRACTION_BITS) - 1);
    let magnitude = if number.is_nan() {
        // The highest bit of the fraction makes it a quiet NaN.
        infinity | 1 << (fraction_bits - 1)
    } else {
        // Below the format's normal numbers, each power of two drops another bit.
        let smallest = DOUBLE_BIAS + 2 - (1 << (exponent_bits - 1));
        let missing = smallest.saturating_sub(exponent);
        let dropped = u64::from(DOUBLE_FRACTION_BITS - fraction_bits) + missing;
        // Adds the implicit leading one of an f64. Subnormals have none, but round to zero anyway.
        let significand = fraction | 1 << DOUBLE_FRACTION_BITS;
        let rounded = round_off(significand, dropped);
        // The leading one carries into the exponent, as does an overflow of the rounding.
        let above = exponent.saturating_sub(smallest) << fraction_bits;
        (above + rounded).min(infinity)
    };
    let sign = bits >> 63 << 15;
    u16::try_from(sign | magnitude).expect("both formats have fifteen bits behind the sign")
}

pub(super) fn is_infinite(bits: u16, format: Format) -> bool {
    u64::from(bits & 0x7fff) == format.infinity()
}

/// Returns `number` without its last `dropped` bits, rounded to nearest, ties to even.
fn round_off(number: u64, dropped: u64) -> u64 {
    // A significand of 53 bits is less than half of the last kept bit, and rounds to zero.
    if dropped > u64::from(f64::MANTISSA_DIGITS) {
        return 0;
    }
    let (kept, rest) = (number >> dropped, number & ((1 << dropped) - 1));
    let half_way = 1 << (dropped - 1);
    kept + u64::from(rest > half_way || rest == half_way && kept & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_the_nearest_to_itself() {
        for bits in 0..=u16::MAX {
            for (format, single) in [(FP16, f16_to_f32(bits)), (BF16, bf16_to_f32(bits))] {
                let back = nearest(f64::from(single), format);
                // All NaNs are converted to the same one, except for the sign.
                if !single.is_nan() {
                    assert_eq!(back, bits, "{single} in {format:?}");
                } else {
                    assert_eq!(back & 0x7fff, nearest(f64::NAN, format) & 0x7fff);
                }
            }
        }
    }

    #[test]
    fn between_two_the_nearer_is_taken_and_half_way_the_even_one() {
        for low in 0..0x7bff_u16 {
            let (below, above) = (f16_to_f32(low), f16_to_f32(low + 1));
            let middle = f64::midpoint(f64::from(below), f64::from(above));
            let even = low + (low & 1);
            assert_eq!(nearest(middle, FP16), even, "{middle}");
            assert_eq!(nearest(middle.next_down(), FP16), low, "{middle}");
            assert_eq!(nearest(middle.next_up(), FP16), low + 1, "{middle}");
            assert_eq!(nearest(-middle, FP16), even | 0x8000, "{middle}");
        }
    }

    #[test]
    fn beyond_the_range_is_infinite_and_below_it_zero() {
        assert_eq!(nearest(65_519.99, FP16), 0x7bff);
        assert_eq!(nearest(65_520.0, FP16), 0x7c00);
        assert_eq!(nearest(-1e300, FP16), 0xfc00);
        assert_eq!(nearest(f64::INFINITY, FP16), 0x7c00);
        assert_eq!(nearest(3.4e38, BF16), 0x7f80);
        assert_eq!(nearest(f64::from(f32::MAX), BF16), 0x7f80);
        assert_eq!(nearest(2f64.powi(-25), FP16), 0);
        assert_eq!(nearest(2f64.powi(-25).next_up(), FP16), 1);
        assert_eq!(nearest(f64::MIN_POSITIVE, FP16), 0);
        assert_eq!(nearest(-0.0, FP16), 0x8000);
    }
}
