//! Waiting for a point in time on the calling thread.

use std::time::{Duration, Instant};

/// Sleeps until `end`, if it is in the future.
pub(crate) fn sleep_until(end: Instant) {
    sleep(end.saturating_duration_since(Instant::now()));
}

/// Sleeps for `time`.
#[expect(
    clippy::disallowed_methods,
    reason = "each thread of this benchmark serves one connection, without a runtime"
)]
pub(crate) fn sleep(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}
