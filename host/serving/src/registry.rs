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
use wisp_protocol::call::{
    IndexEntry, ModelName, Selection, Target, Version, VersionChoice, VersionLabel, VersionState,
};

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
    #[error("unknown version label: `{model}` has no label `{label}`")]
    UnknownLabel {
        model: ModelName,
        label: VersionLabel,
    },
    #[error("the path names no model and there are {models}: name one, as in `/predict/<model>`")]
    NotTheOnlyModel { models: usize },
    #[error("model `{model}` is unavailable: {reason}")]
    Unavailable { model: ModelName, reason: String },
}

impl Registry {
    pub fn new(models: BTreeMap<ModelName, ModelEntry>) -> Registry {
        Registry { models }
    }

    /// The version that an inference is asked of, ready to be called.
    pub fn select(&self, selection: &Selection) -> Result<&Arc<ModelVersion>, ResolveError> {
        match selection {
            Selection::Named(target) => self.resolve(target),
            Selection::OnlyModel => {
                let mut models = self.models.iter();
                match (models.next(), models.next()) {
                    (Some((model, entry)), None) => entry.ready(model),
                    _ => Err(ResolveError::NotTheOnlyModel {
                        models: self.models.len(),
                    }),
                }
            }
        }
    }

    /// The version that `target` means, ready to be called.
    pub fn resolve(&self, target: &Target) -> Result<&Arc<ModelVersion>, ResolveError> {
        self.entry(target)?.ready(&target.model)
    }

    /// The states of the versions that `target` means.
    pub fn states(&self, target: &Target) -> Result<Vec<IndexEntry>, ResolveError> {
        let entry = self.entry(target)?;
        Ok(vec![entry.index_entry(&target.model)])
    }

    fn entry(&self, target: &Target) -> Result<&ModelEntry, ResolveError> {
        let model = || target.model.clone();
        let unknown = || ResolveError::UnknownModel { model: model() };
        let entry = self.models.get(&target.model).ok_or_else(unknown)?;
        match &target.version {
            VersionChoice::Default => Ok(entry),
            VersionChoice::Number(version) if entry.version == Some(*version) => Ok(entry),
            VersionChoice::Number(version) => Err(ResolveError::UnknownVersion {
                model: model(),
                version: *version,
            }),
            VersionChoice::Label(label) => Err(ResolveError::UnknownLabel {
                model: model(),
                label: label.clone(),
            }),
        }
    }

    /// Every model and its state, by name.
    pub fn index(&self) -> Vec<IndexEntry> {
        self.models
            .iter()
            .map(|(model, entry)| entry.index_entry(model))
            .collect()
    }

    /// The models and their entries, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ModelName, &ModelEntry)> {
        self.models.iter()
    }
}

impl ModelEntry {
    fn ready(&self, model: &ModelName) -> Result<&Arc<ModelVersion>, ResolveError> {
        let unavailable = |reason: &String| ResolveError::Unavailable {
            model: model.clone(),
            reason: reason.clone(),
        };
        self.state.as_ref().map_err(unavailable)
    }

    fn index_entry(&self, model: &ModelName) -> IndexEntry {
        IndexEntry {
            model: model.clone(),
            version: self.version,
            state: match &self.state {
                Ok(_) => VersionState::Ready,
                Err(reason) => VersionState::Failed(reason.clone()),
            },
        }
    }
}
