//! The part that the response cache had in a response, for the statistics.

use std::time::Duration;

/// The part that the response cache had in a response. Lifetime: one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheOutcome {
    /// The model is not cached, or the request declined the cache.
    #[default]
    Bypassed,
    /// The response was remembered, or an equal request computed it at the same time; contains the time until it was
    /// there.
    Hit(Duration),
    /// The response was computed; contains the time to look it up before and to store it after.
    Miss(Duration),
}
