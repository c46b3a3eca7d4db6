//! The numbers that are metered, as plain numbers that can be added and subtracted.

use std::time::Duration;

/// The use of the server by some requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageCounters {
    /// The requests with a response, those from the cache included.
    pub requests: u64,
    /// The requests that had a version and failed.
    pub failures: u64,
    /// The part of `requests` whose response was in the cache, or was computed for an equal request.
    pub cached: u64,
    /// The processor time of guests.
    pub guest: Duration,
    /// The time for which graphs computed, of which a request that was computed with others has a part by its rows.
    pub backend: Duration,
    /// The bytes of the tensors of requests; for a web component, of bodies.
    pub bytes_in: u64,
    /// The bytes of the tensors of responses.
    pub bytes_out: u64,
    /// The largest size of all linear memories of one guest.
    pub peak_memory_bytes: u64,
}

impl UsageCounters {
    /// Returns the use by the requests of both.
    #[must_use]
    pub fn plus(&self, other: &UsageCounters) -> UsageCounters {
        UsageCounters {
            requests: self.requests.saturating_add(other.requests),
            failures: self.failures.saturating_add(other.failures),
            cached: self.cached.saturating_add(other.cached),
            guest: self.guest.saturating_add(other.guest),
            backend: self.backend.saturating_add(other.backend),
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
            peak_memory_bytes: self.peak_memory_bytes.max(other.peak_memory_bytes),
        }
    }

    /// Returns whether no request has ended and nothing was used.
    pub fn is_empty(&self) -> bool {
        *self == UsageCounters::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_add_up_and_the_largest_memory_is_kept() {
        let first = UsageCounters {
            requests: 2,
            cached: 1,
            guest: Duration::from_millis(3),
            peak_memory_bytes: 7,
            ..UsageCounters::default()
        };
        let second = UsageCounters {
            requests: 1,
            failures: 1,
            backend: Duration::from_millis(5),
            bytes_in: 4,
            bytes_out: 8,
            peak_memory_bytes: 6,
            ..UsageCounters::default()
        };
        let both = first.plus(&second);
        let expected = UsageCounters {
            requests: 3,
            failures: 1,
            cached: 1,
            guest: Duration::from_millis(3),
            backend: Duration::from_millis(5),
            bytes_in: 4,
            bytes_out: 8,
            peak_memory_bytes: 7,
        };
        assert_eq!(both, expected);
        assert!(!both.is_empty());
        assert!(UsageCounters::default().is_empty());
    }
}
