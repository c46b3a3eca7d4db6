//! From a graph's file to the engine that computes it, as the model or the server chose.

use crate::registry::decision::{Decision, DecisionError, DecisionStore};
use crate::registry::graph_probe::GraphProbe;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{BackendChoice, ModelFile};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use wisp_backend::{Backend, Backends, Graph, LoadOptions};

/// The engines, and which of them computes what. Lifetime: the process.
#[derive(Debug)]
pub struct GraphLoader {
    pub backends: Backends,
    /// The choice for models that make none.
    pub choice: BackendChoice,
    /// Where choices by measurement are kept.
    pub decisions: DecisionStore,
    /// What tries files that this process has not loaded before; without it, this process does.
    pub probe: Option<GraphProbe>,
}

/// A graph in its engine.
#[derive(Debug)]
pub(crate) struct LoadedGraph {
    pub(crate) graph: Arc<dyn Graph>,
    /// The engine's name.
    pub(crate) backend: &'static str,
    /// How it was chosen, where it was chosen by measurement.
    pub(crate) decision: Option<Decision>,
}

impl GraphLoader {
    /// Load graph `name` of a model from `path`.
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
        // Whether an engine loads the file within the limits on that.
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
                    graph: backend.load(path, &options).map_err(failed)?,
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
