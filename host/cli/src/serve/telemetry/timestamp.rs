//! Times as text, for the logs that programs read.

use std::time::{SystemTime, UNIX_EPOCH};
use wisp_server::utc::UtcTime;

/// Returns a time as in RFC 3339, in UTC with microseconds.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let UtcTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = UtcTime::from_unix_seconds(since.as_secs());
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}
