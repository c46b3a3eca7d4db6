//! Floating-point numbers, each rounded once from its digits to the datatype.
//!
//! Numbers as clients usually write them (up to nineteen digits, a small exponent) take a fast path. The
//! standard library parses every number that the fast path cannot prove to be rounded correctly.

use super::decimal::Decimal;

/// The powers of ten that are exact as an f64.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Returns the finite FP32 number at the start of `text`, and its length.
#[inline(always)]
pub(crate) fn read_f32(text: &[u8]) -> Option<(f32, usize)> {
    let decimal = Decimal::read(text)?;
    let single = match near(&decimal).and_then(nearest_single) {
        Some(single) => single,
        None => number(text, &decimal)?.parse().ok()?,
    };
    single.is_finite().then_some((single, decimal.length))
}

/// Returns the finite FP64 number at the start of `text`, and its length.
#[inline(always)]
pub(crate) fn read_f64(text: &[u8]) -> Option<(f64, usize)> {
    /// The limit up to which digits are exact as an f64. Their power of ten is exact too, so their
    /// quotient or product is rounded once (Clinger's fast path).
    const MAX_EXACT: u64 = 1 << 53;
    let decimal = Decimal::read(text)?;
    let double = match near(&decimal) {
        Some(double) if decimal.digits <= MAX_EXACT => double,
        _ => number(text, &decimal)?.parse().ok()?,
    };
    double.is_finite().then_some((double, decimal.length))
}

/// Returns an f64 that differs from the number by less than two units in the last place: the digits, if
/// they exceed 53 bits, and their quotient or product with a power of ten are each rounded once.
#[inline(always)]
fn near(decimal: &Decimal) -> Option<f64> {
    let power = POWERS_OF_TEN.get(usize::try_from(decimal.exponent.unsigned_abs()).ok()?)?;
    let digits = decimal.has_all_digits.then_some(decimal.digits as f64)?;
    let magnitude = match decimal.exponent < 0 {
        true => digits / power,
        false => digits * power,
    };
    Some(if decimal.is_negative {
        -magnitude
    } else {
        magnitude
    })
}

/// Returns the f32 that is nearest to the number that `double` approximates (see [`near`]).
///
/// `None` if another f32 could be nearer: if `double` is close to the midpoint of two f32s, since the
/// number may be on either side of it; and below the normal f32s, which have other midpoints.
#[inline(always)]
fn nearest_single(double: f64) -> Option<f32> {
    const DROPPED_BITS: u64 = (1 << 29) - 1;
    const HALF_WAY: u64 = 1 << 28;
    /// Twice the maximum error of [`near`], in units in the last place of an f64.
    const MARGIN: u64 = 4;
    let is_normal = double.abs() >= f64::from(f32::MIN_POSITIVE);
    let above = (double.to_bits() & DROPPED_BITS).wrapping_sub(HALF_WAY - MARGIN);
    if above <= 2 * MARGIN || !(is_normal || double == 0.0) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounds to the nearest, which may be infinite"
    )]
    Some(double as f32)
}

#[cold]
fn number<'a>(text: &'a [u8], decimal: &Decimal) -> Option<&'a str> {
    str::from_utf8(text.get(..decimal.length)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) {
        let followed = format!("{text} ,");
        let single = read_f32(followed.as_bytes()).map(|(single, _)| single.to_bits());
        let expected = text.parse().ok().filter(|number: &f32| number.is_finite());
        assert_eq!(single, expected.map(f32::to_bits), "{text} as FP32");
        let double = read_f64(followed.as_bytes()).map(|(double, _)| double.to_bits());
        let expected = text.parse().ok().filter(|number: &f64| number.is_finite());
        assert_eq!(double, expected.map(f64::to_bits), "{text} as FP64");
    }

    #[test]
    fn numbers_at_the_edges_of_the_short_way_are_rounded_once() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "1",
            "-1.5",
            "0.1",
            "16777217",
            "16777217.000000001",
            "16777216.999999999",
            "9007199254740992",
            "9007199254740993",
            "9007199254740992.5",
            "0.00000000000000000001",
            "0.000000000000000000000000000000000000000000001",
            "1.00000005960464477539",
            "1.000000059604644775",
            "12345678901234567890123",
            "99999999999999999999",
            "3.4028235e38",
            "3.4028236e38",
            "340282366920938463463374607431768211456",
            "1e400",
            "-1e400",
            "1e-400",
            "5e-324",
            "1E5",
            "1e+5",
            "18446744073709551615",
            "0.8444218635559082",
            "-3.4028235677973366e38",
            "0.000000000000000000000000000000000000011754943508222875",
            "1.1754942807573643e-38",
            "1.1754943508222875e-38",
            "1e00000000000000000000005",
            "1e99999999999999999999",
            "0e99999999999999999999",
        ] {
            check(text);
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["true", "null", "\"1\"", "{", "-"] {
            assert_eq!(read_f32(text.as_bytes()), None, "{text}");
            assert_eq!(read_f64(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(crate::fixture::cases())]

        #[test]
        fn every_single_survives_its_shortest_digits(bits: u32) {
            check(&f32::from_bits(bits).to_string());
        }

        #[test]
        fn every_double_survives_its_shortest_digits(bits: u64) {
            check(&f64::from_bits(bits).to_string());
            check(&format!("{:e}", f64::from_bits(bits)));
        }

        #[test]
        fn every_single_survives_as_a_double(bits: u32) {
            let double = f64::from(f32::from_bits(bits));
            check(&double.to_string());
            check(&format!("{double:e}"));
        }

        #[test]
        fn decimals_of_any_length_are_rounded_once(text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?(e[+-]?[0-9]{1,3})?") {
            check(&text);
        }

        #[test]
        fn numbers_around_the_middle_of_two_singles_are_rounded_once(bits in 0u32..0x7f00_0000, beside in -2i64..=2) {
            let middle = f64::from(f32::from_bits(bits)).midpoint(f64::from(f32::from_bits(bits + 1)));
            check(&f64::from_bits(middle.to_bits().wrapping_add_signed(beside)).to_string());
        }
    }
}
