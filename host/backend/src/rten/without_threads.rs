//! The replacement of the thread pools in a build without threads, where rten computes on the calling thread.

use rten::RunOptions;
use std::num::NonZeroUsize;

/// No threads. Lifetime: the process.
#[derive(Debug, Default)]
pub(super) struct ThreadPools {}

impl ThreadPools {
    /// Calls `compute` with the options of a computation on the calling thread.
    pub(super) fn with_options<T>(
        &self,
        _threads: NonZeroUsize,
        compute: impl FnOnce(RunOptions) -> T,
    ) -> T {
        compute(RunOptions::default())
    }
}
