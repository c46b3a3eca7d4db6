//! The resources that all models of the backend share.

use super::thread_pools::ThreadPools;
use std::sync::Arc;
use wisp_tensor::memory_budget::MemoryBudget;

/// The memory and the threads of all computations. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Shared {
    /// The budget of all computations together.
    pub(super) memory: Arc<MemoryBudget>,
    pub(super) pools: ThreadPools,
}
