//! Statistics of a version since it was loaded, with the definitions of Triton.
//!
//! - `success` counts requests, `inference_count` their rows, and `execution_count` executions of graphs, which
//!   the [`batcher`](crate::batcher) counts: one for several requests that are computed together, and several for a
//!   request whose handler computes several times. The batch sizes count executions, with the times in which
//!   the inputs are joined, computed and split. For a version without graphs, an execution is one call.
//! - `queue` is the wait for the sandbox and for threads, `compute_input` decoding and preprocessing,
//!   `compute_infer` the graph, and `compute_output` postprocessing and encoding: the phases of [`Timings`].
//! - A response from the cache counts for `success` and `cache_hit`, and for nothing else.
//! - `success` and `fail` measure the time from the choice of the version, including the read of the
//!   body. A request whose client disconnects has failed. A request that is refused before its version is
//!   chosen counts for no version.
//!
//! [`VersionCounters`] has the same numbers for metrics, which go on when the version is loaded again.

use crate::batcher::graph_statistics::{Executions, GraphStatistics, phases_of};
use crate::cache_outcome::CacheOutcome;
use crate::timings::Timings;
use crate::version_counters::VersionCounters;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use wisp_protocol::call::{ModelDescription, ModelName, Version};
use wisp_protocol::error::ErrorKind;
use wisp_protocol::statistics::{Phases, Sums, VersionStatistics};

/// The sums of one version, and the executions of its graphs. Lifetime: a model version.
///
/// A single lock for a few additions costs less than an atomic operation for each, and a reader gets
/// sums over the same requests.
#[derive(Debug, Default)]
pub struct Statistics {
    sums: Mutex<Sums>,
    /// Empty until the graphs are set, and for a version without graphs.
    graphs: OnceLock<Vec<Arc<GraphStatistics>>>,
    /// The executions of earlier loads of the same files.
    earlier: Mutex<Executions>,
    /// The counters for metrics, which a later load of the version takes over.
    counters: Mutex<Arc<VersionCounters>>,
    load_time: OnceLock<Duration>,
}

/// A request that has its version and no response yet. It counts as failed if it is dropped. Lifetime: one request.
#[derive(Debug)]
pub struct PendingRequest {
    statistics: Arc<Statistics>,
    counters: Arc<VersionCounters>,
    started: Instant,
    outcome: Outcome,
}

/// The outcome of a request, as far as it is known.
#[derive(Debug)]
enum Outcome {
    /// The request is in progress until the deadline, if one is set. Nobody drops it before, unless its client has
    /// gone.
    Pending(Option<Instant>),
    Failed(ErrorKind),
    Succeeded,
}

// === impl Statistics ===

impl Statistics {
    /// Sets the graphs of the version, whose executions count for it.
    pub fn set_graphs(&self, graphs: Vec<Arc<GraphStatistics>>) {
        // A version is assembled once; further graphs would be a defect without consequences.
        let _ = self.graphs.set(graphs);
        self.counters().count_graphs(self.graphs());
    }

    /// Continues the statistics of an earlier load of the same files. The requests of this load are none so far.
    pub(crate) fn continue_load(&self, earlier: &Statistics) {
        if std::ptr::eq(self, earlier) {
            return;
        }
        let (sums, executions) = (earlier.lock().clone(), earlier.executions());
        *self.lock() = sums;
        *self.lock_earlier() = executions;
        self.continue_from(earlier);
    }

    /// Returns empty statistics of a version that is not loaded, with the counters of `before`.
    pub(crate) fn after(before: &Statistics) -> Statistics {
        Statistics {
            counters: Mutex::new(before.counters()),
            ..Statistics::default()
        }
    }

    /// Forgets the executions and the guests of calls that no client has made. No request has the version yet.
    pub(crate) fn forget_warm_up(&self) {
        for graph in self.graphs() {
            graph.reset();
        }
        let counters = VersionCounters::default();
        counters.count_graphs(self.graphs());
        self.set_counters(Arc::new(counters));
    }

    /// Starts to measure a request for this version.
    pub fn begin(self: &Arc<Statistics>) -> PendingRequest {
        let counters = self.counters();
        counters.begin();
        PendingRequest {
            statistics: Arc::clone(self),
            counters,
            started: Instant::now(),
            outcome: Outcome::Pending(None),
        }
    }

