//! The numbers of connections of a listener.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The connections of all sockets of a listener. Lifetime: the process.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounts {
    open: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl ConnectionCounts {
    /// Counts a connection that is served from now on.
    pub(crate) fn add_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// Counts a connection above the limit.
    pub(crate) fn add_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Sets the number of connections that are open now.
    pub(crate) fn set_open(&self, open: usize) {
        self.open
            .store(u64::try_from(open).unwrap_or(u64::MAX), Relaxed);
    }

    /// Returns the number of connections that are open now.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Returns the number of connections that have been served.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Returns the number of connections above the limit.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}
