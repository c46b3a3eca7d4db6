//! The memory that computations may take together.
//!
//! A request of a few numbers can ask a graph for more memory than there is, and an allocation that
//! fails ends the process. So engines reserve what they are about to allocate in one budget, which is a part
//! of what the process may use: the machine's memory, or its control group's where that is less.

use crate::process_memory::process_memory;
use std::sync::Arc;
use wisp_tensor::memory_budget::MemoryBudget;

/// What computations get on machines of usual sizes: whatever takes more of it takes too long, too. In Wasm there are 4 GiB
/// of addresses in all.
const USUAL: usize = match usize::BITS {
    64 => (1_usize << 16).saturating_mul(1 << 16),
    _ => 1 << 30,
};

/// Returns a budget of 4 GiB; of half of the memory that this process may use where that is less, and of an
/// eighth where that is more.
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
    fn computations_get_a_share_of_what_there_is() {
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
