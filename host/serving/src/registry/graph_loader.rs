//! Loads the file of a graph with the backend that the model or the server chose.

use crate::per_row_graph::load_graph;
use crate::registry::decision::{Decision, DecisionError, DecisionStore};
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
    pub decisions: DecisionStore,
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
    /// The decision, if the backend was chosen by measurement.
    pub(crate) decision: Option<Decision>,
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
                    decision: None,
                })
            }
            BackendChoice::Auto => {
                for backend in self.backends.all() {
                    check(&**backend)?;
                }
                let decided = self.decisions.decide(&self.backends, path, &options);
                let decided = decided.map_err(|error| match error {
                    DecisionError::Backend(source) => failed(source),
                    kept @ DecisionError::Keep { .. } => LoadError::Decision(kept),
                })?;
                Ok(LoadedGraph {
                    graph: decided.graph,
                    backend: decided.backend.name(),
                    decision: Some(decided.decision),
                })
            }
        }
    }
}
