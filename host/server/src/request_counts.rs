//! The numbers of requests that were answered and that failed, by reason.
//!
//! Failures are counted where they are logged, so that those before a model is known count too. No text of a client is
//! stored: a failure belongs to a kind of error, and to a served model, to a model that does not exist, or to none.

use crate::request_report::error_type;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use wisp_protocol::error::{ErrorKind, Party};

/// The number of counters for kinds of errors. There are fewer kinds.
const PLACES: usize = 32;

/// The requests of all connections. Lifetime: the process.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    answered: AtomicU64,
    model: FailuresByKind,
    other: FailuresByKind,
    server: FailuresByKind,
}

#[derive(Debug, Default)]
struct FailuresByKind([AtomicU64; PLACES]);

/// The subject of a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestSubject {
    /// A model that the server has.
    Model,
    /// A model or version that the server does not have.
    Other,
    /// No model, or none that could be read.
    Server,
}

/// The number of failures for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailureCount {
    pub(crate) subject: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) party: &'static str,
    pub(crate) count: u64,
}

impl RequestCounts {
    /// Counts a request that was answered without a failure.
    pub(crate) fn add_answered(&self) {
        self.answered.fetch_add(1, Relaxed);
    }

    /// Counts a request that was refused or failed.
    pub(crate) fn add_failed(&self, kind: ErrorKind, subject: RequestSubject) {
        let failures = match subject {
            RequestSubject::Model => &self.model,
            RequestSubject::Other => &self.other,
            RequestSubject::Server => &self.server,
        };
        failures.place(kind).fetch_add(1, Relaxed);
    }

    /// Returns the number of requests that were answered without a failure.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Returns the numbers of failures for all subjects and kinds, also those that are 0.
    pub(crate) fn failures(&self) -> Vec<FailureCount> {
        let subjects = [
            ("model", &self.model),
            ("other", &self.other),
            ("server", &self.server),
        ];
        let mut counts = Vec::with_capacity(subjects.len() * ErrorKind::ALL.len());
        for (subject, failures) in subjects {
            counts.extend(ErrorKind::ALL.into_iter().map(|kind| FailureCount {
                subject,
                reason: error_type(kind),
                party: party(kind.party()),
                count: failures.place(kind).load(Relaxed),
            }));
        }
        counts
    }
}

impl FailuresByKind {
    fn place(&self, kind: ErrorKind) -> &AtomicU64 {
        &self.0[kind as usize % PLACES]
    }
}

fn party(party: Party) -> &'static str {
    match party {
        Party::Client => "client",
        Party::Handler => "handler",
        Party::Capacity => "capacity",
        Party::Host => "host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_counter_and_a_label_of_its_own() {
        let counts = RequestCounts::default();
        for kind in ErrorKind::ALL {
            counts.add_failed(kind, RequestSubject::Model);
        }
        counts.add_failed(ErrorKind::NotFound, RequestSubject::Other);
        counts.add_answered();
        assert_eq!(counts.answered(), 1);
        let failures = counts.failures();
        let labels: BTreeSet<_> = failures.iter().map(|of| (of.subject, of.reason)).collect();
        assert_eq!(labels.len(), 3 * ErrorKind::ALL.len());
        for failure in failures {
            let expected = match (failure.subject, failure.reason) {
                ("model", _) | ("other", "not_found") => 1,
                _ => 0,
            };
            assert_eq!(failure.count, expected, "{failure:?}");
        }
    }
}
