//! How much one instance may use, and the meters that hold it to that.
//!
//! wasmtime's own limits end at the guest's memory and tables. What a guest makes the host hold on
//! its behalf (tensors) is counted by a [`Ledger`], how long it runs by a [`GuestClock`].

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wasmtime::ResourceLimiter;

/// What one call of a handler may use. The defaults are those of wasm-runtime.md section 2.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes; at most the engine's.
    pub memory_bytes: usize,
    /// Elements of any table.
    pub table_elements: usize,
    /// Tensors that the host holds for the instance, in bytes.
    pub host_bytes: usize,
    /// Bytes that one call may carry from the guest to the host: the answer, or one tensor.
    pub transfer_bytes: usize,
    /// Resources (tensors, graphs, contexts, errors) the instance may hold at once.
    pub handles: usize,
    /// Time the guest's own code may run, compute not counted. A 12-megapixel JPEG must fit.
    pub guest_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: 128 << 20,
            table_elements: 20_000,
            host_bytes: 256 << 20,
            transfer_bytes: 65 << 20,
            handles: 1024,
            guest_time: Duration::from_secs(2),
        }
    }
}

/// A guest asked for more than its limits allow. Traps the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitError {
    #[error("memory would grow to {wanted} bytes, the limit is {limit}")]
    Memory { wanted: usize, limit: usize },
    #[error("a table would grow to {wanted} elements, the limit is {limit}")]
    Table { wanted: usize, limit: usize },
    #[error("more than {limit} tensors without a valid shape")]
    InvalidTensors { limit: u32 },
    #[error("more than {limit} resources are held at once")]
    Handles { limit: usize },
    #[error("the guest ran longer than {budget:?}")]
    GuestTime { budget: Duration },
    #[error("the request's deadline has passed")]
    Deadline,
}

/// Holds memories and tables to their limits and remembers the peak.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    memory_limit: usize,
    table_limit: usize,
    /// The largest linear memory seen, in bytes.
    pub(crate) peak_bytes: usize,
}

impl MemoryMeter {
    pub(crate) fn new(limits: &Limits) -> MemoryMeter {
        MemoryMeter {
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            peak_bytes: 0,
        }
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        _current: usize,
        wanted: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // An error traps the guest; `Ok(false)` would let it go on and fail in some other way later.
        if wanted > self.memory_limit {
            return Err(LimitError::Memory {
                wanted,
                limit: self.memory_limit,
            }
            .into());
        }
        self.peak_bytes = self.peak_bytes.max(wanted);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        wanted: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if wanted > self.table_limit {
            return Err(LimitError::Table {
                wanted,
                limit: self.table_limit,
            }
            .into());
        }
        Ok(true)
    }

    // Growing can still fail below the limit: the pool's slots are smaller, or memory is short.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }
}

/// Counts the bytes that the host holds for one instance.
#[derive(Debug)]
pub(crate) struct Ledger {
    left: usize,
}

impl Ledger {
    pub(crate) fn new(bytes: usize) -> Ledger {
        Ledger { left: bytes }
    }

    /// Whether `bytes` more fit; if so they are taken.
    pub(crate) fn charge(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    pub(crate) fn release(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes);
    }
}

/// Measures how long a guest's own code runs: stopped while the host computes for it, and while its
/// fiber waits for a thread. Clones are one clock. Lifetime: one request.
#[derive(Debug, Clone)]
pub(crate) struct GuestClock(Arc<Mutex<Stopwatch>>);

#[derive(Debug)]
struct Stopwatch {
    before: Duration,
    running_since: Option<Instant>,
}

impl GuestClock {
    pub(crate) fn start() -> GuestClock {
        GuestClock(Arc::new(Mutex::new(Stopwatch {
            before: Duration::ZERO,
            running_since: Some(Instant::now()),
        })))
    }

    pub(crate) fn pause(&self) {
        let mut watch = self.watch();
        if let Some(since) = watch.running_since.take() {
            watch.before += since.elapsed();
        }
    }

    pub(crate) fn resume(&self) {
        self.watch().running_since.get_or_insert_with(Instant::now);
    }

    pub(crate) fn elapsed(&self) -> Duration {
        let watch = self.watch();
        let running = watch
            .running_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        watch.before + running
    }

    /// Drive a guest's call; the clock runs only while it is polled.
    pub(crate) async fn drive<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        poll_fn(|cx| {
            self.resume();
            let poll = call.as_mut().poll(cx);
            self.pause();
            poll
        })
        .await
    }

    fn watch(&self) -> MutexGuard<'_, Stopwatch> {
        // Only ever taken by the one thread that drives the call, and nothing panics in between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn a_ledger_takes_what_fits_and_gives_back_what_is_released() {
        let mut ledger = Ledger::new(10);
        assert!(ledger.charge(7));
        assert!(!ledger.charge(4));
        ledger.release(7);
        assert!(ledger.charge(10));
        assert!(!ledger.charge(1));
        assert!(!ledger.charge(usize::MAX));
    }

    #[test]
    fn a_guest_that_waits_for_a_thread_uses_no_time() {
        let clock = GuestClock::start();
        clock.pause();
        let runs = || clock.watch().running_since.is_some();
        let mut polls = 0;
        let mut driven = pin!(clock.drive(poll_fn(|_| {
            assert!(runs(), "it runs while it is polled");
            polls += 1;
            if polls == 2 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })));
        let mut cx = Context::from_waker(Waker::noop());
        for expected in [Poll::Pending, Poll::Ready(())] {
            assert!(!runs(), "and at no other time");
            assert_eq!(driven.as_mut().poll(&mut cx), expected);
        }
        assert!(!runs());
    }
}
