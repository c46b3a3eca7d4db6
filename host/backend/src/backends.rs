//! The available backends, by name.

use crate::backend::Backend;
use crate::error::BackendError;
use std::sync::Arc;

/// The backends of a process and the default for models that name none. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct Backends {
    default: Arc<dyn Backend>,
    others: Vec<Arc<dyn Backend>>,
}

impl Backends {
    /// Returns these backends, with `default` for models that name none.
    pub fn new(default: Arc<dyn Backend>, others: Vec<Arc<dyn Backend>>) -> Backends {
        Backends { default, others }
    }

    /// Returns the backend of models that name none.
    pub fn default_backend(&self) -> &Arc<dyn Backend> {
        &self.default
    }

    /// Returns all backends, the default one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Backend>> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// Returns the backend called `name`, which may be unavailable.
    pub fn find(&self, name: &str) -> Result<&Arc<dyn Backend>, BackendError> {
        self.all()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| BackendError::Unknown {
                name: name.to_owned(),
                expected: self.all().map(|backend| backend.name()).collect(),
            })
    }
}
