//! Statistics of a version since it was loaded, with the definitions of Triton.
//!
//! - `success` counts requests, `inference_count` their rows, and `execution_count` executions. An
//!   execution is one call of the version, which is currently made for a single request, even if a
//!   handler computes its graph several times in it.
//! - `queue` is the wait for the sandbox and for threads, `compute_input` decoding and preprocessing,
//!   `compute_infer` the graph, and `compute_output` postprocessing and encoding: the phases of [`Timings`].
//! - `success` and `fail` measure the time from the choice of the version, including the read of the
//!   body. A request whose client disconnects has failed. A request that is refused before its version is
//!   chosen counts for no version.

use crate::timings::Timings;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use wisp_protocol::call::ModelDescription;
use wisp_protocol::statistics::{Batch, Phases, Sums, VersionStatistics};

/// The maximum number of distinct batch sizes; requests of further sizes count only in the sums.
const MAX_BATCH_SIZES: usize = 1024;

/// The sums of one version. Lifetime: a model version.
///
/// A single lock for a few additions costs less than an atomic operation for each, and a reader gets
/// sums over the same requests.
#[derive(Debug, Default)]
pub struct Statistics {
    sums: Mutex<Sums>,
}

/// A request that has its version and no response yet. It counts as failed if it is dropped. Lifetime: one request.
#[derive(Debug)]
pub struct PendingRequest {
    /// `None` once the request has succeeded.
    statistics: Option<Arc<Statistics>>,
    started: Instant,
}

// === impl Statistics ===

impl Statistics {
    /// Starts to measure a request for this version.
    pub fn begin(self: &Arc<Statistics>) -> PendingRequest {
        PendingRequest {
            statistics: Some(Arc::clone(self)),
            started: Instant::now(),
        }
    }

    /// Returns the current sums with the name and number in `description`.
    pub fn snapshot(&self, description: &ModelDescription) -> VersionStatistics {
        VersionStatistics {
            model: description.model.clone(),
            version: description.version,
            sums: self.lock().clone(),
            data_quality: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        // No code panics while the lock is held, so a poisoned lock still guards consistent sums.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl PendingRequest ===

impl PendingRequest {
    /// Counts the request as successful, with its number of rows and its timings.
    pub fn succeed(mut self, rows: u32, timings: &Timings) {
        if let Some(statistics) = self.statistics.take() {
            let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let now = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
            let mut sums = statistics.lock();
            sums.success.add(self.started.elapsed());
            sums.last_inference = sums.last_inference.max(now);
            add(&mut sums, u64::from(rows), timings);
        }
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        if let Some(statistics) = &self.statistics {
            statistics.lock().fail.add(self.started.elapsed());
        }
    }
}

/// Counts an execution of `rows` rows for one request.
fn add(sums: &mut Sums, rows: u64, timings: &Timings) {
    sums.inferences += rows;
    sums.executions += 1;
    sums.queue.add(timings.queue);
    add_phases(&mut sums.phases, timings);
    let known = sums.batches.binary_search_by_key(&rows, |batch| batch.size);
    let position = match known {
        Ok(position) => position,
        Err(_) if sums.batches.len() == MAX_BATCH_SIZES => return,
        Err(position) => {
            let phases = Phases::default();
            sums.batches.insert(position, Batch { size: rows, phases });
            position
        }
    };
    add_phases(&mut sums.batches[position].phases, timings);
}

fn add_phases(phases: &mut Phases, timings: &Timings) {
    phases
        .compute_input
        .add(timings.decode + timings.preprocess);
    phases.compute_infer.add(timings.compute);
    phases
        .compute_output
        .add(timings.postprocess + timings.encode);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn timings() -> Timings {
        let milliseconds = Duration::from_millis;
        Timings {
            read: milliseconds(1),
            decode: milliseconds(2),
            queue: milliseconds(3),
            preprocess: milliseconds(4),
            compute: milliseconds(5),
            postprocess: milliseconds(6),
            encode: milliseconds(7),
            total: milliseconds(30),
        }
    }

    #[test]
    fn rows_requests_and_executions_are_counted_apart() {
        let statistics = Arc::new(Statistics::default());
        for rows in [1, 2, 1] {
            statistics.begin().succeed(rows, &timings());
        }
        let sums = statistics.lock().clone();
        assert_eq!((sums.inferences, sums.executions), (4, 3));
        assert_eq!((sums.success.count, sums.fail.count), (3, 0));
        let batches: Vec<_> = (sums.batches.iter())
            .map(|batch| (batch.size, batch.phases.compute_infer.count))
            .collect();
        assert_eq!(batches, [(1, 2), (2, 1)]);
        assert!(sums.last_inference > 1_700_000_000_000);
    }

    #[test]
    fn each_phase_is_part_of_one_of_tritons() {
        let statistics = Arc::new(Statistics::default());
        statistics.begin().succeed(1, &timings());
        let sums = statistics.lock().clone();
        let milliseconds = |sum: wisp_protocol::statistics::Sum| sum.nanoseconds / 1_000_000;
        let Phases {
            compute_input,
            compute_infer,
            compute_output,
        } = sums.phases;
        let phases = [sums.queue, compute_input, compute_infer, compute_output];
        assert_eq!(phases.map(milliseconds), [3, 6, 5, 13]);
    }

    #[test]
    fn a_request_that_is_dropped_has_failed_and_is_no_inference() {
        let statistics = Arc::new(Statistics::default());
        drop(statistics.begin());
        let sums = statistics.lock().clone();
        assert_eq!((sums.fail.count, sums.success.count), (1, 0));
        assert_eq!((sums.inferences, sums.last_inference), (0, 0));
    }

    #[test]
    fn batch_sizes_are_told_apart_up_to_a_limit() {
        let mut sums = Sums::default();
        for rows in (0..2000).rev() {
            add(&mut sums, rows, &timings());
        }
        assert_eq!(sums.batches.len(), MAX_BATCH_SIZES);
        assert!(sums.batches.is_sorted_by_key(|batch| batch.size));
        assert_eq!(sums.executions, 2000);
    }
}
