//! The memory of the workers of tenants.
//!
//! Unless the operator sets one limit for each, the workers divide half of the memory of the server: a worker gets an equal
//! part for each tenant that has one, as far as the workers of others leave it, and at least what a worker with a small
//! model takes. A limit cannot be changed while its process runs, so a worker keeps its part until it ends. The workers of
//! one tenant, of which an old one ends while a new one serves, count as one.

use super::memory_limits::{memory_limit_bytes, server_threads};
use crate::options::ServeArgs;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wisp_serving::tenants::tenant_id::TenantId;

/// The memory of all workers if that of the machine is unknown.
const UNKNOWN_TOTAL: u64 = 4 << 30;

/// The memory for the program, the stacks of handlers and a small model. The limit counts reserved memory: a worker that has
/// called one handler has reserved about 590 MiB, of which 290 MiB are the stacks of 145 instances.
const LEAST: u64 = 768 << 20;

/// The memory for the stacks of the threads that serve connections, handlers and graphs, which there are for each processor
/// or for each graph computation at a time: about 50 MiB are reserved.
const LEAST_PER_THREAD: u64 = 64 << 20;

/// The memory of all workers. Clones share it. Lifetime: the process.
#[derive(Debug, Clone)]
pub(super) struct WorkerMemory {
    rule: Rule,
    parts: Arc<Mutex<Parts>>,
}

/// The rule by which a worker gets its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// The same limit for each.
    Each(u64),
    /// Parts of a total, each of them not below the least.
    Divided { total: u64, least: u64 },
}

/// The parts of the workers that run.
#[derive(Debug, Default)]
struct Parts {
    next: u64,
    parts: BTreeMap<u64, (TenantId, u64)>,
}

/// The part of one worker, which is free when this is dropped. Lifetime: the process of the worker.
#[derive(Debug)]
pub(super) struct MemoryPart {
    bytes: u64,
    is_equal: bool,
    number: u64,
    parts: Arc<Mutex<Parts>>,
}

// === impl WorkerMemory ===

impl WorkerMemory {
    /// Returns the memory of the workers of a server with these settings.
    pub(super) fn of(args: &ServeArgs) -> WorkerMemory {
        let configured = args.tenancy.worker_memory_bytes;
        let configured = configured.map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX));
        WorkerMemory::by(match configured {
            Some(bytes) => Rule::Each(bytes),
            None => Rule::divided(memory_limit_bytes(args), server_threads(args)),
        })
    }

    fn by(rule: Rule) -> WorkerMemory {
        WorkerMemory {
            rule,
            parts: Arc::default(),
        }
    }

    /// Returns the largest limit that a worker can get, in bytes.
    pub(super) fn most(&self) -> u64 {
        match self.rule {
            Rule::Each(bytes) => bytes,
            Rule::Divided { total, .. } => total,
        }
    }

    /// Takes the part of a worker of this tenant, one of `tenants` that have one.
    pub(super) fn take(&self, tenant: &TenantId, tenants: usize) -> MemoryPart {
        let mut parts = lock(&self.parts);
        let (bytes, is_equal) = self.rule.part(tenants, parts.of_others(tenant));
        let number = parts.next;
        parts.next = number.wrapping_add(1);
        parts.parts.insert(number, (tenant.clone(), bytes));
        MemoryPart {
            bytes,
            is_equal,
            number,
            parts: Arc::clone(&self.parts),
        }
    }
}

fn lock(parts: &Mutex<Parts>) -> MutexGuard<'_, Parts> {
    // Each change is a single insertion or removal, so a poisoned lock guards a usable value.
    parts.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Rule ===

impl Rule {
    /// Returns the rule for a server with this memory, whose workers have this number of threads of each kind.
    fn divided(memory_bytes: Option<u64>, threads: NonZeroUsize) -> Rule {
        let total = memory_bytes.map_or(UNKNOWN_TOTAL, |bytes| bytes / 2);
        let threads = u64::try_from(threads.get()).unwrap_or(u64::MAX);
        let least = LEAST.saturating_add(LEAST_PER_THREAD.saturating_mul(threads));
        Rule::Divided {
            total,
            least: least.min(total),
        }
    }

    /// Returns the limit of a worker, of a tenant that is one of `tenants` with a worker, if those of the others have taken
    /// this much. It is an equal part unless they have taken more than theirs.
    fn part(self, tenants: usize, taken: u64) -> (u64, bool) {
        match self {
            Rule::Each(bytes) => (bytes, true),
            Rule::Divided { total, least } => {
                let tenants = u64::try_from(tenants.max(1)).unwrap_or(u64::MAX);
                let equal = (total / tenants).max(least);
                let left = total.saturating_sub(taken).max(least);
                (equal.min(left), equal <= left)
            }
        }
    }
}

// === impl Parts ===

impl Parts {
    /// Returns the memory of the workers of all tenants but this one.
    fn of_others(&self, tenant: &TenantId) -> u64 {
        let mut others: BTreeMap<&TenantId, u64> = BTreeMap::new();
        for (of, bytes) in self.parts.values() {
            if of != tenant {
                let most = others.entry(of).or_default();
                *most = (*most).max(*bytes);
            }
        }
        others.into_values().fold(0, u64::saturating_add)
    }
}

