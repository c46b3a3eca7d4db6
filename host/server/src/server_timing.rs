//! The phases of an inference in the `Server-Timing` header (W3C), which browsers and proxies can read.
//!
//! For example `decode;dur=0.012, compute;dur=0.408, total;dur=0.571`: milliseconds, with a resolution of
//! one microsecond. Phases of less than one microsecond are omitted, as are those that did not take place.

use bytes::Bytes;
use wisp_serving::timings::Timings;

/// The name of the header, and of the metadata in gRPC.
pub(crate) const SERVER_TIMING: &str = "server-timing";

/// Returns the value of the header.
pub(crate) fn server_timing(timings: &Timings) -> Bytes {
    // Enough for all phases at one second each.
    let mut text = Vec::with_capacity(192);
    for (name, duration) in timings.phases() {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if microseconds == 0 {
            continue;
        }
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b";dur=");
        append_milliseconds(&mut text, microseconds);
    }
    text.into()
}

/// Appends the digits from the last to the first. Every inference response has this header, and formatting
/// eight numbers takes half a microsecond.
pub(crate) fn append_milliseconds(text: &mut Vec<u8>, microseconds: u64) {
    let start = text.len();
    let mut rest = microseconds;
    for position in 0.. {
        if position == 3 {
            text.push(b'.');
        }
        if position > 3 && rest == 0 {
            break;
        }
        text.push(b'0' + (rest % 10) as u8);
        rest /= 10;
    }
    text[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn phases_are_milliseconds_and_those_that_took_no_time_are_left_out() {
        let timings = Timings {
            decode: Duration::from_nanos(12_999),
            queue: Duration::from_nanos(999),
            compute: Duration::from_millis(1234),
            total: Duration::from_micros(1_300_050),
            ..Timings::default()
        };
        assert_eq!(
            server_timing(&timings),
            "decode;dur=0.012, compute;dur=1234.000, total;dur=1300.050"
        );
        assert_eq!(server_timing(&Timings::default()), "");
    }
}
