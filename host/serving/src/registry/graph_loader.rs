//! Loads the file of a graph with the backend that the model or the server chose.

use crate::per_row_graph::load_graph;
use crate::registry::backend_selection::{
    BackendSelection, BackendSelectionError, BackendSelectionStore,
};
use crate::registry::graph_probe::GraphProbe;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{BackendChoice, ModelFile};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use wisp_backend::{Backend, Backends, Graph, LoadOptions};

/// The backends and the choice among them. Lifetime: the process.
#[derive(Debug)]
pub struct GraphLoader {
    pub backends: Backends,
    /// The choice for models that do not make one.
    pub choice: BackendChoice,
    /// The stored choices by measurement.
    pub selections: BackendSelectionStore,
    /// The child process that tries files which this process has not loaded before. Without it,
    /// files are loaded here directly.
    pub probe: Option<GraphProbe>,
}

/// A graph that a backend has loaded.
#[derive(Debug)]
pub(crate) struct LoadedGraph {
    pub(crate) graph: Arc<dyn Graph>,
    /// The name of the backend.
    pub(crate) backend: &'static str,
    /// The measurements, if the backend was selected by them.
    pub(crate) selection: Option<BackendSelection>,
}

impl GraphLoader {
    /// Loads the graph `name` of a model from `path`.
    pub(crate) fn load(
        &self,
        name: &str,
        path: &Path,
        model_file: &ModelFile,
    ) -> Result<LoadedGraph, LoadError> {
        let options = LoadOptions {
            device: model_file.device.unwrap_or_default(),
            threads: model_file.threads.unwrap_or(NonZeroUsize::MIN),
        };
        let failed = |source| LoadError::Graph {
            graph: name.to_owned(),
            source,
        };
        // Checks that a backend loads the file within the process limits.
        let check = |backend: &dyn Backend| match &self.probe {
            None => Ok(()),
            Some(probe) => {
                let checked = probe.check(path, backend, &options);
                checked.map_err(|reason| LoadError::Probe {
                    graph: name.to_owned(),
                    backend: backend.name(),
                    reason,
                })
            }
        };
        match model_file.backend.as_ref().unwrap_or(&self.choice) {
            BackendChoice::Named(backend) => {
                let backend = self.backends.find(backend).map_err(failed)?;
                check(&**backend)?;
                Ok(LoadedGraph {
                    graph: load_graph(&**backend, path, &options).map_err(failed)?,
                    backend: backend.name(),
                    selection: None,
                })
            }
            BackendChoice::Auto => {
                for backend in self.backends.all() {
                    check(&**backend)?;
                }
                let selected = self.selections.select(&self.backends, path, &options);
                let selected = selected.map_err(|error| match error {
                    BackendSelectionError::Backend(source) => failed(source),
                    store @ BackendSelectionError::Store { .. } => {
                        LoadError::BackendSelection(store)
                    }
                })?;
                Ok(LoadedGraph {
                    graph: selected.graph,
                    backend: selected.backend.name(),
                    selection: Some(selected.selection),
                })
            }
        }
    }
}
