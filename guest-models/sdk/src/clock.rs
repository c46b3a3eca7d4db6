//! The time, for models that grant it.
//!
//! ```toml
//! [handler]
//! grants = ["clock"]
//! ```
//!
//! A model without the grant cannot be loaded with a handler that calls [`now`]. `std::time::SystemTime::now()`
//! panics in every handler. So does a call of [`now`] by [`Handler::init`](crate::Handler::init), whose state all
//! requests share.

use crate::deployment;
use std::time::Duration;

/// Returns the time at which the call began, in whole milliseconds since the Unix epoch. It stands still during the
/// call, so it cannot measure how long something takes.
///
/// Natively it is that of [`Model::with_time`](crate::testing::Model::with_time), or else that of the machine.
///
/// ```
/// use std::time::Duration;
/// use wisp_handler::{clock, testing::Model};
///
/// /// Returns the day of the week, 0 for Monday.
/// fn weekday() -> u64 {
///     let days = clock::now().as_secs() / 86_400;
///     (days + 3) % 7 // 1970 began on a Thursday.
/// }
///
/// let tuesday = Duration::from_secs(1_700_000_000);
/// assert_eq!(Model::new().with_time(tuesday).run(weekday), 1);
/// ```
pub fn now() -> Duration {
    deployment::now()
}
