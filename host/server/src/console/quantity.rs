//! Numbers as people read them: counts, durations, bytes, shares and times.

use crate::utc::UtcTime;
use wisp_protocol::statistics::Sum;

/// The text in place of a number that does not exist.
pub(super) const NONE: &str = "none";

/// The units of bytes above the byte itself, each 1,024 times the one before.
const BYTE_UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];

/// Returns a count with a comma between thousands.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        let left = digits.len().saturating_sub(position);
        if position > 0 && left.is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number of objects with a comma between thousands.
pub(super) fn number(number: usize) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX))
}

/// Returns a duration in microseconds, milliseconds or seconds.
pub(super) fn duration(nanoseconds: u64) -> String {
    let microseconds = nanoseconds / 1000;
    match microseconds {
        0..10_000 => format!("{microseconds} µs"),
        10_000..10_000_000 => {
            format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100)
        }
        _ => {
            let milliseconds = microseconds / 1000;
            format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
        }
    }
}

/// Returns the mean duration of the events of a sum.
pub(super) fn mean(sum: Sum) -> String {
    match sum.nanoseconds.checked_div(sum.count) {
        Some(nanoseconds) => duration(nanoseconds),
        None => NONE.to_owned(),
    }
}

/// Returns a number of milliseconds.
pub(super) fn milliseconds(milliseconds: Option<f64>) -> String {
    match milliseconds {
        Some(milliseconds) => format!("{milliseconds:.3} ms"),
        None => NONE.to_owned(),
    }
}

/// Returns a number with three decimals.
pub(super) fn decimal(number: Option<f64>) -> String {
    match number {
        Some(number) => format!("{number:.3}"),
        None => NONE.to_owned(),
    }
}

/// Returns a number of bytes, in the largest unit of which there is one.
pub(super) fn bytes(bytes: u64) -> String {
    let (mut tenths, mut unit) = (bytes.saturating_mul(10), "B");
    for larger in BYTE_UNITS {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, larger);
    }
    match unit {
        "B" => format!("{bytes} B"),
        unit => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// Returns a part of a whole in percent.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let permille = u128::from(part).saturating_mul(1000);
    match permille.checked_div(u128::from(whole)) {
        Some(permille) => format!("{}.{} %", permille / 10, permille % 10),
        None => NONE.to_owned(),
    }
}

/// Returns a time in UTC, from the milliseconds since 1970.
pub(super) fn time(unix_milliseconds: u64) -> String {
    let UtcTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = UtcTime::from_unix_seconds(unix_milliseconds / 1000);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        assert_eq!([0, 7, 999].map(count), ["0", "7", "999"]);
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(number(1000), "1,000");
    }

    #[test]
    fn durations_have_the_unit_of_their_size() {
        assert_eq!(duration(9_999_999), "9999 µs");
        assert_eq!(duration(10_000_000), "10.0 ms");
        assert_eq!(duration(1_234_567_890), "1234.5 ms");
        assert_eq!(duration(61_250_000_000), "61.2 s");
    }

    #[test]
    fn a_mean_or_share_of_nothing_is_none() {
        assert_eq!(mean(Sum::default()), NONE);
        let sum = Sum {
            count: 2,
            nanoseconds: 8000,
        };
        assert_eq!(mean(sum), "4 µs");
        assert_eq!(percent(0, 0), NONE);
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(u64::MAX, u64::MAX), "100.0 %");
        assert_eq!(decimal(None), NONE);
        assert_eq!(milliseconds(Some(1.5)), "1.500 ms");
    }

    #[test]
    fn bytes_have_the_unit_of_their_size() {
        assert_eq!([0, 1023].map(bytes), ["0 B", "1023 B"]);
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(1536 << 10), "1.5 MiB");
        assert_eq!(bytes(3 << 40), "3.0 TiB");
    }

    #[test]
    fn a_time_is_a_date_in_utc() {
        assert_eq!(time(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(time(1_709_251_199_999), "2024-02-29 23:59:59 UTC");
    }
}