    /// Returns the counters of the version.
    pub fn counters(&self) -> Arc<VersionCounters> {
        // The lock is held for a copy or an assignment, neither of which panics.
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&*counters)
    }

    /// Takes over the counters of the version as it was loaded before.
    pub fn continue_from(&self, before: &Statistics) {
        let counters = before.counters();
        // A version that stays has them already, and its graphs count there.
        if Arc::ptr_eq(&self.counters(), &counters) {
            return;
        }
        counters.count_graphs(self.graphs());
        self.set_counters(counters);
    }

    fn set_counters(&self, counters: Arc<VersionCounters>) {
        let mut own = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        *own = counters;
    }

    /// Records the time that the load of the version took.
    pub fn record_load(&self, took: Duration) {
        // A version is loaded once; a further value would be a defect without consequences.
        let _ = self.load_time.set(took);
    }

    /// Returns the time that the load of the version took, if it is known.
    pub fn load_time(&self) -> Option<Duration> {
        self.load_time.get().copied()
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
            data_quality: None,
            batching: Vec::new(),
        }
    }

    fn sums(&self) -> Sums {
        let mut sums = self.lock().clone();
        if !self.graphs().is_empty() {
            let executions = self.executions();
            sums.executions = executions.count;
            sums.batches = executions.batches;
        }
        sums
    }

    /// Returns the executions of all graphs.
    fn executions(&self) -> Executions {
        let mut executions = self.lock_earlier().clone();
        for graph in self.graphs() {
            executions.merge(&graph.executions());
        }
        executions
    }

    /// Returns the executions of each graph since this load, in the order in which the graphs were set.
    pub fn graph_executions(&self) -> Vec<Executions> {
        let graphs = self.graphs().iter();
        graphs.map(|graph| graph.executions()).collect()
    }

    fn graphs(&self) -> &[Arc<GraphStatistics>] {
        match self.graphs.get() {
            Some(graphs) => graphs.as_slice(),
            None => &[],
        }
    }

    fn lock_earlier(&self) -> MutexGuard<'_, Executions> {
        // The lock is held for a copy or an assignment, neither of which panics.
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub fn succeed(&mut self, rows: u32, timings: &Timings, cache: CacheOutcome) {
        self.outcome = Outcome::Succeeded;
        let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let took = self.started.elapsed();
        let add_request = |sums: &mut Sums| {
            sums.success.add(took);
            match cache {
                CacheOutcome::Hit(lookup) => {
                    sums.cache_hit.add(lookup);
                    return;
                }
                CacheOutcome::Miss(overhead) => sums.cache_miss.add(overhead),
                CacheOutcome::Bypassed => {}
            }
            sums.last_inference = sums.last_inference.max(now);
            add(sums, u64::from(rows), timings);
        };
        add_request(&mut self.statistics.lock());
        let is_computed = !matches!(cache, CacheOutcome::Hit(_));
        let phases = is_computed.then_some(timings);
        self.counters.succeed(took, phases, add_request);
    }

    /// Returns the counters of the version, in which the request is counted.
    pub(crate) fn counters(&self) -> &VersionCounters {
        &self.counters
    }

    /// Records the kind of the error with which the request fails.
    pub fn fail(&mut self, kind: ErrorKind) {
        self.outcome = Outcome::Failed(kind);
    }

    /// Sets the time from which on the request is dropped because it is late.
    pub fn set_deadline(&mut self, deadline: Instant) {
        if let Outcome::Pending(_) = self.outcome {
            self.outcome = Outcome::Pending(Some(deadline));
        }
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.counters.end();
        let kind = match self.outcome {
            Outcome::Succeeded => return,
            Outcome::Failed(kind) => kind,
            Outcome::Pending(Some(deadline)) if Instant::now() >= deadline => {
                ErrorKind::DeadlineExceeded
            }
            Outcome::Pending(_) => ErrorKind::ClientGone,
        };
        let took = self.started.elapsed();
        self.statistics.lock().fail.add(took);
        self.counters.fail(took, kind);
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
    phases.compute_input.add(timings.compute_input());
    phases.compute_infer.add(timings.compute);
    phases.compute_output.add(timings.compute_output());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batcher::graph_statistics::ExecutionTimes;
    use crate::failure_reason::FailureReason;

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
        let totals = statistics.counters().totals();
        assert_eq!(totals.failures.get(FailureReason::Canceled), 1);
        assert_eq!((totals.failures.total(), totals.pending), (1, 0));
    }

    #[test]
    fn a_failed_request_counts_for_its_reason() {
        let statistics = Arc::new(Statistics::default());
        statistics.begin().fail(ErrorKind::Unavailable);
        let mut late = statistics.begin();
        late.set_deadline(Instant::now());
        drop(late);
        statistics.begin().fail(ErrorKind::Handler);
        let totals = statistics.counters().totals();
        let counts = FailureReason::ALL.map(|reason| totals.failures.get(reason));
        assert_eq!(counts, [2, 0, 1, 0]);
        assert_eq!(totals.sums.fail.count, 3);
        assert_eq!(statistics.lock().fail.count, 3);
    }

    #[test]
    fn the_histograms_count_the_successful_requests() {
        let statistics = Arc::new(Statistics::default());
        let pending = statistics.begin();
        assert_eq!(statistics.counters().totals().pending, 1);
        drop(pending);
        for rows in [1, 4] {
            statistics
                .begin()
                .succeed(rows, &timings(), CacheOutcome::Bypassed);
        }
        let totals = statistics.counters().totals();
        assert_eq!(totals.pending, 0);
        for (phase, histogram) in totals.durations.phases() {
            assert_eq!(histogram.count(), 2, "{phase}");
        }
        let (queue, success) = (totals.durations.queue, totals.sums.success);
        assert_eq!(queue.nanoseconds(), totals.sums.queue.nanoseconds);
        assert_eq!(totals.durations.request.nanoseconds(), success.nanoseconds);
        assert_eq!(totals.sums, *statistics.lock());
    }

    #[test]
    fn the_counters_go_on_when_the_version_is_loaded_again() {
        let first = Arc::new(Statistics::default());
        first.begin().succeed(1, &timings(), CacheOutcome::Bypassed);
        let mut in_flight = first.begin();
        let second = Arc::new(Statistics::default());
        second.continue_from(&first);
        second
            .begin()
            .succeed(1, &timings(), CacheOutcome::Bypassed);
        in_flight.succeed(1, &timings(), CacheOutcome::Bypassed);
        drop(in_flight);
        let totals = second.counters().totals();
        assert_eq!((totals.sums.success.count, totals.pending), (3, 0));
        assert_eq!(second.lock().success.count, 1);
        // A version that stays is its own predecessor.
        second.continue_from(&second);
        assert_eq!(second.counters().totals().sums.success.count, 3);
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
        let statistics = Arc::new(Statistics::default());
        statistics.set_graphs(vec![Arc::clone(&graph)]);
        for _ in 0..3 {
            statistics
                .begin()
                .succeed(2, &timings(), CacheOutcome::Bypassed);
        }
        graph.add(6, ExecutionTimes::default());
        let sums = statistics.sums();
        assert_eq!((sums.success.count, sums.inferences), (3, 6));
        assert_eq!(sums.executions, 1);
        let sizes: Vec<u64> = sums.batches.iter().map(|batch| batch.size).collect();
        assert_eq!(sizes, [6]);
    }

    /// Returns the statistics of a version with one graph.
    fn with_graph() -> (Arc<Statistics>, Arc<GraphStatistics>) {
        let graph = Arc::new(GraphStatistics::default());
        let statistics = Arc::new(Statistics::default());
        statistics.set_graphs(vec![Arc::clone(&graph)]);
        (statistics, graph)
    }

    #[test]
    fn the_executions_of_a_version_that_stays_count_once() {
        let (statistics, graph) = with_graph();
        graph.add(1, ExecutionTimes::default());
        for _ in 0..3 {
            statistics.continue_from(&statistics);
        }
        graph.add(1, ExecutionTimes::default());
        assert_eq!(statistics.counters().totals().sums.executions, 2);
        assert_eq!(statistics.sums().executions, 2);
    }

    #[test]
    fn a_version_that_was_evicted_goes_on_with_everything_that_it_has_counted() {
        let (first, old_graph) = with_graph();
        first.begin().succeed(1, &timings(), CacheOutcome::Bypassed);
        old_graph.add(1, ExecutionTimes::default());
        let (second, graph) = with_graph();
        // The counters of the guest have the same statistics as the version.
        let of_guest = Arc::clone(&second);
        second.continue_load(&first);
        second.continue_from(&first);
        graph.add(1, ExecutionTimes::default());
        let sums = second.sums();
        assert_eq!((sums.success.count, sums.executions), (1, 2));
        let totals = of_guest.counters().totals();
        assert_eq!((totals.sums.success.count, totals.sums.executions), (1, 2));
        assert!(Arc::ptr_eq(&of_guest.counters(), &first.counters()));
    }

    #[test]
    fn the_counters_go_on_if_the_files_change_while_the_version_is_not_loaded() {
        let (first, graph) = with_graph();
        first.begin().succeed(1, &timings(), CacheOutcome::Bypassed);
        graph.add(1, ExecutionTimes::default());
        let dormant = Statistics::after(&first);
        assert_eq!(dormant.sums(), Sums::default());
        let (second, graph) = with_graph();
        second.continue_from(&dormant);
        graph.add(1, ExecutionTimes::default());
        let totals = second.counters().totals();
        assert_eq!((totals.sums.success.count, totals.sums.executions), (1, 2));
        assert_eq!(second.sums().success.count, 0);
    }

    #[test]
    fn the_computations_of_golden_cases_are_not_counted() {
        let (statistics, graph) = with_graph();
        graph.add(4, ExecutionTimes::default());
        statistics.forget_warm_up();
        graph.add(1, ExecutionTimes::default());
        assert_eq!(statistics.sums().executions, 1);
        assert_eq!(statistics.counters().totals().sums.executions, 1);
    }
}