// === impl MemoryPart ===

impl MemoryPart {
    /// Returns the limit on the memory of the worker.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether the part is not smaller than that of any other tenant would be now.
    pub(super) fn is_equal(&self) -> bool {
        self.is_equal
    }
}

impl Drop for MemoryPart {
    fn drop(&mut self) {
        lock(&self.parts).parts.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    const ONE: NonZeroUsize = NonZeroUsize::MIN;

    fn tenant(number: usize) -> TenantId {
        format!("t{number}").parse().unwrap()
    }

    /// Returns the parts of the workers of these tenants, one for each and in this order.
    fn take(memory: &WorkerMemory, tenants: std::ops::Range<usize>, all: usize) -> Vec<MemoryPart> {
        tenants
            .map(|number| memory.take(&tenant(number), all))
            .collect()
    }

    fn sum(parts: &[MemoryPart]) -> u64 {
        parts.iter().map(MemoryPart::bytes).sum()
    }

    #[test]
    fn workers_divide_half_of_the_memory_and_one_alone_has_all_of_it() {
        let memory = WorkerMemory::by(Rule::divided(Some(64 << 30), ONE));
        assert_eq!(memory.most(), 32 << 30);
        assert_eq!(memory.take(&tenant(0), 1).bytes(), 32 << 30);
        // Before the first look at the tenants.
        assert_eq!(memory.take(&tenant(0), 0).bytes(), 32 << 30);
        for all in 1..50 {
            let parts = take(&memory, 0..all, all);
            let of_each = (32 << 30) / u64::try_from(all).unwrap();
            assert!(
                parts
                    .iter()
                    .all(|part| part.bytes() == of_each.max(832 * MIB))
            );
            assert!(parts.iter().all(MemoryPart::is_equal));
        }
    }

    #[test]
    fn a_tenant_that_is_added_gets_what_is_left_until_the_others_start_again() {
        let memory = WorkerMemory::by(Rule::divided(Some(64 << 30), ONE));
        let mut parts = take(&memory, 0..2, 2);
        let added = memory.take(&tenant(2), 3);
        assert_eq!((added.bytes(), added.is_equal()), (832 * MIB, false));
        drop(added);
        // One of the others ends, and comes back beside the third.
        parts.pop();
        let third = (32_u64 << 30) / 3;
        parts.push(memory.take(&tenant(2), 3));
        parts.push(memory.take(&tenant(1), 3));
        assert_eq!(parts[1].bytes(), third);
        assert_eq!(parts[2].bytes(), (16 << 30) - third);
        assert_eq!(sum(&parts), 32 << 30);
    }

    #[test]
    fn the_limits_of_all_tenants_are_together_within_the_total_and_the_least_parts() {
        let (total, least) = (16_u64 << 30, 832 * MIB);
        let memory = WorkerMemory::by(Rule::divided(Some(2 * total), ONE));
        // Each is added while the workers of those before run.
        let mut parts = Vec::new();
        for number in 0..16 {
            parts.push(memory.take(&tenant(number), number + 1));
        }
        assert_eq!(parts[0].bytes(), total);
        assert_eq!(sum(&parts), total + 15 * least);
        // Once each has started again, the total holds.
        for number in 0..16 {
            parts.remove(0);
            parts.push(memory.take(&tenant(number), 16));
        }
        assert!(sum(&parts) <= total, "{}", sum(&parts));
    }

    #[test]
    fn the_next_worker_of_a_tenant_gets_the_same_while_the_last_one_ends() {
        let memory = WorkerMemory::by(Rule::divided(Some(64 << 30), ONE));
        let [old, other] = [memory.take(&tenant(0), 2), memory.take(&tenant(1), 2)];
        let new = memory.take(&tenant(0), 2);
        assert_eq!((new.bytes(), new.is_equal()), (old.bytes(), true));
        drop(old);
        assert_eq!(memory.take(&tenant(0), 2).bytes(), other.bytes());
    }

    #[test]
    fn a_small_machine_gives_a_worker_no_more_than_its_half() {
        let threads = NonZeroUsize::new(16).unwrap();
        let memory = WorkerMemory::by(Rule::divided(Some(1 << 30), threads));
        for part in take(&memory, 0..3, 3) {
            assert_eq!(part.bytes(), 512 * MIB);
        }
        // More threads have more stacks.
        let memory = WorkerMemory::by(Rule::divided(Some(64 << 30), threads));
        assert_eq!(memory.take(&tenant(0), 1000).bytes(), 1792 * MIB);
    }

    #[test]
    fn a_configured_limit_is_that_of_each_worker() {
        let memory = WorkerMemory::by(Rule::Each(4096));
        assert_eq!(memory.most(), 4096);
        let parts = take(&memory, 0..100, 100);
        assert!(
            parts
                .iter()
                .all(|part| part.bytes() == 4096 && part.is_equal())
        );
    }

    #[test]
    fn a_machine_of_unknown_size_has_some_memory() {
        assert_eq!(
            Rule::divided(None, ONE),
            Rule::Divided {
                total: UNKNOWN_TOTAL,
                least: 832 * MIB
            }
        );
    }
}
