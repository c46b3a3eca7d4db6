//! What a model version has done so far, free of any wire format.
//!
//! Plain sums; who counts what is `wisp_serving::statistics`' to say. Times are passed in: there is no
//! clock here.

use crate::call::{ModelName, Version};
use std::time::Duration;

/// The sums of one version since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionStatistics {
    pub model: ModelName,
    pub version: Version,
    pub sums: Sums,
}

/// Everything that is summed up for a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// When the last answered inference ended, in milliseconds since the epoch; 0 before the first.
    pub last_inference: u64,
    /// Rows of all answered requests.
    pub inferences: u64,
    pub executions: u64,
    /// Answered requests.
    pub success: Sum,
    pub fail: Sum,
    pub queue: Sum,
    pub phases: Phases,
    /// The phases by the number of rows that an execution had.
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

/// How often something was done, and how long all of it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    pub count: u64,
    pub nanoseconds: u64,
}

impl Sum {
    /// Once more, for so long.
    pub fn add(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.count += 1;
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
    }
}
