//! The counters of one version for metrics, which go on when the version is loaded again.
//!
//! They are plain numbers behind one lock; the server makes the metrics of them. [`crate::statistics`] updates them
//! together with the statistics that clients request, which begin anew with each load.

use crate::batcher::graph_statistics::{Executions, GraphStatistics};
use crate::failure_reason::FailureCounts;
use crate::histogram::DurationHistogram;
use crate::metering::usage_cell::UsageCell;
use crate::tenants::tenant_id::TenantId;
use crate::timings::Timings;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wisp_protocol::error::ErrorKind;
use wisp_protocol::statistics::Sums;
use wisp_sandbox::guest_run::{GuestRun, TrapCause};

/// The counters of one version. Lifetime: from the first load of a version until it is unloaded.
#[derive(Debug, Default)]
pub struct VersionCounters {
    pending: AtomicU64,
    totals: Mutex<Totals>,
    graphs: Mutex<GraphExecutions>,
    /// The usage of each tenant.
    usage: Mutex<HashMap<TenantId, Arc<UsageCell>>>,
}

/// The executions of the graphs of a version, over all of its loads.
#[derive(Debug, Default)]
struct GraphExecutions {
    earlier: Executions,
    current: Vec<Arc<GraphStatistics>>,
}

/// The numbers of a version at one moment.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// The requests that have the version and no response yet. Set by [`VersionCounters::totals`].
    pub pending: u64,
    /// The sums of the statistics, over all loads of the version.
    pub sums: Sums,
    pub failures: FailureCounts,
    pub durations: PhaseHistograms,
    pub guests: GuestTotals,
}

/// The durations of the phases of successful requests, as Triton divides them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PhaseHistograms {
    /// From the choice of the version to the encoded response.
    pub request: DurationHistogram,
    pub queue: DurationHistogram,
    pub compute_input: DurationHistogram,
    pub compute_infer: DurationHistogram,
    pub compute_output: DurationHistogram,
}

/// The instances of a handler or web component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuestTotals {
    /// The instances that were created, each for one call. An inline call that was repeated on a fiber has two.
    pub instances: u64,
    /// The running time of the guests' own code.
    pub time: Duration,
    /// The part of it in which instances were created.
    pub instantiation: Duration,
    /// The largest size of all linear memories of one instance.
    pub peak_memory_bytes: u64,
    traps: [u64; TrapCause::ALL.len()],
}

// === impl VersionCounters ===

impl VersionCounters {
    /// Returns the current numbers.
    pub fn totals(&self) -> Totals {
        let mut totals = self.lock().clone();
        totals.pending = self.pending.load(Relaxed);
        if let Some(executions) = self.lock_graphs().executions() {
            totals.sums.executions = executions.count;
            totals.sums.batches = executions.batches;
        }
        totals
    }

    /// Counts the executions of these graphs from now on, after the executions of the version's earlier loads.
    pub(crate) fn count_graphs(&self, graphs: &[Arc<GraphStatistics>]) {
        let mut counted = self.lock_graphs();
        if let Some(earlier) = counted.executions() {
            counted.earlier = earlier;
        }
        counted.current = graphs.to_vec();
    }

    /// Adds the usage of the guest of one call.
    pub fn add_guest(&self, run: &GuestRun) {
        self.lock().guests.add(run);
    }

    /// Returns the usage of a tenant, which `open` returns if it has used nothing yet.
    pub(crate) fn usage_of(
        &self,
        tenant: &TenantId,
        open: impl FnOnce() -> Arc<UsageCell>,
    ) -> Arc<UsageCell> {
        let mut usage = self.lock_usage();
        if let Some(cell) = usage.get(tenant) {
            return Arc::clone(cell);
        }
        let cell = open();
        usage.insert(tenant.clone(), Arc::clone(&cell));
        cell
    }

    /// Returns the usage of each tenant that has used the version, in no order.
    pub fn usage(&self) -> Vec<Arc<UsageCell>> {
        self.lock_usage().values().map(Arc::clone).collect()
    }

    pub(crate) fn begin(&self) {
        self.pending.fetch_add(1, Relaxed);
    }

