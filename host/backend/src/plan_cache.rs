//! The plans of a graph for the input sizes it has received, with eviction of the least recently used.
//!
//! This module does not depend on tract's plans: a plan is whatever the caller builds. The mutex guards
//! only the slots and is never held while a plan is built. Two callers with the same sizes share one
//! build, and callers with other sizes do not wait for it.

use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Plans by the sizes of the variable axes. Lifetime: a model version.
#[derive(Debug)]
pub(crate) struct PlanCache<P> {
    slots: Mutex<Slots<P>>,
}

type Slots<P> = LruCache<Vec<u32>, Arc<Slot<P>>>;

/// The slot of one plan, which is empty until its first user has built it. Building must not panic.
pub(crate) type Slot<P> = OnceLock<P>;

impl<P> PlanCache<P> {
    pub(crate) fn new(capacity: usize) -> PlanCache<P> {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        PlanCache {
            slots: Mutex::new(LruCache::new(capacity)),
        }
    }

    /// Returns the number of plans that are kept.
    pub(crate) fn capacity(&self) -> NonZeroUsize {
        self.slots().cap()
    }

    /// Returns the slot of the plan for `sizes`, if there is one.
    pub(crate) fn find(&self, sizes: &[u32]) -> Option<Arc<Slot<P>>> {
        self.slots().get(sizes).cloned()
    }

    /// Returns the slot of the plan for `sizes`, which is created if necessary.
    pub(crate) fn slot(&self, sizes: &[u32]) -> Arc<Slot<P>> {
        let mut slots = self.slots();
        if let Some(slot) = slots.get(sizes) {
            return Arc::clone(slot);
        }
        let slot = Arc::new(Slot::new());
        let evicted = slots.push(sizes.into(), Arc::clone(&slot));
        drop(slots);
        // Freeing a plan frees its packed weights and so happens outside the lock.
        drop(evicted);
        slot
    }

    /// Removes the plan for `sizes`, if there is one.
    pub(crate) fn remove(&self, sizes: &[u32]) {
        let removed = self.slots().pop(sizes);
        // Outside the lock, as above.
        drop(removed);
    }

    fn slots(&self) -> MutexGuard<'_, Slots<P>> {
        // No code panics while the lock is held.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_least_recently_used_plan_is_evicted() {
        let cache = PlanCache::new(2);
        assert_eq!(cache.capacity().get(), 2);
        let builds = AtomicUsize::new(0);
        let plan = |size: u32| {
            *cache.slot(&[size]).get_or_init(|| {
                builds.fetch_add(1, Ordering::Relaxed);
                size
            })
        };
        for size in [1, 2, 1, 3, 1] {
            assert_eq!(plan(size), size);
        }
        assert_eq!(builds.load(Ordering::Relaxed), 3);
        // 2 was evicted by 3, since 1 had been used later.
        plan(2);
        assert_eq!(builds.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn a_removed_plan_is_built_again() {
        let cache = PlanCache::new(2);
        cache.slot(&[1]).get_or_init(|| 1);
        cache.remove(&[1]);
        assert!(cache.find(&[1]).is_none());
        assert_eq!(*cache.slot(&[1]).get_or_init(|| 2), 2);
    }

    #[test]
    fn threads_that_need_the_same_sizes_share_one_build() {
        let cache = PlanCache::new(4);
        let builds = AtomicUsize::new(0);
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let slot = cache.slot(&[3, 5]);
                    slot.get_or_init(|| builds.fetch_add(1, Ordering::Relaxed));
                });
            }
        });
        assert_eq!(builds.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_build_in_progress_does_not_block_other_sizes() {
        let cache = PlanCache::new(4);
        cache.slot(&[1]).get_or_init(|| {
            // This would deadlock if the array were locked while a plan is built.
            cache.slot(&[2]).get_or_init(|| 2);
            1
        });
    }

    #[test]
    fn an_evicted_plan_remains_usable_by_its_users() {
        let cache = PlanCache::new(1);
        let first = cache.slot(&[1]);
        first.get_or_init(|| 1);
        cache.slot(&[2]).get_or_init(|| 2);
        assert_eq!(*first.get_or_init(|| 9), 1);
    }
}
