//! The memory budget that all computations share.
//!
//! A request with a few numbers can make a graph allocate more memory than the machine has, and a failed
//! allocation ends the process. Backends therefore reserve their allocations in one budget. It is a part
//! of the memory that the process may use: the machine's, or its control group's if that is less.

use crate::process_memory::process_memory;
use std::sync::Arc;
use wisp_tensor::memory_budget::MemoryBudget;

/// The budget in bytes on machines of usual sizes. A computation that needs more of it also takes too
/// long. Wasm has only 4 GiB of address space.
const USUAL: usize = match usize::BITS {
    64 => (1_usize << 16).saturating_mul(1 << 16),
    _ => 1 << 30,
};

/// Returns a budget of 4 GiB, or half of the memory that this process may use if that is less, or an
/// eighth of it if that is more.
pub fn compute_budget() -> Arc<MemoryBudget> {
    Arc::new(MemoryBudget::new(process_memory().map_or(USUAL, share)))
}

fn share(bytes: usize) -> usize {
    USUAL.min(bytes / 2).max(bytes / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computations_get_a_share_of_the_memory() {
        for (all, expected) in [
            (512 << 20, 256 << 20),
            (8 << 30, 4 << 30),
            (24 << 30, 4 << 30),
            (256 << 30, 32 << 30),
        ] {
            assert_eq!(share(all), expected);
        }
        if cfg!(target_os = "linux") {
            let all = process_memory().unwrap();
            assert!(all > 64 << 20, "{all}");
            assert_eq!(compute_budget().capacity(), share(all));
        }
    }
}
