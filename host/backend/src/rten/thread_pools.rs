//! The thread pools in which rten computes, shared by all models of the backend.
//!
//! A pool computes one graph at a time, so there are as many as computations have run at the same time, and a model
//! that computes nothing has none.

use rten::{RunOptions, ThreadPool};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// The idle pools, by their numbers of threads. Lifetime: the process.
#[derive(Debug, Default)]
pub(super) struct ThreadPools {
    idle: Mutex<BTreeMap<NonZeroUsize, Vec<Arc<ThreadPool>>>>,
}

impl ThreadPools {
    /// Calls `compute` with the options of a computation on this many threads.
    pub(super) fn with_options<T>(
        &self,
        threads: NonZeroUsize,
        compute: impl FnOnce(RunOptions) -> T,
    ) -> T {
        self.with_pool(threads, |pool| {
            compute(RunOptions::default().with_thread_pool(Some(Arc::clone(pool))))
        })
    }

    /// Calls `compute` with an idle pool of this many threads, or with a new one.
    pub(super) fn with_pool<T>(
        &self,
        threads: NonZeroUsize,
        compute: impl FnOnce(&Arc<ThreadPool>) -> T,
    ) -> T {
        let pool = self.idle(threads, Vec::pop);
        let pool = pool.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(threads.get())));
        let computed = compute(&pool);
        self.idle(threads, |idle| idle.push(pool));
        computed
    }

    /// Calls `change` with the idle pools of this many threads.
    fn idle<T>(
        &self,
        threads: NonZeroUsize,
        change: impl FnOnce(&mut Vec<Arc<ThreadPool>>) -> T,
    ) -> T {
        // No code panics while the lock is held.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        change(idle.entry(threads).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_used_again_and_two_computations_have_one_each() {
        let pools = ThreadPools::default();
        let one = NonZeroUsize::MIN;
        let address = |pool: &Arc<ThreadPool>| Arc::as_ptr(pool) as usize;
        let (outer, inner) =
            pools.with_pool(one, |outer| (address(outer), pools.with_pool(one, address)));
        assert_ne!(outer, inner);
        let again = pools.with_pool(one, address);
        assert!([outer, inner].contains(&again));
        let other = pools.with_pool(one.saturating_add(1), address);
        assert!(![outer, inner].contains(&other), "it has two threads");
    }
}
