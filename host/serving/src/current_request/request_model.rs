//! The model that a request names, for the line that is logged when the request ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wisp_protocol::call::{ModelName, Version};

/// The model of one request, as far as it is known. Clones share the value. Lifetime: one request.
#[derive(Debug, Clone, Default)]
pub struct RequestModel(Arc<Mutex<Option<NamedModel>>>);

/// A model, and its version once that is known.
#[derive(Debug)]
struct NamedModel {
    name: ModelName,
    version: Option<Version>,
}

impl RequestModel {
    /// Returns the model that the request has named, which need not exist.
    pub fn name(&self) -> Option<ModelName> {
        self.lock().as_ref().map(|model| model.name.clone())
    }

    /// Returns the version that the request has named or was given.
    pub fn version(&self) -> Option<Version> {
        self.lock().as_ref()?.version
    }

    pub(super) fn set(&self, name: &ModelName, version: Option<Version>) {
        match &mut *self.lock() {
            Some(model) if model.name == *name => model.version = version,
            model => {
                *model = Some(NamedModel {
                    name: name.clone(),
                    version,
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<NamedModel>> {
        // Every change is a single assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
