//! A loaded graph with the facts about its load.

use crate::memory_ledger::MemoryPart;
use crate::registry::backend_selection::BackendSelection;
use std::sync::Arc;
use wisp_backend::Graph;

/// A graph that a backend has loaded.
#[derive(Debug)]
pub(crate) struct LoadedGraph {
    pub(crate) graph: Arc<dyn Graph>,
    /// The name of the backend.
    pub(crate) backend: &'static str,
    /// The reasons for the backend, if it was selected automatically.
    pub(crate) selection: Option<BackendSelection>,
    /// The memory of the graph, which all its users share.
    pub(crate) memory: MemoryPart,
    /// The part of the memory that this load has allocated as far as it was measured, 0 if the graph was loaded before.
    pub(crate) measured_bytes: u64,
}

impl LoadedGraph {
    /// Returns the hash of its files and of the settings that it was loaded with; `None` if they are not known, or the
    /// files have changed meanwhile.
    pub(crate) fn content_key(&self) -> Option<&str> {
        self.memory.key.as_deref()
    }
}
