//! Cancellation of running computations.
//!
//! The caller of a computation keeps a clone of its [`Cancellation`] and cancels it when the outputs are
//! no longer needed. A backend that works in steps polls the flag between them; one that computes in a
//! single foreign call registers a callback that makes the call return. This module reads no clock and so
//! also works in Wasm; [`deadline`](crate::deadline) adds deadlines on platforms with threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A flag that stops computations. Clones share it. Lifetime: a request.
#[derive(Debug, Clone, Default)]
pub struct Cancellation {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cancelled: AtomicBool,
    next_id: AtomicU64,
    callbacks: Mutex<Vec<(u64, Callback)>>,
}

type Callback = Box<dyn Fn() + Send>;

/// A registered callback, which is no longer called once this value is dropped.
#[derive(Debug)]
#[must_use]
pub struct OnCancel<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Cancellation {
    /// Returns a flag that is not set.
    pub fn new() -> Cancellation {
        Cancellation::default()
    }

    /// Sets the flag and calls the callbacks on this thread. Calls after the first do nothing.
    pub fn cancel(&self) {
        if self.shared.cancelled.swap(true, Ordering::SeqCst) {
            return;
        }
        for (_, callback) in self.shared.lock().iter() {
            callback();
        }
    }

    /// Returns whether the flag is set.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    /// Registers `callback` to be called when the flag is set, or calls it at once if the flag is already set.
    ///
    /// The callback must be quick and must not use this cancellation. Once the returned value has been
    /// dropped, no call of the callback is in progress.
    pub fn on_cancel(&self, callback: impl Fn() + Send + 'static) -> OnCancel<'_> {
        let shared = &*self.shared;
        let id = shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut callbacks = shared.lock();
        // Checked under the lock: `cancel` sets the flag before it takes the lock, so one of the two calls it.
        if shared.cancelled.load(Ordering::SeqCst) {
            callback();
        }
        callbacks.push((id, Box::new(callback)));
        drop(callbacks);
        OnCancel { shared, id }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Callback)>> {
        // A callback that panics leaves the list consistent.
        self.callbacks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("cancelled", &self.cancelled)
            .finish_non_exhaustive()
    }
}

impl Drop for OnCancel<'_> {
    fn drop(&mut self) {
        let mut callbacks = self.shared.lock();
        callbacks.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn counted(calls: &Arc<AtomicUsize>) -> impl Fn() + Send + 'static {
        let calls = Arc::clone(calls);
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_callback_is_called_once_whether_it_comes_before_or_after() {
        let calls = Arc::new(AtomicUsize::new(0));
        let cancellation = Cancellation::new();
        let before = cancellation.on_cancel(counted(&calls));
        assert_eq!(calls.load(Ordering::SeqCst), 0);
        assert!(!cancellation.is_cancelled());
        cancellation.clone().cancel();
        cancellation.cancel();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert!(cancellation.is_cancelled());
        drop(before);
        let after = cancellation.on_cancel(counted(&calls));
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        drop(after);
    }

    #[test]
    fn a_dropped_registration_is_not_called() {
        let calls = Arc::new(AtomicUsize::new(0));
        let cancellation = Cancellation::new();
        drop(cancellation.on_cancel(counted(&calls)));
        cancellation.cancel();
        assert_eq!(calls.load(Ordering::SeqCst), 0);
    }
}
