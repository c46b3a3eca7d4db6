//! A number's text, taken apart: what JSON allows, checked, and its digits as an integer.
//!
//! Eight bytes are looked at together, as one integer, which costs less than two one by one.

/// The most digits that certainly fit 64 bits.
const MAX_DIGITS: usize = 19;

/// The powers of ten up to that of eight digits.
const POWERS_OF_TEN: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// A number as it is written: `digits` times ten to the power of `exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    pub(super) is_negative: bool,
    /// Meaningless unless [`Decimal::has_all_digits`].
    pub(super) digits: u64,
    pub(super) exponent: i64,
    pub(super) has_all_digits: bool,
    /// There is neither a point nor an exponent.
    pub(super) is_integer: bool,
    /// Bytes of text.
    pub(super) length: usize,
}

impl Decimal {
    /// The number that `text` begins with, if that is one in JSON.
    #[inline]
    pub(super) fn read(text: &[u8]) -> Option<Decimal> {
        let is_negative = text.first() == Some(&b'-');
        let start = usize::from(is_negative);
        // A zero before the point is no digit that counts.
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
            // A longer one is zero, infinite, or led by zeros.
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

/// The digits from `position` on, appended to those that make up `value`, and where they end. Beyond
/// 64 bits the value wraps.
#[inline]
fn run(text: &[u8], mut position: usize, mut value: u64) -> (u64, usize) {
    while let Some(&eight) = text.get(position..).and_then(<[u8]>::first_chunk) {
        let (number, count) = leading_digits(eight);
        value = value
            .wrapping_mul(POWERS_OF_TEN[count as usize])
            .wrapping_add(number);
        position += count as usize;
        if count < 8 {
            return (value, position);
        }
    }
    while let Some(&byte @ b'0'..=b'9') = text.get(position) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        position += 1;
    }
    (value, position)
}

/// The number that the digits at the start of these bytes make, and how many they are.
#[inline]
fn leading_digits(bytes: [u8; 8]) -> (u64, u32) {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    // The first byte is the lowest. A digit becomes its value, all else more than nine.
    let values = u64::from_le_bytes(bytes) ^ 0x3030_3030_3030_3030;
    // The sum carries into the high bit where a value is more than nine; what it carries from there
    // into the next byte is behind the first that is no digit.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & HIGH_BITS;
    let count = others.trailing_zeros() / 8;
    // As many zeros in front make eight digits of them.
    let Some(eight) = values.checked_shl(64 - 8 * count) else {
        return (0, 0);
    };
    // Neighbours are joined: digits to pairs, pairs to fours, and those to eight.
    let pairs = eight.wrapping_mul(10).wrapping_add(eight >> 8);
    let (even, odd) = (
        pairs & 0x0000_00ff_0000_00ff,
        pairs >> 16 & 0x0000_00ff_0000_00ff,
    );
    let high = even.wrapping_mul(100 + (1_000_000 << 32));
    let low = odd.wrapping_mul(1 + (10_000 << 32));
    (high.wrapping_add(low) >> 32, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str) -> Result<(), TestCaseError> {
        let decimal = Decimal::read(text.as_bytes()).map(|decimal| decimal.length);
        let whole = serde_json::from_str::<serde_json::Number>(text).is_ok();
        // Any text that is a number, and the longest number that any text begins with.
        prop_assert_eq!(
            whole,
            decimal == Some(text.len()) && is_in_range(text),
            "{}",
            text
        );
        Ok(())
    }

    /// serde_json refuses what it cannot hold in a double.
    fn is_in_range(text: &str) -> bool {
        text.parse::<f64>().is_ok_and(f64::is_finite)
    }

    #[test]
    fn what_is_no_number_in_json_is_none() {
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
        // A second number begins where the first has ended.
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
        fn digits_are_read_however_many_stand_before_the_next_byte(
            number in 0u64..100_000_000,
            width in 1usize..=8,
            next in any::<[u8; 8]>(),
        ) {
            let text = format!("{number:0width$}");
            let mut bytes = next;
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            let more = bytes[text.len()..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            let all = str::from_utf8(&bytes[..text.len() + more]).unwrap();
            let (value, count) = leading_digits(bytes);
            prop_assert_eq!((value, count as usize), (all.parse().unwrap(), all.len()));
        }

        #[test]
        fn numbers_are_those_of_json(text in "-?[0-9]{0,12}\\.?[0-9]{0,12}[eE]?[+-]?[0-9]{0,3}") {
            check(&text)?;
        }

        #[test]
        fn anything_may_stand_there(bytes in any::<Vec<u8>>()) {
            if let Some(decimal) = Decimal::read(&bytes) {
                check(str::from_utf8(&bytes[..decimal.length]).unwrap())?;
            }
        }
    }
}
