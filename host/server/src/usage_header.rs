//! The use of the server by a request, in a header of its response that the operator turns on.
//!
//! The value has the form of `Server-Timing` (W3C), so that the same parsers read it. For example
//! `guest;dur=3.104, backend;dur=0.408, memory;bytes=1179648, in;bytes=52, out;bytes=12`: milliseconds, with a resolution
//! of one microsecond, and bytes. All five are always there; `cached` follows if the response was not computed for this
//! request.

use crate::server_timing::append_milliseconds;
use bytes::Bytes;
use wisp_serving::metering::usage_counters::UsageCounters;

/// The name of the header, and of the metadata in gRPC.
pub(crate) const USAGE: &str = "wisp-usage";

/// Returns the value of the header.
pub(crate) fn usage_value(used: &UsageCounters) -> Bytes {
    // Enough for all entries with numbers of ten digits.
    let mut text = Vec::with_capacity(128);
    for (name, time) in [("guest", used.guest), ("backend", used.backend)] {
        begin(&mut text, name);
        text.extend_from_slice(b";dur=");
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        append_milliseconds(&mut text, microseconds);
    }
    for (name, bytes) in [
        ("memory", used.peak_memory_bytes),
        ("in", used.bytes_in),
        ("out", used.bytes_out),
    ] {
        begin(&mut text, name);
        text.extend_from_slice(b";bytes=");
        text.extend_from_slice(bytes.to_string().as_bytes());
    }
    if used.cached > 0 {
        begin(&mut text, "cached");
    }
    text.into()
}

/// Appends the name of an entry, after those before it.
fn begin(text: &mut Vec<u8>, name: &str) {
    if !text.is_empty() {
        text.extend_from_slice(b", ");
    }
    text.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_use_is_a_list_of_milliseconds_and_bytes() {
        let used = UsageCounters {
            requests: 1,
            guest: Duration::from_micros(3104),
            backend: Duration::from_nanos(408_999),
            bytes_in: 52,
            bytes_out: 12,
            peak_memory_bytes: 1_179_648,
            ..UsageCounters::default()
        };
        assert_eq!(
            usage_value(&used),
            "guest;dur=3.104, backend;dur=0.408, memory;bytes=1179648, in;bytes=52, out;bytes=12"
        );
    }

    #[test]
    fn a_response_from_the_cache_is_marked() {
        let used = UsageCounters {
            requests: 1,
            cached: 1,
            ..UsageCounters::default()
        };
        assert_eq!(
            usage_value(&used),
            "guest;dur=0.000, backend;dur=0.000, memory;bytes=0, in;bytes=0, out;bytes=0, cached"
        );
    }
}
