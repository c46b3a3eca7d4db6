//! Which [`ModelVersion`] a name means.
//!
//! Loaded once from a model repository; a model that cannot be served is kept with the reason, so
//! that the index can tell. Runs nothing.

pub mod load_error;
pub mod loader;
pub mod model_file;
pub mod repository;

use crate::version::ModelVersion;
use std::collections::BTreeMap;
use std::sync::Arc;
use wisp_protocol::call::{IndexEntry, ModelName, Target, Version};

/// The models of a repository. Lifetime: the process.
#[derive(Debug, Default)]
pub struct Registry {
    models: BTreeMap<ModelName, ModelEntry>,
}

/// The one version of a model that the policy (the highest) selects.
#[derive(Debug)]
pub struct ModelEntry {
    /// `None` when the model has no version at all.
    pub version: Option<Version>,
    /// The loaded version, or why there is none, written for clients: no path in it.
    pub state: Result<Arc<ModelVersion>, String>,
}

/// A name does not lead to a version that can answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("unknown model: `{model}`")]
    UnknownModel { model: ModelName },
    #[error("unknown version: `{model}` has no version {version}")]
    UnknownVersion { model: ModelName, version: Version },
    #[error("model `{model}` is unavailable: {reason}")]
    Unavailable { model: ModelName, reason: String },
}

impl Registry {
    pub fn new(models: BTreeMap<ModelName, ModelEntry>) -> Registry {
        Registry { models }
    }

    /// The version that `target` means, ready to be called.
    pub fn resolve(&self, target: &Target) -> Result<&Arc<ModelVersion>, ResolveError> {
        let model = &target.model;
        let unknown = || ResolveError::UnknownModel {
            model: model.clone(),
        };
        let entry = self.models.get(model).ok_or_else(unknown)?;
        if let Some(version) = target.version
            && entry.version != Some(version)
        {
            return Err(ResolveError::UnknownVersion {
                model: model.clone(),
                version,
            });
        }
        entry
            .state
            .as_ref()
            .map_err(|reason| ResolveError::Unavailable {
                model: model.clone(),
                reason: reason.clone(),
            })
    }

    /// Every model and its state, by name.
    pub fn index(&self) -> Vec<IndexEntry> {
        self.models
            .iter()
            .map(|(model, entry)| IndexEntry {
                model: model.clone(),
                version: entry.version,
                state: match &entry.state {
                    Ok(_) => Ok(()),
                    Err(reason) => Err(reason.clone()),
                },
            })
            .collect()
    }

    /// The models and their entries, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ModelName, &ModelEntry)> {
        self.models.iter()
    }
}
