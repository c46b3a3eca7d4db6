//! A graph file on its way to a backend: tried in a child process first, then loaded here.

use crate::registry::graph_probe::GraphProbe;
use std::path::Path;
use std::sync::Arc;
use wisp_backend::{Backend, BackendError, Graph, LoadOptions, ModelSource};
use wisp_sandbox::limited_process::ChildError;

/// The file of a graph and the settings to load it with. Lifetime: one load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GraphFile<'a> {
    pub(crate) path: &'a Path,
    pub(crate) options: &'a LoadOptions,
    /// The child process that tries the file first, if one does.
    pub(crate) probe: Option<&'a GraphProbe>,
}

/// The reason that a backend does not load a graph file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GraphFileError {
    #[error(transparent)]
    Backend(BackendError),
    /// The backend exceeded the limits of the child process, or crashed it.
    #[error("{backend} cannot load the model within the limits of a load: {reason}")]
    Limits {
        backend: &'static str,
        reason: ChildError,
    },
}

impl GraphFile<'_> {
    /// Loads the file with this backend, within the limits of the child process.
    pub(crate) fn load(&self, backend: &dyn Backend) -> Result<Arc<dyn Graph>, GraphFileError> {
        if let Some(probe) = self.probe {
            let checked = probe.check(self.path, backend, self.options);
            checked.map_err(|reason| GraphFileError::Limits {
                backend: backend.name(),
                reason,
            })?;
        }
        let loaded = backend.load(ModelSource::Path(self.path), self.options);
        loaded.map_err(GraphFileError::Backend)
    }
}

impl GraphFileError {
    /// Returns whether the error is about a backend or device that this machine or build does not have.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, GraphFileError::Backend(error) if error.is_unavailable())
    }

    /// Returns the reason without the name of the backend.
    pub(crate) fn into_reason(self) -> String {
        match self {
            GraphFileError::Backend(BackendError::Read(error)) => {
                format!("the file cannot be read: {error}")
            }
            GraphFileError::Backend(error) => error.into_reason(),
            GraphFileError::Limits { reason, .. } => {
                format!("it exceeds the limits of a load: {reason}")
            }
        }
    }
}
