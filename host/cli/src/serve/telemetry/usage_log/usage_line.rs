//! A line of the log: a JSON object without line breaks.
//!
//! `usage_amounts` has the numbers of a line about the usage.

use crate::serve::telemetry::timestamp::rfc3339;
use crate::serve::usage_amounts::UsageAmounts;
use serde::Serialize;
use std::time::SystemTime;
use wisp_serving::metering::usage_cell::UsageKey;
use wisp_serving::metering::usage_counters::UsageCounters;

/// The events that have a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Event {
    /// The server has started.
    Start,
    /// A tenant has used a model version in a period.
    Usage,
    /// The server has ended, and everything before is complete.
    End,
}

/// A line, without the parts that all lines of a server have in common.
#[derive(Debug, Serialize)]
pub(super) struct UsageLine {
    event: Event,
    /// The begin of the period, or the time of another event.
    start: String,
    /// The end of the period, or the time of another event.
    end: String,
    #[serde(flatten)]
    usage: Option<UsageMembers>,
}

/// The members of a line about the usage.
#[derive(Debug, Serialize)]
struct UsageMembers {
    tenant: String,
    owner: String,
    model: String,
    version: String,
    #[serde(flatten)]
    used: UsageAmounts,
}

/// A line with the parts that all lines of a server have in common.
#[derive(Debug, Serialize)]
struct NumberedLine<'a> {
    run: &'a str,
    sequence: u64,
    #[serde(flatten)]
    line: &'a UsageLine,
}

impl UsageLine {
    /// Returns a line about the start or the end of the server.
    pub(super) fn about_run(event: Event, now: SystemTime) -> UsageLine {
        UsageLine {
            event,
            start: rfc3339(now),
            end: rfc3339(now),
            usage: None,
        }
    }

    /// Returns a line with a tenant's usage of a model version between two times.
    pub(super) fn about_usage(
        (key, used): (&UsageKey, &UsageCounters),
        (start, end): (SystemTime, SystemTime),
    ) -> UsageLine {
        UsageLine {
            event: Event::Usage,
            start: rfc3339(start),
            end: rfc3339(end),
            usage: Some(UsageMembers {
                tenant: key.tenant.to_string(),
                owner: key.owner.to_string(),
                model: key.model.to_string(),
                version: key.version.to_string(),
                used: UsageAmounts::of(used),
            }),
        }
    }

    /// Returns the text with its line break. `sequence` is the number of the line in this run of the server.
    pub(super) fn text(&self, run: &str, sequence: u64) -> Vec<u8> {
        let numbered = NumberedLine {
            run,
            sequence,
            line: self,
        };
        // Strings and numbers can always be written.
        let mut text = serde_json::to_vec(&numbered).unwrap_or_default();
        text.push(b'\n');
        text
    }
}
