//! Waits for events in the server, with a time limit that fails the test.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// The time limit for waiting. A test that reaches it has failed, however busy the machine is.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
///
/// # Errors
/// Returns an error that contains `what`, the condition in words, if it does not hold within [`TIMEOUT`].
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Result<()> {
    wait_for(what, || condition().then_some(()))
}

/// Waits until `poll` returns a value, and returns that.
///
/// # Errors
/// Returns an error that contains `what`, the event in words, if there is none within [`TIMEOUT`].
pub(crate) fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return Ok(value);
        }
        if start.elapsed() > TIMEOUT {
            bail!("waited {TIMEOUT:?} in vain: {what}");
        }
        std::thread::yield_now();
    }
}
