//! Floating-point numbers, each rounded once from its digits to the datatype.
//!
//! Numbers as clients usually write them (up to nineteen digits, a small exponent) take a fast path. The
//! standard library parses every number that the fast path cannot prove to be rounded correctly. Without
//! digits, `NaN`, `Infinity` and `-Infinity` are numbers too, and `null`, a missing value, is NaN.

use super::decimal::Decimal;
use super::word::read_word;

/// The powers of ten that are exact as an f64.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Returns the FP32 number at the start of `text`, and its length. Digits beyond the range are not a number.
#[inline(always)]
pub(crate) fn read_f32(text: &[u8]) -> Option<(f32, usize)> {
    let Some(decimal) = Decimal::read(text) else {
        return read_word(text);
    };
    let number = match near(&decimal).and_then(nearest_f32) {
        Some(number) => number,
        None => number(text, &decimal)?.parse().ok()?,
    };
    number.is_finite().then_some((number, decimal.length))
}

/// Returns the FP64 number at the start of `text`, and its length. Digits beyond the range are not a number.
#[inline(always)]
pub(crate) fn read_f64(text: &[u8]) -> Option<(f64, usize)> {
    /// The limit up to which digits are exact as an f64. Their power of ten is exact too, so their
    /// quotient or product is rounded once (Clinger's fast path).
    const MAX_EXACT: u64 = 1 << 53;
    let Some(decimal) = Decimal::read(text) else {
        return read_word(text).map(|(value, length)| (f64::from(value), length));
    };
    let approximation = match near(&decimal) {
        Some(approximation) if decimal.digits <= MAX_EXACT => approximation,
        _ => number(text, &decimal)?.parse().ok()?,
    };
    approximation
        .is_finite()
        .then_some((approximation, decimal.length))
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

/// Returns the f32 that is nearest to the number that `approximation` approximates (see [`near`]).
///
/// `None` if another f32 could be nearer: if `approximation` is close to the midpoint of two f32s, since the
/// number may be on either side of it; and below the normal f32s, which have other midpoints.
#[inline(always)]
fn nearest_f32(approximation: f64) -> Option<f32> {
    const DROPPED_BITS: u64 = (1 << 29) - 1;
    const HALF_WAY: u64 = 1 << 28;
    /// Twice the maximum error of [`near`], in units in the last place of an f64.
    const MARGIN: u64 = 4;
    let is_normal = approximation.abs() >= f64::from(f32::MIN_POSITIVE);
    let above = (approximation.to_bits() & DROPPED_BITS).wrapping_sub(HALF_WAY - MARGIN);
    if above <= 2 * MARGIN || !(is_normal || approximation == 0.0) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounds to the nearest, which may be infinite"
    )]
    Some(approximation as f32)
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
        let number = read_f32(followed.as_bytes()).map(|(number, _)| number.to_bits());
        // Only NaN is both a word of this module and one of the standard library.
        let expected = text.parse().ok();
        let expected = expected.filter(|number: &f32| number.is_finite() || text == "NaN");
        assert_eq!(number, expected.map(f32::to_bits), "{text} as FP32");
        let approximation =
            read_f64(followed.as_bytes()).map(|(approximation, _)| approximation.to_bits());
        let expected = text.parse().ok();
        let expected = expected.filter(|number: &f64| number.is_finite() || text == "NaN");
        assert_eq!(approximation, expected.map(f64::to_bits), "{text} as FP64");
    }

    #[test]
    fn numbers_at_the_limits_of_the_fast_path_are_rounded_once() {
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
    fn other_values_are_not_numbers() {
        for text in ["true", "nan", "\"1\"", "{", "-", "-NaN"] {
            assert_eq!(read_f32(text.as_bytes()), None, "{text}");
            assert_eq!(read_f64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_missing_value_is_nan_and_infinities_have_words() {
        for (text, is_nan) in [("NaN", true), ("null", true), ("-Infinity", false)] {
            let (number, length) = read_f32(text.as_bytes()).unwrap();
            assert_eq!((number.is_nan(), length), (is_nan, text.len()), "{text}");
            let (number, length) = read_f64(text.as_bytes()).unwrap();
            assert_eq!((number.is_nan(), length), (is_nan, text.len()), "{text}");
            assert!(is_nan || number == f64::NEG_INFINITY, "{text}");
        }
    }

    proptest! {
        #![proptest_config(crate::fixture::cases())]

        #[test]
        fn every_f32_round_trips_through_its_shortest_digits(bits: u32) {
            check(&f32::from_bits(bits).to_string());
        }

        #[test]
        fn every_f64_round_trips_through_its_shortest_digits(bits: u64) {
            check(&f64::from_bits(bits).to_string());
            check(&format!("{:e}", f64::from_bits(bits)));
        }

        #[test]
        fn every_f32_round_trips_through_f64_digits(bits: u32) {
            let approximation = f64::from(f32::from_bits(bits));
            check(&approximation.to_string());
            check(&format!("{approximation:e}"));
        }

        #[test]
        fn decimals_of_any_length_are_rounded_once(text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?(e[+-]?[0-9]{1,3})?") {
            check(&text);
        }

        #[test]
        fn numbers_near_the_midpoint_of_two_f32s_are_rounded_once(bits in 0u32..0x7f00_0000, beside in -2i64..=2) {
            let middle = f64::from(f32::from_bits(bits)).midpoint(f64::from(f32::from_bits(bits + 1)));
            check(&f64::from_bits(middle.to_bits().wrapping_add_signed(beside)).to_string());
        }
    }
}
