//! The numbers of the worker processes of tenants.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wisp_serving::tenants::tenant_id::TenantId;

/// The workers of all tenants that have had one. There are as many entries as tenants of the operator. Lifetime: the
/// process.
#[derive(Debug, Default)]
pub(crate) struct WorkerCounts {
    tenants: Mutex<BTreeMap<TenantId, WorkerCount>>,
    /// The tenants that have a worker when they need one.
    isolated: AtomicUsize,
}

/// The numbers of the worker of one tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WorkerCount {
    /// The processes that run now: one, or none, and more while those from before a change of the tenant still have requests.
    pub(crate) running: u64,
    /// The attempts to start a process.
    pub(crate) starts: u64,
    /// The processes that ended by themselves or could not be started.
    pub(crate) failures: u64,
}

/// A worker that counts as running. Lifetime: the process of the worker.
#[derive(Debug)]
pub(crate) struct RunningWorker {
    counts: Arc<WorkerCounts>,
    tenant: TenantId,
}

// === impl WorkerCounts ===

impl WorkerCounts {
    /// Counts a start. The worker counts as running until the returned value is dropped.
    pub(crate) fn start(self: &Arc<WorkerCounts>, tenant: &TenantId) -> RunningWorker {
        self.change(tenant, |count| {
            count.starts = count.starts.saturating_add(1);
            count.running = count.running.saturating_add(1);
        });
        RunningWorker {
            counts: Arc::clone(self),
            tenant: tenant.clone(),
        }
    }

    /// Returns the number of tenants that have a worker when they need one.
    pub(crate) fn isolated(&self) -> usize {
        self.isolated.load(Relaxed)
    }

    pub(crate) fn set_isolated(&self, tenants: usize) {
        self.isolated.store(tenants, Relaxed);
    }

    /// Returns the numbers of each tenant that has had a worker, by name.
    pub(crate) fn all(&self) -> Vec<(TenantId, WorkerCount)> {
        let tenants = self.lock();
        let counts = tenants.iter();
        counts
            .map(|(tenant, count)| (tenant.clone(), *count))
            .collect()
    }

    fn change(&self, tenant: &TenantId, change: impl FnOnce(&mut WorkerCount)) {
        change(self.lock().entry(tenant.clone()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TenantId, WorkerCount>> {
        // Numbers are valid even after a panic.
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl RunningWorker ===

impl RunningWorker {
    /// Counts the end of the worker as a failure.
    pub(crate) fn failed(&self) {
        self.counts.change(&self.tenant, |count| {
            count.failures = count.failures.saturating_add(1);
        });
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.counts.change(&self.tenant, |count| {
            count.running = count.running.saturating_sub(1);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_runs_until_it_is_dropped_and_its_failures_stay() -> anyhow::Result<()> {
        let counts: Arc<WorkerCounts> = Arc::default();
        let acme: TenantId = "acme".parse()?;
        assert!(counts.all().is_empty());
        let first = counts.start(&acme);
        first.failed();
        drop(first);
        let _second = counts.start(&acme);
        let expected = WorkerCount {
            running: 1,
            starts: 2,
            failures: 1,
        };
        assert_eq!(counts.all(), [(acme, expected)]);
        Ok(())
    }
}
