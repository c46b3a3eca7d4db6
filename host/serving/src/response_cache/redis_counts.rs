//! The numbers of operations of the response cache on Redis, by outcome.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The operations so far. One whose request ended before it has no outcome and does not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RedisCounts {
    /// Redis has answered in time.
    pub answered: u64,
    /// Redis has not answered in time, or refused a command.
    pub failed: u64,
    /// Redis was not asked, because it had failed before.
    pub skipped: u64,
}

/// The counters of the operations. Lifetime: the process.
#[derive(Debug, Default)]
pub(super) struct RedisCounters {
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) skipped: AtomicU64,
}

impl RedisCounters {
    /// Returns the current numbers.
    pub(super) fn counts(&self) -> RedisCounts {
        RedisCounts {
            answered: self.answered.load(Relaxed),
            failed: self.failed.load(Relaxed),
            skipped: self.skipped.load(Relaxed),
        }
    }
}
