//! The metrics of admission: the requests that may run, those that are refused, and the memory that they hold.

use super::page::{Kind, Page};
use wisp_serving::Serving;

const REFUSALS: &str = "wisp_admission_refusals_total";

/// Writes the families.
pub(super) fn write(page: &mut Page, serving: &Serving) {
    let counts = serving.admission_counts();
    page.single(
        Kind::Counter,
        ("wisp_admission_admitted_total", "Inferences admitted"),
        counts.admitted,
    );
    let help = "Requests refused by admission, by reason";
    page.family(Kind::Counter, REFUSALS, help);
    for (reason, count) in [
        ("overloaded", counts.overloaded),
        ("share_used", counts.share_used),
        ("tenant_share_used", counts.owner_share_used),
        ("no_instance", counts.no_instance),
        ("evicted_reader", counts.evicted),
    ] {
        page.sample(REFUSALS, &[("reason", reason)], count);
    }
    for (name, help, value) in [
        (
            "wisp_admission_requests",
            "Admitted inferences in progress",
            serving.admitted_requests(),
        ),
        (
            "wisp_admission_max_requests",
            "Limit on the admitted inferences in progress",
            serving.max_requests(),
        ),
        (
            "wisp_admission_reading_requests",
            "Requests that wait for their bodies",
            serving.waiting_requests(),
        ),
        (
            "wisp_memory_budget_bytes",
            "Limit on the bytes that all requests hold together",
            serving.memory().capacity(),
        ),
        (
            "wisp_memory_reserved_bytes",
            "Bytes that all requests hold together",
            serving.memory().reserved(),
        ),
    ] {
        page.single(Kind::Gauge, (name, help), value);
    }
}
