//! The plans of a graph for the input sizes it has received, with eviction of the least recently used.
//!
//! This module does not depend on tract: a plan is whatever the caller builds. The mutex guards only the
//! array of slots and is never held while a plan is built. Two callers with the same sizes share one
//! build, and callers with other sizes do not wait for it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tract_onnx::prelude::TVec;

/// Plans by the sizes of the variable axes. Lifetime: a model version.
#[derive(Debug)]
pub(super) struct PlanCache<P> {
    /// The slots, most recently used first. They are few enough that a scan is faster than hashing.
    slots: Mutex<Vec<Arc<Slot<P>>>>,
    capacity: usize,
}

/// The slot of one plan, which is empty until its first user has built it.
#[derive(Debug)]
pub(super) struct Slot<P> {
    sizes: TVec<u32>,
    plan: OnceLock<P>,
}

impl<P> PlanCache<P> {
    pub(super) fn new(capacity: usize) -> PlanCache<P> {
        PlanCache {
            slots: Mutex::new(Vec::new()),
            capacity: capacity.max(1),
        }
    }

    /// Returns the slot of the plan for `sizes`, if there is one.
    pub(super) fn find(&self, sizes: &[u32]) -> Option<Arc<Slot<P>>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let position = slots.iter().position(|slot| *slot.sizes == *sizes)?;
        slots[..=position].rotate_right(1);
        Some(Arc::clone(&slots[0]))
    }

    /// Returns the slot of the plan for `sizes`, which is created if necessary.
    pub(super) fn slot(&self, sizes: &[u32]) -> Arc<Slot<P>> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent array.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.iter().position(|slot| *slot.sizes == *sizes) {
            Some(0) => Arc::clone(&slots[0]),
            Some(position) => {
                slots[..=position].rotate_right(1);
                Arc::clone(&slots[0])
            }
            None => {
                let slot = Arc::new(Slot {
                    sizes: sizes.into(),
                    plan: OnceLock::new(),
                });
                let forgotten = match slots.len() < self.capacity {
                    true => None,
                    false => slots.pop(),
                };
                slots.insert(0, Arc::clone(&slot));
                drop(slots);
                // Freeing a plan frees its packed weights and so happens outside the lock.
                drop(forgotten);
                slot
            }
        }
    }
}

impl<P> Slot<P> {
    /// Returns the plan, if it has been built.
    pub(super) fn built(&self) -> Option<&P> {
        self.plan.get()
    }

    /// Returns the plan. The first caller builds it while others wait. `build` must not panic.
    pub(super) fn plan(&self, build: impl FnOnce() -> P) -> &P {
        self.plan.get_or_init(build)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_least_recently_used_plan_is_forgotten() {
        let cache = PlanCache::new(2);
        let builds = AtomicUsize::new(0);
        let plan = |size: u32| {
            *cache.slot(&[size]).plan(|| {
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
    fn threads_that_need_the_same_sizes_share_one_build() {
        let cache = PlanCache::new(4);
        let builds = AtomicUsize::new(0);
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    let slot = cache.slot(&[3, 5]);
                    slot.plan(|| builds.fetch_add(1, Ordering::Relaxed));
                });
            }
        });
        assert_eq!(builds.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_build_under_way_does_not_hold_up_other_sizes() {
        let cache = PlanCache::new(4);
        cache.slot(&[1]).plan(|| {
            // This would deadlock if the array were locked while a plan is built.
            cache.slot(&[2]).plan(|| 2);
            1
        });
    }

    #[test]
    fn a_forgotten_plan_stays_with_those_who_use_it() {
        let cache = PlanCache::new(1);
        let first = cache.slot(&[1]);
        first.plan(|| 1);
        cache.slot(&[2]).plan(|| 2);
        assert_eq!(*first.plan(|| 9), 1);
    }
}
