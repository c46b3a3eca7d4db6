//! The usage of a model version as JSON, in the log of the usage and in the reports of workers.
//!
//! The names of members end in their unit. Numbers are whole, so that sums of them are exact.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use wisp_serving::metering::usage_counters::UsageCounters;

/// The usage of a model version by a tenant in a period.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageAmounts {
    requests: u64,
    failures: u64,
    cached: u64,
    guest_nanoseconds: u64,
    backend_nanoseconds: u64,
    received_bytes: u64,
    sent_bytes: u64,
    peak_memory_bytes: u64,
}

impl UsageAmounts {
    /// Returns the amounts that these counters contain.
    pub(super) fn of(used: &UsageCounters) -> UsageAmounts {
        UsageAmounts {
            requests: used.requests,
            failures: used.failures,
            cached: used.cached,
            guest_nanoseconds: nanoseconds(used.guest),
            backend_nanoseconds: nanoseconds(used.backend),
            received_bytes: used.bytes_in,
            sent_bytes: used.bytes_out,
            peak_memory_bytes: used.peak_memory_bytes,
        }
    }

    /// Returns the counters with these amounts.
    pub(super) fn counters(&self) -> UsageCounters {
        UsageCounters {
            requests: self.requests,
            failures: self.failures,
            cached: self.cached,
            guest: Duration::from_nanos(self.guest_nanoseconds),
            backend: Duration::from_nanos(self.backend_nanoseconds),
            bytes_in: self.received_bytes,
            bytes_out: self.sent_bytes,
            peak_memory_bytes: self.peak_memory_bytes,
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
