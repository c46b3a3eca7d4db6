//! Loads the file of a graph with the backend that the model or the server chose, unless an equal one is loaded.
//! Also returns the cost of its batches, which is measured once.

use crate::cost_curve::{GraphCost, Unmeasured, measure};
use crate::memory_ledger::MemoryPart;
use crate::per_row_graph::with_rows;
use crate::registry::backend_selection::BackendSelectionStore;
use crate::registry::graph_file::{GraphFile, GraphFileError};
use crate::registry::graph_probe::GraphProbe;
use crate::registry::load_error::LoadError;
pub(crate) use crate::registry::loaded_graph::LoadedGraph;
use crate::registry::model_file::BackendChoice;
use crate::registry::shared_graphs::{GraphIdentity, SharedGraphs};
use crate::worker_pool::WorkerPool;
use std::path::Path;
use std::sync::Arc;
use wisp_backend::{Backends, Graph, LoadOptions};

/// The backends and the choice among them. Lifetime: the process.
#[derive(Debug)]
pub struct GraphLoader {
    pub backends: Backends,
    /// The choice for models that do not make one.
    pub choice: BackendChoice,
    /// The stored choices by measurement, and the stored costs of batches.
    pub selections: BackendSelectionStore,
    /// The child process that tries files which this process has not loaded before. Without it,
    /// files are loaded here directly.
    pub probe: Option<GraphProbe>,
    /// The threads that compute graphs, shared by all of them.
    pub workers: Arc<WorkerPool>,
    /// The graphs that are loaded now.
    pub shared: SharedGraphs,
}

/// The cost of a graph's batches.
#[derive(Debug, PartialEq)]
pub(crate) struct KnownCost {
    pub(crate) cost: GraphCost,
    /// Set if an earlier load has measured it, so that this one has not computed anything.
    pub(crate) is_stored: bool,
}

/// The memory of a graph whose load is not measured yet.
const UNKNOWN: MemoryPart = MemoryPart {
    key: None,
    bytes: 0,
};

impl GraphLoader {
    /// Loads the graph `name` of a model from `path`, with the backend of `choice`, if there is one.
    pub(crate) fn load(
        &self,
        (name, path): (&str, &Path),
        choice: Option<&BackendChoice>,
        options: &LoadOptions,
    ) -> Result<LoadedGraph, LoadError> {
        let choice = choice.unwrap_or(&self.choice);
        let identity = GraphIdentity::read(path, choice, options);
        let load = || self.load_file((name, path), choice, options);
        self.shared.get_or_load(&identity, load)
    }

    /// Returns the cost of the batches of a loaded graph, as an earlier load has measured it or as measured now.
    pub(crate) fn cost(&self, loaded: &LoadedGraph) -> Result<KnownCost, Unmeasured> {
        let graph: &dyn Graph = &*loaded.graph;
        let backend = self.backends.find(loaded.backend).ok();
        let place = loaded.content_key().zip(backend);
        if let Some((key, backend)) = place
            && let Some(cost) = self.selections.stored_cost(key, &**backend)
            && cost.may_be_of(graph)
        {
            return Ok(KnownCost {
                cost,
                is_stored: true,
            });
        }
        let cost = measure(graph)?;
        if let Some((key, backend)) = place {
            self.selections.store_cost(key, &**backend, &cost);
        }
        Ok(KnownCost {
            cost,
            is_stored: false,
        })
    }

    fn load_file(
        &self,
        (name, path): (&str, &Path),
        choice: &BackendChoice,
        options: &LoadOptions,
    ) -> Result<LoadedGraph, LoadError> {
        let file = GraphFile {
            path,
            options,
            probe: self.probe.as_ref(),
        };
        match choice {
            BackendChoice::Named(backend) => self.load_with(backend, &file).map_err(|error| {
                let graph = name.to_owned();
                match error {
                    GraphFileError::Backend(source) => LoadError::Graph { graph, source },
                    GraphFileError::Limits { backend, reason } => LoadError::Probe {
                        graph,
                        backend,
                        reason,
                    },
                }
            }),
            BackendChoice::Auto => {
                let selected = self.selections.select(&self.backends, &file);
                let selected = selected.map_err(|reason| LoadError::BackendSelection {
                    graph: name.to_owned(),
                    reason,
                })?;
                let (backend, threads) = (&*selected.backend, options.threads);
                Ok(LoadedGraph {
                    graph: with_rows(backend, selected.graph, threads, &self.workers),
                    backend: backend.name(),
                    selection: Some(selected.selection),
                    memory: UNKNOWN,
                    measured_bytes: 0,
                })
            }
        }
    }

    /// Loads the file with the backend of this name.
    fn load_with(
        &self,
        backend: &str,
        file: &GraphFile<'_>,
    ) -> Result<LoadedGraph, GraphFileError> {
        let backend = self.backends.find(backend);
        let backend = backend.map_err(GraphFileError::Backend)?;
        let (graph, threads) = (file.load(&**backend)?, file.options.threads);
        Ok(LoadedGraph {
            graph: with_rows(&**backend, graph, threads, &self.workers),
            backend: backend.name(),
            selection: None,
            memory: UNKNOWN,
            measured_bytes: 0,
        })
    }
}

#[cfg(test)]
mod tests;