    pub(crate) fn end(&self) {
        self.pending.fetch_sub(1, Relaxed);
    }

    /// Adds a successful request, with its phases if it was computed. `add` adds it to the sums of the statistics.
    pub(crate) fn succeed(
        &self,
        request: Duration,
        timings: Option<&Timings>,
        add: impl FnOnce(&mut Sums),
    ) {
        let mut totals = self.lock();
        add(&mut totals.sums);
        let durations = &mut totals.durations;
        durations.request.add(request);
        let Some(timings) = timings else { return };
        durations.queue.add(timings.queue);
        durations.compute_input.add(timings.compute_input());
        durations.compute_infer.add(timings.compute);
        durations.compute_output.add(timings.compute_output());
    }

    /// Adds a request that failed with this kind of error after this long.
    pub(crate) fn fail(&self, request: Duration, kind: ErrorKind) {
        let mut totals = self.lock();
        totals.sums.fail.add(request);
        totals.failures.add(kind);
    }

    fn lock_usage(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<UsageCell>>> {
        // As for the totals.
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_graphs(&self) -> MutexGuard<'_, GraphExecutions> {
        // As for the totals.
        self.graphs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        // No code panics while the lock is held, so a poisoned lock still guards consistent numbers.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl GraphExecutions ===

impl GraphExecutions {
    /// Returns all executions, or `None` for a version without graphs.
    fn executions(&self) -> Option<Executions> {
        if self.current.is_empty() {
            return None;
        }
        let mut executions = self.earlier.clone();
        for graph in &self.current {
            executions.merge(&graph.executions());
        }
        Some(executions)
    }
}

// === impl PhaseHistograms ===

impl PhaseHistograms {
    /// Returns each phase with the name that it has in the names of metrics.
    pub fn phases(&self) -> [(&'static str, &DurationHistogram); 5] {
        [
            ("request", &self.request),
            ("queue", &self.queue),
            ("compute_input", &self.compute_input),
            ("compute_infer", &self.compute_infer),
            ("compute_output", &self.compute_output),
        ]
    }
}

// === impl GuestTotals ===

impl GuestTotals {
    /// Adds one call.
    fn add(&mut self, run: &GuestRun) {
        let GuestRun { usage, trap } = run;
        let bytes = u64::try_from(usage.peak_memory_bytes).unwrap_or(u64::MAX);
        self.instances = self.instances.saturating_add(1);
        self.time = self.time.saturating_add(usage.guest);
        self.instantiation = self.instantiation.saturating_add(usage.instantiation);
        self.peak_memory_bytes = self.peak_memory_bytes.max(bytes);
        let causes = TrapCause::ALL.iter().zip(&mut self.traps);
        for (_, count) in causes.filter(|(cause, _)| Some(**cause) == *trap) {
            *count = count.saturating_add(1);
        }
    }

    /// Returns the number of traps by cause.
    pub fn traps(&self) -> impl Iterator<Item = (TrapCause, u64)> + '_ {
        TrapCause::ALL.into_iter().zip(self.traps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_sandbox::handler::Usage;

    #[test]
    fn guests_add_up_and_their_largest_memory_is_kept() {
        let counters = VersionCounters::default();
        for (peak_memory_bytes, trap) in [
            (2 << 20, None),
            (3 << 20, Some(TrapCause::Panic)),
            (1 << 20, Some(TrapCause::Panic)),
        ] {
            let usage = Usage {
                guest: Duration::from_millis(2),
                instantiation: Duration::from_millis(1),
                peak_memory_bytes,
                ..Usage::default()
            };
            counters.add_guest(&GuestRun { usage, trap });
        }
        let guests = counters.totals().guests;
        assert_eq!(guests.instances, 3);
        assert_eq!(guests.time, Duration::from_millis(6));
        assert_eq!(guests.instantiation, Duration::from_millis(3));
        assert_eq!(guests.peak_memory_bytes, 3 << 20);
        let traps: Vec<(TrapCause, u64)> = guests.traps().collect();
        assert_eq!(traps.len(), TrapCause::ALL.len());
        assert!(traps.contains(&(TrapCause::Panic, 2)));
        assert!(traps.contains(&(TrapCause::Other, 0)));
    }
}
