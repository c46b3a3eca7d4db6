//! The statistics of a model version, independent of any wire format.
//!
//! These are plain sums; `wisp_serving::statistics` decides what is counted. There is no clock here:
//! callers pass durations in.

use crate::call::{ModelName, Version};
use std::time::Duration;

/// The sums of one version since it was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionStatistics {
    pub model: ModelName,
    pub version: Version,
    pub sums: Sums,
    /// The quality of its data, if it has rules or a baseline.
    pub data_quality: Option<DataQuality>,
    /// The batching of its graphs.
    pub batching: Vec<GraphBatching>,
}

/// The batching of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphBatching {
    pub graph: String,
    /// The rules and the reason for them, as text for people.
    pub decision: String,
    /// The times that the rules follow from; none if they are set.
    pub measurements: Vec<BatchMeasurement>,
}

/// The time to compute a batch, as it was measured when the graph was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMeasurement {
    /// The number of elements of a row, in all inputs together.
    pub row_elements: u64,
    pub rows: u32,
    pub took: Duration,
}

/// The quality of the data of a version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataQuality {
    /// The maximum number of observations of a feature that are compared with the baseline; `None` without one.
    pub window: Option<u64>,
    /// The number of requests with an input outside of its range.
    pub rejected_inputs: u64,
    /// The number of responses with an output outside of its range, whether they became errors or not.
    pub output_violations: u64,
    /// The inputs of the baseline.
    pub inputs: Vec<InputQuality>,
}

/// The number of observations with a value from which on the drift of a feature is judged.
const MIN_OBSERVATIONS: f64 = 100.0;

/// The drift of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputQuality {
    pub input: String,
    pub features: Vec<FeatureQuality>,
}

/// The drift of a feature: the last observations of it, compared with the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureQuality {
    /// The name of the feature, or its position as a number.
    pub feature: String,
    /// The number of observations that are compared.
    pub observations: u64,
    /// The share of missing values in the observations.
    pub missing: f64,
    /// The share of missing values in the baseline.
    pub baseline_missing: f64,
    /// The population stability index; `None` without a value.
    pub psi: Option<f64>,
    /// The Kolmogorov-Smirnov statistic; `None` without a value, and for texts.
    pub ks: Option<f64>,
    /// The asymptotic p-value of the statistic.
    pub p_value: Option<f64>,
}

impl FeatureQuality {
    /// Returns whether so many observations have a value that the comparison shows drift rather than chance: with N
    /// values and ten ranges, the PSI of equal distributions is about 9 / N.
    pub fn has_enough_observations(&self) -> bool {
        let values = self.observations as f64 * (1.0 - self.missing);
        values.round() >= MIN_OBSERVATIONS
    }

    /// Returns the PSI, if there are enough observations to judge it.
    pub fn judged_psi(&self) -> Option<f64> {
        self.psi.filter(|_| self.has_enough_observations())
    }
}

/// The counters and sums of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// The end of the last successful inference, in milliseconds since the epoch; 0 before the first.
    pub last_inference: u64,
    /// The number of rows in all successful requests.
    pub inferences: u64,
    /// The number of executions of graphs, or of the version if it has none. A batch of several requests is one.
    pub executions: u64,
    /// The successful requests.
    pub success: Sum,
    pub fail: Sum,
    pub queue: Sum,
    /// The successful requests that the response cache answered, with the time of the lookup.
    pub cache_hit: Sum,
    /// The executions whose response was not in the cache, with the time to look it up and to store it.
    pub cache_miss: Sum,
    pub phases: Phases,
    /// The phases, grouped by the number of rows in an execution.
    pub batches: Vec<Batch>,
}

/// The phases of executions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    pub compute_input: Sum,
    pub compute_infer: Sum,
    pub compute_output: Sum,
}

/// The phases of executions with the same number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub size: u64,
    pub phases: Phases,
}

/// A count of events and their total duration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: u64,
    pub nanoseconds: u64,
}

impl Sum {
    /// Adds one event with this duration.
    pub fn add(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.count += 1;
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
    }

    /// Adds the events of another sum.
    pub fn merge(&mut self, other: Sum) {
        self.count = self.count.saturating_add(other.count);
        self.nanoseconds = self.nanoseconds.saturating_add(other.nanoseconds);
    }
}
