//! The executions of one graph, counted as in Triton: a batch of several requests is one execution.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wisp_protocol::statistics::{Batch, Phases};

/// The maximum number of distinct batch sizes; executions of further sizes count only in the total.
const MAX_BATCH_SIZES: usize = 1024;

/// The successful executions of a graph since it was loaded. Lifetime: a model version.
#[derive(Debug, Default)]
pub struct GraphStatistics {
    executions: Mutex<Executions>,
}

/// A number of executions, and their times by batch size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executions {
    pub count: u64,
    /// In the order of the sizes. The phases are the joining of the inputs, the computation and the splitting of the
    /// outputs.
    pub batches: Vec<Batch>,
}

/// The times of one execution.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExecutionTimes {
    /// The time in which the inputs of several requests were joined.
    pub join: Duration,
    pub compute: Duration,
    /// The time in which the outputs were split.
    pub split: Duration,
}

impl GraphStatistics {
    /// Counts an execution of this many rows.
    pub fn add(&self, rows: u64, times: ExecutionTimes) {
        let mut executions = self.lock();
        executions.count = executions.count.saturating_add(1);
        if let Some(phases) = phases_of(&mut executions.batches, rows) {
            phases.compute_input.add(times.join);
            phases.compute_infer.add(times.compute);
            phases.compute_output.add(times.split);
        }
    }

    /// Returns the executions so far.
    pub fn executions(&self) -> Executions {
        self.lock().clone()
    }

    /// Forgets the executions so far.
    pub(crate) fn reset(&self) {
        *self.lock() = Executions::default();
    }

    fn lock(&self) -> MutexGuard<'_, Executions> {
        // No code panics while the lock is held, so a poisoned lock still guards consistent sums.
        self.executions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Executions {
    /// Adds the executions of another graph.
    pub fn merge(&mut self, other: &Executions) {
        self.count = self.count.saturating_add(other.count);
        for batch in &other.batches {
            if let Some(phases) = phases_of(&mut self.batches, batch.size) {
                phases.compute_input.merge(batch.phases.compute_input);
                phases.compute_infer.merge(batch.phases.compute_infer);
                phases.compute_output.merge(batch.phases.compute_output);
            }
        }
    }
}

/// Returns the phases of the batches of this size, which are added if there are none. Returns `None` if there are too
/// many sizes.
pub(crate) fn phases_of(batches: &mut Vec<Batch>, size: u64) -> Option<&mut Phases> {
    let position = match batches.binary_search_by_key(&size, |batch| batch.size) {
        Ok(position) => position,
        Err(_) if batches.len() >= MAX_BATCH_SIZES => return None,
        Err(position) => {
            let phases = Phases::default();
            batches.insert(position, Batch { size, phases });
            position
        }
    };
    batches.get_mut(position).map(|batch| &mut batch.phases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_counted_by_their_size_and_added_over_graphs() {
        let [one, other] = [GraphStatistics::default(), GraphStatistics::default()];
        let times = ExecutionTimes {
            join: Duration::from_nanos(1),
            compute: Duration::from_nanos(2),
            split: Duration::from_nanos(3),
        };
        one.add(8, times);
        one.add(1, times);
        other.add(8, times);
        let mut executions = one.executions();
        executions.merge(&other.executions());
        assert_eq!(executions.count, 3);
        let sizes: Vec<(u64, u64)> = (executions.batches.iter())
            .map(|batch| (batch.size, batch.phases.compute_infer.count))
            .collect();
        assert_eq!(sizes, [(1, 1), (8, 2)]);
        let of_eight = executions.batches.last().unwrap().phases;
        assert_eq!(of_eight.compute_output.nanoseconds, 6);
    }

    #[test]
    fn the_number_of_sizes_is_bounded() {
        let graph = GraphStatistics::default();
        for rows in (0..2000).rev() {
            graph.add(rows, ExecutionTimes::default());
        }
        let executions = graph.executions();
        assert_eq!(executions.batches.len(), MAX_BATCH_SIZES);
        assert!(executions.batches.is_sorted_by_key(|batch| batch.size));
        assert_eq!(executions.count, 2000);
    }
}
