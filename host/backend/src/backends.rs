//! The engines there are, by name.

use crate::{Backend, BackendError};
use std::sync::Arc;

/// The engines of a process and the one that models get which ask for none. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct Backends {
    default: Arc<dyn Backend>,
    others: Vec<Arc<dyn Backend>>,
}

impl Backends {
    /// These engines; models that name none get `default`.
    pub fn new(default: Arc<dyn Backend>, others: Vec<Arc<dyn Backend>>) -> Backends {
        Backends { default, others }
    }

    /// The engine of models that name none.
    pub fn default_backend(&self) -> &Arc<dyn Backend> {
        &self.default
    }

    /// All of them, the default one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn Backend>> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// The engine called `name`, which need not be available.
    pub fn find(&self, name: &str) -> Result<&Arc<dyn Backend>, BackendError> {
        self.all()
            .find(|backend| backend.name() == name)
            .ok_or_else(|| BackendError::Unknown {
                name: name.to_owned(),
                expected: self.all().map(|backend| backend.name()).collect(),
            })
    }
}
