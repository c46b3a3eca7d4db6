//! The metrics of inferences under Triton's names.
//!
//! The histograms have the names that were proposed for Triton. A version has them from its first successful request
//! on and while it is loaded, so thousands of idle or dormant models do not make the page long.

use super::histogram_samples::HistogramSamples;
use super::page::{Kind, Page};
use super::versions::VersionNumbers;
use wisp_protocol::statistics::Sums;
use wisp_serving::failure_reason::FailureReason;

/// A number of the sums of a version.
type Number = fn(&Sums) -> u64;

const COUNTERS: [(&str, &str, Number); 3] = [
    (
        "nv_inference_request_success",
        "Number of successful inference requests, all batch sizes",
        |sums| sums.success.count,
    ),
    (
        "nv_inference_count",
        "Number of inferences performed (does not include cached requests)",
        |sums| sums.inferences,
    ),
    (
        "nv_inference_exec_count",
        "Number of model executions performed (does not include cached requests)",
        |sums| sums.executions,
    ),
];

const DURATIONS: [(&str, &str, Number); 5] = [
    (
        "nv_inference_request_duration_us",
        "Cumulative inference request duration in microseconds (includes cached requests)",
        |sums| sums.success.nanoseconds,
    ),
    (
        "nv_inference_queue_duration_us",
        "Cumulative inference queuing duration in microseconds (includes cached requests)",
        |sums| sums.queue.nanoseconds,
    ),
    (
        "nv_inference_compute_input_duration_us",
        "Cumulative decoding and preprocessing duration in microseconds (does not include cached requests)",
        |sums| sums.phases.compute_input.nanoseconds,
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "Cumulative duration of the graphs in microseconds (does not include cached requests)",
        |sums| sums.phases.compute_infer.nanoseconds,
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Cumulative postprocessing and encoding duration in microseconds (does not include cached requests)",
        |sums| sums.phases.compute_output.nanoseconds,
    ),
];

const FAILURES: &str = "nv_inference_request_failure";

const PENDING: &str = "nv_inference_pending_request_count";

const ROWS: &str = "wisp_execution_rows";

/// Writes the families of all versions.
pub(super) fn write(page: &mut Page, versions: &[VersionNumbers]) {
    for (name, help, number) in COUNTERS {
        page.family(Kind::Counter, name, help);
        for version in versions {
            let number = number(&version.totals.sums);
            version.labelled(&[], |labels| page.sample(name, labels, number));
        }
    }
    let help = "Number of failed inference requests, by reason";
    page.family(Kind::Counter, FAILURES, help);
    for version in versions {
        for reason in FailureReason::ALL {
            let number = version.totals.failures.get(reason);
            version.counter(page, (FAILURES, number), &[("reason", reason.name())]);
        }
    }
    let help = "Number of requests that have a model and no response yet";
    page.family(Kind::Gauge, PENDING, help);
    for version in versions.iter().filter(|version| version.is_loaded) {
        let pending = version.totals.pending;
        version.labelled(&[], |labels| page.sample(PENDING, labels, pending));
    }
    for (name, help, nanoseconds) in DURATIONS {
        page.family(Kind::Counter, name, help);
        for version in versions {
            let microseconds = nanoseconds(&version.totals.sums) / 1_000;
            version.counter(page, (name, microseconds), &[]);
        }
    }
    write_histograms(page, versions);
}

fn write_histograms(page: &mut Page, versions: &[VersionNumbers]) {
    let is_used = |version: &&VersionNumbers| version.has_histograms();
    for phase in [
        "request",
        "queue",
        "compute_input",
        "compute_infer",
        "compute_output",
    ] {
        let name = format!("nv_inference_{phase}_duration_histogram_us");
        let help = format!("Durations of the phase {phase} of successful requests in microseconds");
        page.family(Kind::Histogram, &name, &help);
        for version in versions.iter().filter(is_used) {
            let phases = version.totals.durations.phases();
            for (_, histogram) in phases.iter().filter(|(of, _)| *of == phase) {
                let samples = HistogramSamples::microseconds(histogram);
                version.labelled(&[], |labels| page.histogram(&name, labels, &samples));
            }
        }
    }
    page.family(Kind::Histogram, ROWS, "Numbers of rows in executions");
    for version in versions.iter().filter(is_used) {
        let samples = HistogramSamples::rows(&version.totals.sums);
        version.labelled(&[], |labels| page.histogram(ROWS, labels, &samples));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sandbox;
    use super::*;
    use wisp_serving::version_counters::Totals;

    /// Returns the samples of a version that has answered a request, and that has a handler.
    fn samples(is_loaded: bool) -> Vec<String> {
        let mut totals = Totals::default();
        totals.sums.success.count = 1;
        totals.sums.success.nanoseconds = 5_000_000;
        totals.sums.inferences = 1;
        totals.sums.executions = 1;
        totals.guests.instances = 1;
        let version = VersionNumbers {
            tenant: None,
            model: "m".to_owned(),
            version: "1".to_owned(),
            is_loaded,
            has_guest: true,
            totals,
            load_time: None,
        };
        let mut page = Page::default();
        let versions = [version];
        write(&mut page, &versions);
        sandbox::write(&mut page, &versions);
        let text = page.into_text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(str::to_owned).collect()
    }

    #[test]
    fn a_version_that_made_room_keeps_its_counters_and_no_histograms() {
        let (loaded, dormant) = (samples(true), samples(false));
        assert!(loaded.len() > 120, "{loaded:?}");
        let expected = [
            "nv_inference_request_success{model=\"m\",version=\"1\"} 1",
            "nv_inference_count{model=\"m\",version=\"1\"} 1",
            "nv_inference_exec_count{model=\"m\",version=\"1\"} 1",
            "nv_inference_request_duration_us{model=\"m\",version=\"1\"} 5000",
            "wisp_sandbox_instances_created_total{model=\"m\",version=\"1\"} 1",
            "wisp_sandbox_instantiation_seconds_total{model=\"m\",version=\"1\"} 0",
            "wisp_sandbox_guest_seconds_total{model=\"m\",version=\"1\"} 0",
        ];
        assert_eq!(dormant, expected);
        assert!(dormant.iter().all(|sample| loaded.contains(sample)));
    }
}
