//! The batching of a graph as an earlier load has chosen it, for readers that do not load the graph.

use crate::cost_curve::BatchingDecision;
use crate::registry::backend_selection::BackendSelectionStore;
use crate::registry::batching_choice::by_cost;
use crate::registry::model_file::{BackendChoice, ModelFile};
use crate::registry::shared_graphs::GraphIdentity;
use std::num::NonZeroUsize;
use std::path::Path;
use wisp_backend::{Backends, LoadOptions};

/// The file of a graph, and the settings of its model. Lifetime: one query.
#[derive(Debug, Clone, Copy)]
pub struct GraphOfModel<'a> {
    pub path: &'a Path,
    pub model_file: &'a ModelFile,
    /// The settings that the graph is loaded with.
    pub options: &'a LoadOptions,
}

impl GraphOfModel<'_> {
    /// Returns the automatic choice for this graph by the stored cost of its batches. Returns `None` if no load has
    /// measured the graph with the backend that it is loaded with.
    pub fn stored_choice(
        &self,
        backends: &Backends,
        selections: &BackendSelectionStore,
    ) -> Option<BatchingDecision> {
        let GraphOfModel {
            path,
            model_file,
            options,
        } = *self;
        // Such models are not measured.
        if matches!(model_file.max_batch_size, Some(0 | 1)) {
            return None;
        }
        let choice = model_file.backend.clone().unwrap_or(BackendChoice::Auto);
        let backend = match &choice {
            BackendChoice::Named(name) => name.clone(),
            BackendChoice::Auto => selections.stored_backend(backends, path, options)?,
        };
        let backend = backends.find(&backend).ok()?;
        let identity = GraphIdentity::read(path, &choice, options);
        let cost = selections.stored_cost(identity.key()?, &**backend)?;
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = model_file.instances.unwrap_or(cores);
        Some(by_cost(model_file.max_batch_size, &cost, threads))
    }
}
