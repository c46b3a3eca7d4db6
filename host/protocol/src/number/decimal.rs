//! Parsing of a JSON number into its digits, as an integer, and its exponent.
//!
//! Eight bytes are processed together, as one integer, which costs less than two bytes one by one.

/// The maximum number of digits that always fit in 64 bits.
const MAX_DIGITS: usize = 19;

/// The powers of ten, by the number of digits to append.
const POWERS_OF_TEN: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// A number in decimal: `digits` times ten to the power of `exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    pub(super) is_negative: bool,
    /// The digits as an integer, without the sign; meaningless unless [`Decimal::has_all_digits`].
    pub(super) digits: u64,
    pub(super) exponent: i64,
    pub(super) has_all_digits: bool,
    /// A number with neither a point nor an exponent.
    pub(super) is_integer: bool,
    /// The length of the text, in bytes.
    pub(super) length: usize,
}

impl Decimal {
    /// Parses the number at the start of `text`; `None` if there is no valid JSON number.
    #[inline(always)]
    pub(super) fn read(text: &[u8]) -> Option<Decimal> {
        let is_negative = text.first() == Some(&b'-');
        let start = usize::from(is_negative);
        // A zero before the point does not count as a digit.
        let (mut digits, mut position, mut count) = match text.get(start)? {
            b'0' => (0, start + 1, 0),
            b'1'..=b'9' => {
                let (digits, end) = run(text, start, 0);
                (digits, end, end - start)
            }
            _ => return None,
        };
        let mut exponent = 0;
        let mut is_integer = true;
        if text.get(position) == Some(&b'.') {
            let point = position + 1;
            (digits, position) = run(text, point, digits);
            let fraction = position - point;
            if fraction == 0 {
                return None;
            }
            count += fraction;
            exponent = -i64::try_from(fraction).ok()?;
            is_integer = false;
        }
        let mut has_all_digits = count <= MAX_DIGITS;
        if let Some(b'e' | b'E') = text.get(position) {
            let sign = text.get(position + 1);
            let start = position + 1 + usize::from(matches!(sign, Some(b'+' | b'-')));
            let (power, end) = run(text, start, 0);
            if end == start {
                return None;
            }
            // A longer exponent makes zero or infinity, or has leading zeros; the caller then parses
            // the text with the standard library.
            match i32::try_from(power) {
                Ok(power) if end - start <= MAX_DIGITS => {
                    let power = i64::from(power);
                    exponent += if sign == Some(&b'-') { -power } else { power };
                }
                _ => has_all_digits = false,
            }
            position = end;
            is_integer = false;
        }
        Some(Decimal {
            is_negative,
            digits,
            exponent,
            has_all_digits,
            is_integer,
            length: position,
        })
    }
}

/// Appends the digits from `position` on to the decimal number `value`, and returns the result and the
/// end of the digits. Beyond 64 bits the value wraps.
#[inline(always)]
fn run(text: &[u8], mut position: usize, mut value: u64) -> (u64, usize) {
    while let Some(&eight) = text.get(position..).and_then(<[u8]>::first_chunk) {
        let (values, others) = classify(eight);
        // With a constant step of eight, the processor can read ahead before the count is known.
        if others == 0 {
            value = value.wrapping_mul(100_000_000).wrapping_add(join(values));
            position += 8;
            continue;
        }
        let count = others.trailing_zeros() / 8;
        // Leading zeros extend the digits to eight.
        let Some(values) = values.checked_shl(64 - 8 * count) else {
            return (value, position);
        };
        let power = POWERS_OF_TEN[count as usize];
        let value = value.wrapping_mul(power).wrapping_add(join(values));
        return (value, position + count as usize);
    }
    while let Some(&byte @ b'0'..=b'9') = text.get(position) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        position += 1;
    }
    (value, position)
}

/// Returns the values of the digits, the first in the lowest byte, and a mask with the high bits of the
/// bytes that are not digits. Only the lowest set bit of the mask is reliable.
#[inline(always)]
fn classify(bytes: [u8; 8]) -> (u64, u64) {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    // A digit becomes its value, and any other byte more than nine.
    let values = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    // The sum sets the high bit of every byte above nine. A carry out of such a byte affects only
    // bytes after the first one that is not a digit.
    let sums = values.wrapping_add(0x7676_7676_7676_7676) | values;
    (values, sums & HIGH_BITS)
}

/// Returns the number of eight digits, which are combined into pairs, and then the pairs into the number.
#[inline(always)]
fn join(values: u64) -> u64 {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let high = (pairs & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let low = (pairs >> 16 & PAIRS).wrapping_mul(1 + (10_000 << 32));
    high.wrapping_add(low) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) -> Result<(), TestCaseError> {
        let decimal = Decimal::read(text.as_bytes()).map(|decimal| decimal.length);
        let whole = serde_json::from_str::<serde_json::Number>(text).is_ok();
        // The text is a number in JSON exactly if the longest number at its start is the whole text.
        prop_assert_eq!(
            whole,
            decimal == Some(text.len()) && is_in_range(text),
            "{}",
            text
        );
        Ok(())
    }

    /// Returns whether the number is finite as an f64, since serde_json rejects any other.
    fn is_in_range(text: &str) -> bool {
        text.parse::<f64>().is_ok_and(f64::is_finite)
    }

    #[test]
    fn invalid_json_numbers_are_rejected() {
        for text in [
            "",
            "-",
            "+1",
            ".5",
            "-.5",
            "1.",
            "1.e5",
            "1e",
            "1e+",
            "e5",
            "x",
            "NaN",
            "-Infinity",
        ] {
            assert!(Decimal::read(text.as_bytes()).is_none(), "{text}");
        }
        // Only the first number is read.
        for (text, length) in [
            ("01", 1),
            ("-00", 2),
            ("1.5.5", 3),
            ("1e5e5", 3),
            ("0x", 1),
            ("1-", 1),
        ] {
            let decimal = Decimal::read(text.as_bytes()).unwrap();
            assert_eq!(decimal.length, length, "{text}");
        }
    }

    proptest! {
        #![proptest_config(crate::fixture::cases())]

        #[test]
        fn any_number_of_digits_is_read(
            text in "[0-9]{0,19}",
            next in any::<Vec<u8>>(),
        ) {
            let bytes = [text.as_bytes(), &next].concat();
            let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (value, end) = run(&bytes, 0, 0);
            prop_assert_eq!(end, count);
            if (1..=MAX_DIGITS).contains(&count) {
                let digits = str::from_utf8(&bytes[..count]).unwrap();
                prop_assert_eq!(value, digits.parse::<u64>().unwrap());
            }
        }

        #[test]
        fn accepted_numbers_are_those_of_json(text in "-?[0-9]{0,12}\\.?[0-9]{0,12}[eE]?[+-]?[0-9]{0,3}") {
            check(&text)?;
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            if let Some(decimal) = Decimal::read(&bytes) {
                check(str::from_utf8(&bytes[..decimal.length]).unwrap())?;
            }
        }
    }
}
