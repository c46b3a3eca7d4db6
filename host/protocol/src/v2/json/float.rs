//! Floating-point numbers, each rounded once from its digits to the datatype.
//!
//! Numbers as clients print them (a dozen digits, no exponent) take a short way that is exact; what
//! it cannot prove right goes to the standard library.

use super::cursor::Cursor;

/// The powers of ten that a double holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The finite FP32 number that the cursor stands before.
pub(super) fn read_f32(cursor: &mut Cursor) -> Option<f32> {
    if let Some((double, length)) = short_decimal(cursor.rest())
        && let Some(single) = nearest_single(double)
    {
        cursor.skip(length);
        return Some(single);
    }
    cursor
        .scalar()
        .parse()
        .ok()
        .filter(|number: &f32| number.is_finite())
}

/// The finite FP64 number that the cursor stands before.
pub(super) fn read_f64(cursor: &mut Cursor) -> Option<f64> {
    if let Some((double, length)) = short_decimal(cursor.rest()) {
        cursor.skip(length);
        return Some(double);
    }
    cursor
        .scalar()
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
}

/// The double nearest to the number that `text` begins with, and the number's length.
///
/// Digits below 2^53 and a power of ten up to 22 are both exact as doubles, so that their quotient
/// is rounded once (Clinger's fast path). `None` for all else, numbers or not.
fn short_decimal(text: &[u8]) -> Option<(f64, usize)> {
    const MAX_EXACT: u64 = 1 << 53;
    let sign = usize::from(text.first() == Some(&b'-'));
    let mut position = sign;
    let mut point = None;
    let mut digits = 0u64;
    loop {
        match text.get(position) {
            Some(&byte @ b'0'..=b'9') => {
                digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
            }
            Some(b'.') => point = Some(position),
            Some(b'e' | b'E') => return None,
            _ => break,
        }
        position += 1;
    }
    let count = position - sign - usize::from(point.is_some());
    // Up to nineteen digits nothing has wrapped.
    if !(1..=19).contains(&count) || digits > MAX_EXACT {
        return None;
    }
    let fraction = point.map_or(0, |point| position - point - 1);
    let magnitude = digits as f64 / POWERS_OF_TEN.get(fraction)?;
    let number = if sign == 1 { -magnitude } else { magnitude };
    Some((number, position))
}

/// The single nearest to the number of which `double` is the nearest double.
///
/// `None` where rounding twice could differ from rounding once: when the double lies half-way
/// between two singles, on which side of it the number was is lost; and below the normal singles,
/// whose half-ways lie elsewhere.
fn nearest_single(double: f64) -> Option<f32> {
    const DROPPED_BITS: u64 = (1 << 29) - 1;
    const HALF_WAY: u64 = 1 << 28;
    let is_normal = double.abs() >= f64::from(f32::MIN_POSITIVE);
    if double.to_bits() & DROPPED_BITS == HALF_WAY || !(is_normal || double == 0.0) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounds to the nearest, and is below 2^53"
    )]
    Some(double as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) {
        let followed = format!("{text} ,");
        let single = read_f32(&mut Cursor::new(&followed)).map(f32::to_bits);
        let expected = text.parse().ok().filter(|number: &f32| number.is_finite());
        assert_eq!(single, expected.map(f32::to_bits), "{text} as FP32");
        let double = read_f64(&mut Cursor::new(&followed)).map(f64::to_bits);
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
        ] {
            check(text);
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["true", "null", "\"1\"", "{", "-"] {
            assert_eq!(read_f32(&mut Cursor::new(text)), None, "{text}");
            assert_eq!(read_f64(&mut Cursor::new(text)), None, "{text}");
        }
    }

    proptest! {
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
