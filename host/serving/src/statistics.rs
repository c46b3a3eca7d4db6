//! Statistics of a version since it was loaded, with the definitions of Triton.
//!
//! - `success` counts requests, `inference_count` their rows, and `execution_count` executions of graphs, which
//!   the [`batcher`](crate::batcher) counts: one for several requests that are computed together, and several for a
//!   request whose handler computes several times. The batch sizes are those of executions, with the times in which
//!   the inputs are joined, computed and split. For a version without graphs, an execution is one call.
//! - `queue` is the wait for the sandbox and for threads, `compute_input` decoding and preprocessing,
//!   `compute_infer` the graph, and `compute_output` postprocessing and encoding: the phases of [`Timings`].
//! - A response from the cache counts for `success` and `cache_hit`, and for nothing else.
//! - `success` and `fail` measure the time from the choice of the version, including the read of the
//!   body. A request whose client disconnects has failed. A request that is refused before its version is
//!   chosen counts for no version.

use crate::batcher::graph_statistics::{Executions, GraphStatistics, phases_of};
use crate::cache_outcome::CacheOutcome;
use crate::timings::Timings;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use wisp_protocol::call::{ModelDescription, ModelName, Version};
use wisp_protocol::statistics::{Phases, Sums, VersionStatistics};

/// The sums of one version, and the executions of its graphs. Lifetime: a model version.
///
/// A single lock for a few additions costs less than an atomic operation for each, and a reader gets
/// sums over the same requests.
#[derive(Debug, Default)]
pub struct Statistics {
    sums: Mutex<Sums>,
    graphs: Vec<Arc<GraphStatistics>>,
    /// The executions of earlier loads of the same files.
    earlier: Executions,
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
    /// Returns empty statistics of a version with these graphs.
    pub fn of_graphs(graphs: Vec<Arc<GraphStatistics>>) -> Statistics {
        Statistics {
            sums: Mutex::default(),
            graphs,
            earlier: Executions::default(),
        }
    }

    /// Returns these statistics, of a version that has just been loaded, continued from those of an earlier load of
    /// the same files.
    pub(crate) fn continuing(&self, earlier: &Statistics) -> Statistics {
        Statistics {
            sums: Mutex::new(earlier.lock().clone()),
            graphs: self.graphs.clone(),
            earlier: earlier.executions(),
        }
    }

    /// Starts to measure a request for this version.
    pub fn begin(self: &Arc<Statistics>) -> PendingRequest {
        PendingRequest {
            statistics: Some(Arc::clone(self)),
            started: Instant::now(),
        }
    }

    /// Returns the current sums with the name and number in `description`.
    pub fn snapshot(&self, description: &ModelDescription) -> VersionStatistics {
        self.snapshot_as(&description.model, description.version)
    }

    /// Returns the current sums with this name and number.
    pub fn snapshot_as(&self, model: &ModelName, version: Version) -> VersionStatistics {
        VersionStatistics {
            model: model.clone(),
            version,
            sums: self.sums(),
        }
    }

    fn sums(&self) -> Sums {
        let mut sums = self.lock().clone();
        if !self.graphs.is_empty() {
            let executions = self.executions();
            sums.executions = executions.count;
            sums.batches = executions.batches;
        }
        sums
    }

    /// Returns the executions of all graphs.
    fn executions(&self) -> Executions {
        let mut executions = self.earlier.clone();
        for graph in &self.graphs {
            executions.merge(&graph.executions());
        }
        executions
    }

    fn lock(&self) -> MutexGuard<'_, Sums> {
        // No code panics while the lock is held, so a poisoned lock still guards consistent sums.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl PendingRequest ===

impl PendingRequest {
    /// Counts the request as successful, with its number of rows and its timings. A response from the cache had
    /// neither rows nor an execution.
    pub fn succeed(mut self, rows: u32, timings: &Timings, cache: CacheOutcome) {
        if let Some(statistics) = self.statistics.take() {
            let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let now = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
            let mut sums = statistics.lock();
            sums.success.add(self.started.elapsed());
            match cache {
                CacheOutcome::Hit(lookup) => {
                    sums.cache_hit.add(lookup);
                    return;
                }
                CacheOutcome::Miss(overhead) => sums.cache_miss.add(overhead),
                CacheOutcome::Bypassed => {}
            }
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
    if let Some(phases) = phases_of(&mut sums.batches, rows) {
        add_phases(phases, timings);
    }
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
    use crate::batcher::graph_statistics::ExecutionTimes;
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
            let bypassed = CacheOutcome::Bypassed;
            statistics.begin().succeed(rows, &timings(), bypassed);
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
        let bypassed = CacheOutcome::Bypassed;
        statistics.begin().succeed(1, &timings(), bypassed);
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
    fn a_response_from_the_cache_is_a_success_and_no_inference() {
        let statistics = Arc::new(Statistics::default());
        let took = Duration::from_nanos(7);
        let begin = || statistics.begin();
        begin().succeed(2, &timings(), CacheOutcome::Miss(took));
        begin().succeed(2, &timings(), CacheOutcome::Hit(took));
        begin().succeed(2, &timings(), CacheOutcome::Hit(took));
        let sums = statistics.lock().clone();
        assert_eq!((sums.success.count, sums.inferences), (3, 2));
        assert_eq!((sums.executions, sums.queue.count), (1, 1));
        assert_eq!((sums.cache_hit.count, sums.cache_hit.nanoseconds), (2, 14));
        assert_eq!((sums.cache_miss.count, sums.cache_miss.nanoseconds), (1, 7));
        assert_eq!(sums.batches.len(), 1);
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
        assert_eq!(sums.batches.len(), 1024);
        assert!(sums.batches.is_sorted_by_key(|batch| batch.size));
        assert_eq!(sums.executions, 2000);
    }

    #[test]
    fn the_executions_of_a_version_with_graphs_are_those_of_the_graphs() {
        let graph = Arc::new(GraphStatistics::default());
        let statistics = Arc::new(Statistics::of_graphs(vec![Arc::clone(&graph)]));
        for _ in 0..3 {
            statistics.begin().succeed(2, &timings());
        }
        graph.add(6, ExecutionTimes::default());
        let sums = statistics.sums();
        assert_eq!((sums.success.count, sums.inferences), (3, 6));
        assert_eq!(sums.executions, 1);
        let sizes: Vec<u64> = sums.batches.iter().map(|batch| batch.size).collect();
        assert_eq!(sizes, [6]);
    }
}
