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
    /// Sentences about large differences between the backends.
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
