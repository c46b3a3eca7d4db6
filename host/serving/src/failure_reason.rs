//! The reasons for which requests of a version fail, in Triton's four categories.
//!
//! | reason | requests |
//! |---|---|
//! | `REJECTED` | refused for lack of capacity, or not computed before their deadline |
//! | `CANCELED` | whose client has disconnected |
//! | `BACKEND` | that failed in the handler, the backend or the server |
//! | `OTHER` | with a fault of their own, such as inputs of a wrong shape |
//!
//! They are also counted by the party that has to act, which separates the handler from the server.

use wisp_protocol::error::{ErrorKind, Party};

/// The category of a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureReason {
    Rejected,
    Canceled,
    Backend,
    Other,
}

/// The numbers of failed requests by reason and by party. Lifetime: a model version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FailureCounts {
    /// For lack of capacity.
    rejected: u64,
    canceled: u64,
    handler: u64,
    host: u64,
    /// By a fault of the request.
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
    /// Adds one request, which failed with this kind of error.
    pub fn add(&mut self, kind: ErrorKind) {
        let count = match kind.party() {
            Party::Client if kind == ErrorKind::ClientGone => &mut self.canceled,
            Party::Client => &mut self.other,
            Party::Capacity => &mut self.rejected,
            Party::Handler => &mut self.handler,
            Party::Host => &mut self.host,
        };
        *count = count.saturating_add(1);
    }

    /// Returns the number of requests that failed for this reason.
    pub fn get(&self, reason: FailureReason) -> u64 {
        match reason {
            FailureReason::Rejected => self.rejected,
            FailureReason::Canceled => self.canceled,
            FailureReason::Backend => self.handler.saturating_add(self.host),
            FailureReason::Other => self.other,
        }
    }

    /// Returns the number of requests whose failure this party can avoid.
    pub fn of_party(&self, party: Party) -> u64 {
        match party {
            Party::Client => self.canceled.saturating_add(self.other),
            Party::Handler => self.handler,
            Party::Capacity => self.rejected,
            Party::Host => self.host,
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
            let mut counts = FailureCounts::default();
            counts.add(kind);
            assert_eq!(counts.get(expected), 1, "{kind:?}");
            assert_eq!(counts.of_party(kind.party()), 1, "{kind:?}");
            assert_eq!(counts.total(), 1, "{kind:?}");
        }
    }

    #[test]
    fn every_reason_and_every_party_is_counted_apart() {
        let mut counts = FailureCounts::default();
        for (times, kind) in [
            (1, ErrorKind::Unavailable),
            (2, ErrorKind::ClientGone),
            (3, ErrorKind::Handler),
            (4, ErrorKind::Internal),
            (5, ErrorKind::InvalidRequest),
        ] {
            for _ in 0..times {
                counts.add(kind);
            }
        }
        let counted = FailureReason::ALL.map(|reason| counts.get(reason));
        assert_eq!(counted, [1, 2, 7, 5]);
        let parties = [Party::Client, Party::Handler, Party::Capacity, Party::Host];
        assert_eq!(parties.map(|party| counts.of_party(party)), [7, 3, 1, 4]);
        assert_eq!(counts.total(), 15);
    }
}
