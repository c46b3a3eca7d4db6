//! The metrics that services for predictions in Python commonly have, by those names.
//!
//! Their labels lack the model, since such a service has one; here it is an additional label.

use super::histogram_samples::HistogramSamples;
use super::page::{Kind, Labels, Page};
use super::versions::VersionNumbers;

const TOTAL: &str = "prediction_total";

const LATENCY: &str = "prediction_latency_seconds";

const LOAD_TIME: &str = "model_load_time_seconds";

/// Writes the families of all versions.
pub(super) fn write(page: &mut Page, versions: &[VersionNumbers]) {
    page.family(Kind::Counter, TOTAL, "Number of predictions, by outcome");
    for version in versions {
        let totals = &version.totals;
        for (status, count) in [
            ("success", totals.sums.success.count),
            ("error", totals.failures.total()),
        ] {
            if !version.has_counter(count) {
                continue;
            }
            labelled(version, &[("status", status)], |labels| {
                page.sample(TOTAL, labels, count);
            });
        }
    }
    page.family(
        Kind::Histogram,
        LATENCY,
        "Durations of successful predictions in seconds",
    );
    let is_used = |version: &&VersionNumbers| version.has_histograms();
    for version in versions.iter().filter(is_used) {
        let samples = HistogramSamples::seconds(&version.totals.durations.request);
        labelled(version, &[], |labels| {
            page.histogram(LATENCY, labels, &samples);
        });
    }
    page.family(
        Kind::Gauge,
        LOAD_TIME,
        "Time that the last load of the version took in seconds",
    );
    for version in versions {
        if let Some(took) = version.load_time {
            let seconds = took.as_secs_f64();
            labelled(version, &[], |labels| {
                page.sample(LOAD_TIME, labels, seconds)
            });
        }
    }
}

/// Calls `write` with the labels of these families.
fn labelled(version: &VersionNumbers, more: Labels<'_>, write: impl FnOnce(Labels<'_>)) {
    version.labelled_as("model_version", more, write);
}
