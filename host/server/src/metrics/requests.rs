//! The metrics of requests of all protocols, also of those that fail before a model is known.

use super::page::{Kind, Page};
use crate::request_counts::RequestCounts;

const FAILURES: &str = "wisp_request_failures_total";

/// Writes the families.
pub(super) fn write(page: &mut Page, requests: &RequestCounts) {
    let help = "Requests that were answered without a failure, of any kind";
    page.single(
        Kind::Counter,
        ("wisp_requests_answered_total", help),
        requests.answered(),
    );
    let help = "Requests that were refused or failed, by reason, the party that has to act, and whether they named a \
                served model, another one, or none";
    page.family(Kind::Counter, FAILURES, help);
    for failure in requests.failures() {
        let labels = [
            ("target", failure.subject),
            ("party", failure.party),
            ("reason", failure.reason),
        ];
        page.sample(FAILURES, &labels, failure.count);
    }
}
