//! The results of a comparison, as printed with `--json`.

use super::load::LoadCost;
use serde::Serialize;

/// The results for one graph.
#[derive(Debug, Serialize)]
pub(super) struct GraphReport {
    pub(super) graph: String,
    pub(super) device: String,
    pub(super) threads: usize,
    pub(super) backends: Vec<BackendReport>,
    pub(super) batches: Vec<BatchReport>,
    /// The batches that a backend could not compute.
    pub(super) failures: Vec<BatchFailure>,
    /// Sentences about large differences between the backends, and the choice of batching for each.
    pub(super) remarks: Vec<String>,
}

/// The cost of loading a graph with one backend, or the reason why that failed.
#[derive(Debug, Serialize)]
pub(super) struct BackendReport {
    pub(super) backend: &'static str,
    pub(super) version: String,
    #[serde(flatten)]
    pub(super) cost: Option<LoadCost>,
    pub(super) problem: Option<String>,
}

/// The results of one backend for batches of one size.
#[derive(Debug, Serialize)]
pub(super) struct BatchReport {
    pub(super) batch: u32,
    pub(super) backend: &'static str,
    pub(super) median_microseconds: f64,
    pub(super) p99_microseconds: f64,
    pub(super) rows_per_second: f64,
    pub(super) runs: usize,
    /// The largest difference from the reference's outputs, relative to numbers beyond 1.
    pub(super) difference: f64,
}

/// The reason that a backend has no results for batches of one size.
#[derive(Debug, Serialize)]
pub(super) struct BatchFailure {
    pub(super) batch: u32,
    pub(super) backend: &'static str,
    pub(super) reason: String,
}

impl GraphReport {
    /// Returns the reason of each backend if none of them could be measured.
    pub(super) fn unmeasured(&self) -> Option<String> {
        if !self.batches.is_empty() {
            return None;
        }
        let reasons = self.backends.iter().map(|backend| {
            let mut failures = self.failures.iter();
            let failure = failures.find(|failure| failure.backend == backend.backend);
            let failure = failure.map(|failure| failure.reason.as_str());
            let reason = backend.problem.as_deref().or(failure);
            let reason = reason.unwrap_or("it has no results");
            format!("\n{}: {reason}", backend.backend)
        });
        let reasons: String = reasons.collect();
        let graph = &self.graph;
        Some(format!(
            "no backend could be measured with graph `{graph}`{reasons}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(backend: &'static str, problem: Option<&str>) -> BackendReport {
        BackendReport {
            backend,
            version: "1".to_owned(),
            cost: None,
            problem: problem.map(str::to_owned),
        }
    }

    #[test]
    fn a_graph_without_results_has_the_reason_of_each_backend() {
        let mut report = GraphReport {
            graph: "model".to_owned(),
            device: "cpu".to_owned(),
            threads: 1,
            backends: vec![
                backend("tract", Some("it does not load")),
                backend("rten", None),
                backend("onnxruntime", None),
            ],
            batches: Vec::new(),
            failures: vec![BatchFailure {
                batch: 8,
                backend: "rten",
                reason: "it does not compute".to_owned(),
            }],
            remarks: Vec::new(),
        };
        let expected = "no backend could be measured with graph `model`\ntract: it does not load\n\
                        rten: it does not compute\nonnxruntime: it has no results";
        assert_eq!(report.unmeasured().as_deref(), Some(expected));
        report.batches.push(BatchReport {
            batch: 1,
            backend: "rten",
            median_microseconds: 1.0,
            p99_microseconds: 1.0,
            rows_per_second: 1.0,
            runs: 1,
            difference: 0.0,
        });
        assert_eq!(report.unmeasured(), None);
    }
}
