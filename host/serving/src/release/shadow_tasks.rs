//! The tasks that call a candidate with copied requests: few at a time, and ended with their owner.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// The most copied requests at the same time. A copy is useful without being complete, so that few are enough.
const MAX_SHADOWS: usize = 8;

/// The running tasks. Lifetime: the process.
#[derive(Debug)]
pub(super) struct ShadowTasks {
    slots: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

/// The place of one copied request.
#[derive(Debug)]
pub(super) struct ShadowSlot {
    _slot: OwnedSemaphorePermit,
}

impl Default for ShadowTasks {
    fn default() -> ShadowTasks {
        ShadowTasks {
            slots: Arc::new(Semaphore::new(MAX_SHADOWS)),
            tasks: Mutex::default(),
        }
    }
}

impl ShadowTasks {
    /// Returns a place for a copied request, or `None` if all are taken.
    pub(super) fn slot(&self) -> Option<ShadowSlot> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        Some(ShadowSlot { _slot: slot })
    }

    /// Runs a task to its end, or until the owner is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent set.
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}
