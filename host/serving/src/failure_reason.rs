//! The reasons for which requests of a version fail, in Triton's four categories.
//!
//! | reason | requests |
//! |---|---|
//! | `REJECTED` | refused for lack of capacity, or not computed before their deadline |
//! | `CANCELED` | whose client has gone |
//! | `BACKEND` | that failed in the handler, the backend or the server |
//! | `OTHER` | with a fault of their own, such as inputs of a wrong shape |

use wisp_protocol::error::{ErrorKind, Party};

/// The category of a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureReason {
    Rejected,
    Canceled,
    Backend,
    Other,
}

/// The numbers of failed requests by reason. Lifetime: a model version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailureCounts {
    rejected: u64,
    canceled: u64,
    backend: u64,
    other: u64,
}

impl FailureReason {
    /// All reasons, in Triton's order.
    pub const ALL: [FailureReason; 4] = [
        FailureReason::Rejected,
        FailureReason::Canceled,
        FailureReason::Backend,
        FailureReason::Other,
    ];

    /// Returns the reason for which a request with this error has failed.
    pub fn of_error(kind: ErrorKind) -> FailureReason {
        if kind == ErrorKind::ClientGone {
            return FailureReason::Canceled;
        }
        match kind.party() {
            Party::Client => FailureReason::Other,
            Party::Capacity => FailureReason::Rejected,
            Party::Handler | Party::Host => FailureReason::Backend,
        }
    }

    /// Returns the value of Triton's label.
    pub fn name(self) -> &'static str {
        match self {
            FailureReason::Rejected => "REJECTED",
            FailureReason::Canceled => "CANCELED",
            FailureReason::Backend => "BACKEND",
            FailureReason::Other => "OTHER",
        }
    }
}

impl FailureCounts {
    /// Adds one request.
    pub fn add(&mut self, reason: FailureReason) {
        let count = match reason {
            FailureReason::Rejected => &mut self.rejected,
            FailureReason::Canceled => &mut self.canceled,
            FailureReason::Backend => &mut self.backend,
            FailureReason::Other => &mut self.other,
        };
        *count = count.saturating_add(1);
    }

    /// Returns the number of requests that failed for this reason.
    pub fn get(&self, reason: FailureReason) -> u64 {
        match reason {
            FailureReason::Rejected => self.rejected,
            FailureReason::Canceled => self.canceled,
            FailureReason::Backend => self.backend,
            FailureReason::Other => self.other,
        }
    }

    /// Returns the number of all failed requests.
    pub fn total(&self) -> u64 {
        let counts = FailureReason::ALL.iter().map(|reason| self.get(*reason));
        counts.fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_party_that_has_to_act_determines_the_reason() {
        for (kind, expected) in [
            (ErrorKind::Unavailable, FailureReason::Rejected),
            (ErrorKind::OverQuota, FailureReason::Rejected),
            (ErrorKind::DeadlineExceeded, FailureReason::Rejected),
            (ErrorKind::ClientGone, FailureReason::Canceled),
            (ErrorKind::Handler, FailureReason::Backend),
            (ErrorKind::HandlerTimeout, FailureReason::Backend),
            (ErrorKind::Internal, FailureReason::Backend),
            (ErrorKind::InvalidRequest, FailureReason::Other),
            (ErrorKind::ClientTimeout, FailureReason::Other),
            (ErrorKind::TooLarge, FailureReason::Other),
        ] {
            assert_eq!(FailureReason::of_error(kind), expected, "{kind:?}");
        }
    }

    #[test]
    fn every_reason_is_counted_apart() {
        let mut counts = FailureCounts::default();
        for (times, reason) in FailureReason::ALL.into_iter().enumerate() {
            for _ in 0..=times {
                counts.add(reason);
            }
        }
        let counted = FailureReason::ALL.map(|reason| counts.get(reason));
        assert_eq!(counted, [1, 2, 3, 4]);
        assert_eq!(counts.total(), 10);
    }
}
