//! The meter of one request, shared by all threads and tasks that work for it.
//!
//! Work may go on after its request has failed or its client has disconnected: a guest ends at its next epoch. Each of them
//! holds the meter, and its numbers are added to those of the tenant with the last one, so that nothing is lost and
//! nothing counted twice. The quota of the tenant is charged the same times.

use super::usage_cell::UsageCell;
use super::usage_counters::UsageCounters;
use crate::cache_outcome::CacheOutcome;
use crate::quota::{Cost, TimeCharge};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wisp_sandbox::compute::ComputeMeter;
use wisp_sandbox::handler::Usage;

/// The outcomes of a request.
const FAILED: u8 = 0;
const COMPUTED: u8 = 1;
const CACHED: u8 = 2;

/// The meter of one request. Lifetime: one request, and the work for it that outlives it.
#[derive(Debug)]
pub struct CallMeter {
    cell: Arc<UsageCell>,
    guest_nanoseconds: AtomicU64,
    backend_nanoseconds: AtomicU64,
    peak_memory_bytes: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    outcome: AtomicU8,
    /// The times that a quota is charged; `None` without one.
    times: Mutex<Option<TimeCharge>>,
}

impl CallMeter {
    /// Starts to measure a request, which counts as failed until it succeeds.
    pub fn begin(cell: Arc<UsageCell>) -> Arc<CallMeter> {
        Arc::new(CallMeter {
            cell,
            guest_nanoseconds: AtomicU64::new(0),
            backend_nanoseconds: AtomicU64::new(0),
            peak_memory_bytes: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            outcome: AtomicU8::new(FAILED),
            times: Mutex::new(None),
        })
    }

    /// Adds processor time of the guest.
    pub(crate) fn add_guest(&self, time: Duration) {
        self.guest_nanoseconds.fetch_add(nanoseconds(time), Relaxed);
    }

    /// Adds the memory of a guest that has ended.
    pub(crate) fn add_memory(&self, usage: &Usage) {
        let bytes = u64::try_from(usage.peak_memory_bytes).unwrap_or(u64::MAX);
        self.peak_memory_bytes.fetch_max(bytes, Relaxed);
    }

    /// Adds a run whose guest and computations took this processor time on one thread. The guest is charged for its time
    /// by the clock, or of the processor if it is less.
    pub(crate) fn add_inline_run(&self, usage: &Usage, used: Duration) {
        self.add_guest(usage.guest.min(used));
        self.add_compute(usage.backend);
        self.add_memory(usage);
    }

    /// Charges a quota for all usage from now on, until all work for the request has ended.
    pub(crate) fn charge(&self, times: TimeCharge) {
        *self.lock() = Some(times);
    }

    /// Charges the quota for the request's usage so far.
    pub(crate) fn settle(&self) {
        if let Some(times) = &mut *self.lock() {
            times.set(self.cost());
        }
    }

    /// Charges the quota for the request's usage so far, or for the expected usage if that is more: work may continue.
    pub(crate) fn settle_at_least(&self) {
        if let Some(times) = &mut *self.lock() {
            times.raise(self.cost());
        }
    }

    fn cost(&self) -> Cost {
        Cost {
            guest: Duration::from_nanos(self.guest_nanoseconds.load(Relaxed)),
            backend: Duration::from_nanos(self.backend_nanoseconds.load(Relaxed)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<TimeCharge>> {
        // The charge is replaced as a whole, and changes the quota under a lock of its own.
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the bytes of the inputs.
    pub(crate) fn receive(&self, bytes: usize) {
        self.bytes_in.store(count(bytes), Relaxed);
    }

    /// Counts the request as successful, with the bytes of its outputs.
    pub(crate) fn succeed(&self, bytes: usize, cache: CacheOutcome) {
        self.bytes_out.store(count(bytes), Relaxed);
        let outcome = match cache {
            CacheOutcome::Hit(_) => CACHED,
            CacheOutcome::Bypassed | CacheOutcome::Miss(_) => COMPUTED,
        };
        self.outcome.store(outcome, Relaxed);
    }

    /// Returns the request's usage so far.
    pub fn used(&self) -> UsageCounters {
        let outcome = self.outcome.load(Relaxed);
        UsageCounters {
            requests: u64::from(outcome != FAILED),
            failures: u64::from(outcome == FAILED),
            cached: u64::from(outcome == CACHED),
            guest: Duration::from_nanos(self.guest_nanoseconds.load(Relaxed)),
            backend: Duration::from_nanos(self.backend_nanoseconds.load(Relaxed)),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            peak_memory_bytes: self.peak_memory_bytes.load(Relaxed),
        }
    }
}

impl ComputeMeter for CallMeter {
    fn add_compute(&self, time: Duration) {
        self.backend_nanoseconds
            .fetch_add(nanoseconds(time), Relaxed);
    }
}

impl Drop for CallMeter {
    fn drop(&mut self) {
        if let Some(times) = self.lock().take() {
            times.end(self.cost());
        }
        self.cell.add(&self.used());
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metering::usage_cell::UsageKey;
    use crate::tenants::tenant_id::TenantId;
    use wisp_protocol::call::{ModelName, Version};

    fn cell() -> anyhow::Result<Arc<UsageCell>> {
        Ok(Arc::new(UsageCell::new(UsageKey {
            tenant: "acme".parse()?,
            owner: TenantId::local(),
            model: ModelName::new("wine")?,
            version: Version::FIRST,
        })))
    }

    #[test]
    fn a_request_is_counted_once_all_of_its_work_has_ended() -> anyhow::Result<()> {
        let cell = cell()?;
        let meter = CallMeter::begin(Arc::clone(&cell));
        let guest = Arc::clone(&meter);
        meter.receive(10);
        meter.succeed(20, CacheOutcome::Bypassed);
        drop(meter);
        assert!(cell.total().is_empty());
        guest.add_guest(Duration::from_millis(3));
        guest.add_compute(Duration::from_millis(4));
        guest.add_memory(&Usage {
            compute: Duration::from_millis(40),
            peak_memory_bytes: 5,
            ..Usage::default()
        });
        drop(guest);
        let expected = UsageCounters {
            requests: 1,
            guest: Duration::from_millis(3),
            backend: Duration::from_millis(4),
            bytes_in: 10,
            bytes_out: 20,
            peak_memory_bytes: 5,
            ..UsageCounters::default()
        };
        assert_eq!(cell.total(), expected);
        Ok(())
    }

    #[test]
    fn responses_from_the_cache_are_counted_apart() -> anyhow::Result<()> {
        let cell = cell()?;
        let meter = CallMeter::begin(Arc::clone(&cell));
        meter.succeed(1, CacheOutcome::Hit(Duration::ZERO));
        drop(meter);
        CallMeter::begin(Arc::clone(&cell)).succeed(1, CacheOutcome::Miss(Duration::ZERO));
        let total = cell.total();
        assert_eq!((total.requests, total.cached, total.failures), (2, 1, 0));
        Ok(())
    }

    #[test]
    fn an_inline_guest_is_not_charged_the_time_that_it_waited_for_a_processor() -> anyhow::Result<()>
    {
        let cell = cell()?;
        let meter = CallMeter::begin(Arc::clone(&cell));
        let usage = Usage {
            guest: Duration::from_millis(9),
            ..Usage::default()
        };
        meter.add_inline_run(&usage, Duration::from_millis(2));
        meter.add_inline_run(&usage, Duration::from_millis(12));
        drop(meter);
        assert_eq!(cell.total().guest, Duration::from_millis(11));
        Ok(())
    }
}
