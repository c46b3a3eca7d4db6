//! The memory of a server or a worker: what it can get, and the parts of that for requests and for loads.

use crate::loading::model_load_limits;
use crate::options::ServeArgs;
use rustix::process::{Resource, getrlimit};
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use wisp_backend::process_memory::process_memory;
use wisp_sandbox::limited_process::ProcessLimits;
use wisp_serving::ServingOptions;
use wisp_serving::load_locks::ALL_LOADS_AT_ONCE;

/// The minimum memory for requests on a small machine: enough for a few small requests at once.
const MIN_MEMORY_BYTES: usize = 32 << 20;

/// The minimum memory for a load on a small machine with tenants.
const MIN_LOAD_BYTES: usize = 512 << 20;

/// The address space for the stacks of handlers and for the program, most of which is never used. A limit on the data of a
/// process counts it.
const RESERVED_BYTES: usize = 592 << 20;

/// The address space for the stacks of the threads that serve connections, handlers and graphs, for each of
/// [`server_threads`].
const RESERVED_PER_THREAD: usize = 44 << 20;

/// Returns the bytes that all requests may hold together. By default this is half of the memory; the
/// other half is for models, backends and the program itself.
pub(super) fn request_memory(args: &ServeArgs) -> usize {
    if let Some(bytes) = args.max_memory_bytes {
        return bytes;
    }
    let bytes = usable_memory(args).map(|limit| limit / 2);
    let bytes = bytes.unwrap_or_else(|| ServingOptions::default().memory.capacity());
    bytes.max(MIN_MEMORY_BYTES)
}

/// Returns the memory that this process can get: that of the machine or of its control group, or less with a limit on its
/// data, which a worker has from its start.
pub(super) fn available_memory() -> Option<usize> {
    process_memory().into_iter().chain(data_limit()).min()
}

/// Returns the memory that this process can use, without the address space that it only reserves.
fn usable_memory(args: &ServeArgs) -> Option<usize> {
    let own = data_limit().map(|limit| usable(limit, server_threads(args)));
    process_memory().into_iter().chain(own).min()
}

/// Returns the part of a limit on data that a process with so many threads of each kind can use.
fn usable(limit: usize, threads: NonZeroUsize) -> usize {
    let reserved = RESERVED_PER_THREAD.saturating_mul(threads.get());
    let usable = limit.saturating_sub(RESERVED_BYTES.saturating_add(reserved));
    // A limit that leaves nothing must not stop all requests.
    usable.max(limit / 8)
}

/// Returns the limit on the data of this process.
fn data_limit() -> Option<usize> {
    let bytes = getrlimit(Resource::Data).current?;
    usize::try_from(bytes).ok()
}

/// Returns the largest number of threads of a kind: one for each processor, or one for each computation at a time.
pub(super) fn server_threads(args: &ServeArgs) -> NonZeroUsize {
    let processors = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let threads = args.threads;
    threads.map_or(processors, |threads| threads.max(processors))
}

/// Returns the limits on loading a model file. Those who load may be strangers once there are tenants: unless the operator
/// sets a limit, all loads at the same time then share the memory that one has otherwise.
pub(super) fn load_limits(args: &ServeArgs) -> ProcessLimits {
    let shared = args.tenancy.tenants.as_ref().and_then(|_| {
        let limit = args.memory_limit_bytes.or_else(available_memory)?;
        Some(shared_load_bytes(limit))
    });
    let bytes = args.model_load_memory_bytes.or(shared);
    model_load_limits(args.model_load_secs.0, bytes)
}

/// Returns the memory for each of the loads at the same time within this limit: their part of half of it, or enough for the
/// library of a backend and a small model.
fn shared_load_bytes(limit: usize) -> usize {
    let all = limit / 2;
    let least = MIN_LOAD_BYTES.min(all);
    (all / ALL_LOADS_AT_ONCE).max(least)
}

/// Returns the memory at which the kernel would end the process, or the lower limit that the operator sets.
pub(super) fn memory_limit_bytes(args: &ServeArgs) -> Option<u64> {
    let limit = args.memory_limit_bytes.or_else(|| usable_memory(args));
    limit.and_then(|bytes| u64::try_from(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_stacks_are_no_memory_for_requests() {
        const MIB: usize = 1 << 20;
        let two = NonZeroUsize::new(2).unwrap();
        assert_eq!(usable(2048 * MIB, two), 1368 * MIB);
        assert_eq!(usable(896 * MIB, two), 216 * MIB);
        assert_eq!(usable(400 * MIB, two), 50 * MIB);
    }

    #[test]
    fn all_loads_of_tenants_together_have_the_memory_that_one_has_otherwise() {
        const GIB: usize = 1 << 30;
        assert_eq!(shared_load_bytes(32 * GIB), 2 * GIB);
        assert_eq!(shared_load_bytes(4 * GIB), MIN_LOAD_BYTES);
        assert_eq!(shared_load_bytes(GIB / 2), GIB / 4);
    }
}
