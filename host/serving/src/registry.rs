//! The registry that resolves names to a [`ModelVersion`].
//!
//! A model that cannot be served is kept with the reason, for the index, and so are entries of the repository that are
//! no models. An entry is replaced as a whole:
//! a lookup returns either the versions before or those after the change. A version that a request holds
//! lives until the request has ended. `model_entry` answers for one entry. The registry does not run or load models.

pub mod backend_selection;
pub mod baseline_file;
pub mod batch_axis;
pub mod batching;
pub mod batching_choice;
pub mod class_labels;
mod code_memory;
mod component_file;
pub mod config_override;
mod config_value;
pub(crate) mod configuration;
mod contained_path;
pub(crate) mod dormancy;
mod example;
pub(crate) mod golden_cases;
pub mod grant_policy;
pub(crate) mod graph_file;
pub mod graph_loader;
pub mod graph_probe;
pub mod handler_configuration;
pub mod initialized_handler;
pub mod input_format;
mod limits_section;
pub mod load_child;
pub mod load_error;
pub mod load_task;
mod loaded_graph;
pub mod loader;
mod model_entry;
pub mod model_file;
mod model_file_error;
mod model_name;
mod model_sections;
mod model_settings;
pub(crate) mod omissions;
mod quality_loader;
pub mod quality_settings;
mod quick_graph;
mod record_name;
pub mod repository;
pub mod repository_loader;
pub(crate) mod route_check;
pub mod shared_graphs;
pub mod signature_error;
pub mod skipped_entry;
pub mod snapshot;
pub mod stored_batching;
mod tenant_loader;
pub mod triton_config;
pub(crate) mod uploaded_model;
pub mod value_section;
mod version_content;
pub mod version_description;
pub mod version_directory;
mod version_files;
mod version_selection;
pub mod version_signature;
mod web_loader;
pub mod web_route;
#[cfg(test)]
pub(crate) mod word_loader;

use crate::release::rollout::Rollout;
use crate::statistics::Statistics;
use crate::version::ModelVersion;
use skipped_entry::SkippedEntry;
use snapshot::ModelFiles;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tokio::sync::watch;
use web_route::WebRoute;
use wisp_protocol::call::{
    IndexEntry, ModelName, Selection, Target, Version, VersionLabel, VersionState,
};
use wisp_protocol::routing::RoutingKey;
use wisp_protocol::statistics::VersionStatistics;
use wisp_protocol::target::UnknownTarget;

/// The models of a repository. Lifetime: the process.
#[derive(Debug, Default)]
pub struct Registry {
    models: RwLock<BTreeMap<ModelName, Arc<ModelEntry>>>,
    /// The entries of the repository that are no models.
    skipped: RwLock<Vec<SkippedEntry>>,
    /// Notified at every change.
    changes: watch::Sender<()>,
}

/// One model as it was last loaded or unloaded.
#[derive(Debug, Clone, Default)]
pub struct ModelEntry {
    /// The versions that the model's policy selects, and the versions of an open release.
    pub versions: BTreeMap<Version, LoadedVersion>,
    pub labels: BTreeMap<VersionLabel, Version>,
    /// The open release, which decides about requests without a version.
    pub release: Option<Arc<Rollout>>,
    /// The versions that are loaded for the release only.
    pub pinned: BTreeSet<Version>,
    /// The reason that there are no versions. It is for clients and contains no path.
    pub problem: Option<String>,
    /// Set if the server is not ready because of this model: it is not optional, and could not be loaded when
    /// the server started.
    pub blocks_readiness: bool,
    /// The directories that look like versions and are none, and the failures of a load that the versions were kept
    /// after.
    pub unserved: Vec<UnservedVersion>,
    /// The names of the fields in its `config.pbtxt` that have no effect.
    pub ignored_settings: Vec<String>,
    /// The state of its files before they were loaded. `None` if the next load reads them even if they are unchanged,
    /// because a client sent others or a configuration.
    pub files: Option<ModelFiles>,
    /// The route of a web component that is not loaded, if its model file sets one or it has been loaded before.
    pub dormant_route: Option<WebRoute>,
}

/// Something in the directory of a model that is not served, besides its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnservedVersion {
    pub version: Option<Version>,
    /// The reason. It is for clients and contains no path.
    pub reason: String,
    /// Set if it looks like a version and is none, which no load has to find out.
    pub is_skipped: bool,
}

/// A version that can be called, or the reason that it cannot.
#[derive(Debug, Clone)]
pub enum LoadedVersion {
    Ready(Arc<ModelVersion>),
    Unloaded,
    /// The first request loads it. It has statistics if it was loaded before.
    Dormant(Option<Arc<Statistics>>),
    /// The reason is for clients and contains no path.
    Failed(String),
}

/// The reason that a name does not resolve to a version that can be called.
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
    AmbiguousModel { models: usize },
    #[error("model `{model}` is unloaded and has no available versions")]
    Unloaded { model: ModelName },
    #[error("model `{model}` is not loaded yet")]
    Dormant { model: ModelName },
    #[error("model `{model}` is unavailable: {reason}")]
    Unavailable { model: ModelName, reason: String },
}

// === impl ResolveError ===

impl ResolveError {
    /// Returns the model or version that does not exist, if that is the reason.
    pub fn unknown_target(&self) -> Option<UnknownTarget> {
        match self {
            ResolveError::UnknownModel { model } => Some(UnknownTarget::model(model)),
            ResolveError::UnknownVersion { model, version } => {
                Some(UnknownTarget::version(model, *version))
            }
            ResolveError::Unloaded { model } => Some(UnknownTarget::Unloaded(model.clone())),
            ResolveError::UnknownLabel { .. }
            | ResolveError::AmbiguousModel { .. }
            | ResolveError::Dormant { .. }
            | ResolveError::Unavailable { .. } => None,
        }
    }
}

// === impl UnservedVersion ===

impl UnservedVersion {
    /// Returns an entry of a model's directory that looks like a version and is none.
    pub fn skipped(reason: String) -> UnservedVersion {
        UnservedVersion {
            version: None,
            reason,
            is_skipped: true,
        }
    }
}

// === impl Registry ===

impl Registry {
    /// Returns a registry of these models.
    pub fn new(models: BTreeMap<ModelName, ModelEntry>) -> Registry {
        let models = models.into_iter();
        Registry {
            models: RwLock::new(
                models
                    .map(|(name, entry)| (name, Arc::new(entry)))
                    .collect(),
            ),
            skipped: RwLock::default(),
            changes: watch::Sender::default(),
        }
    }

    /// Replaces the entries of the repository that are no models.
    pub fn set_skipped(&self, skipped: Vec<SkippedEntry>) {
        *self.skipped.write().unwrap_or_else(PoisonError::into_inner) = skipped;
    }

    /// Returns the entries of the repository that are no models, by name.
    pub fn skipped(&self) -> Vec<SkippedEntry> {
        let skipped = self.skipped.read().unwrap_or_else(PoisonError::into_inner);
        let mut skipped = skipped.clone();
        let models = self.read();
        // A directory that a client loaded after it had become a model is one.
        skipped.retain(|entry| !models.keys().any(|model| model.as_str() == entry.name));
        skipped
    }

    /// Returns a receiver that is notified of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns the model and the version that an inference names.
    pub fn target(&self, selection: &Selection) -> Result<Target, ResolveError> {
        match selection {
            Selection::Named(target) => Ok(target.clone()),
            Selection::OnlyModel(version) => Ok(Target {
                model: self.only_model()?,
                version: version.clone(),
            }),
        }
    }

    /// Returns the ready version that an inference selects. Without a version, an open release decides by the key.
    pub fn route(
        &self,
        target: &Target,
        key: RoutingKey,
    ) -> Result<Arc<ModelVersion>, ResolveError> {
        let model = &target.model;
        let entry = self.entry(model)?;
        match (entry.number(target)?, &entry.release) {
            (Some(version), _) => entry.version(model, version),
            (None, Some(release)) => entry.version(model, release.choose(key)),
            (None, None) => entry.default_version(model),
        }
    }

    fn only_model(&self) -> Result<ModelName, ResolveError> {
        let models = self.read();
        let mut names = models.keys();
        match (names.next(), names.next()) {
            (Some(model), None) => Ok(model.clone()),
            _ => Err(ResolveError::AmbiguousModel {
                models: models.len(),
            }),
        }
    }

    /// Returns the ready version that `target` names.
    pub fn resolve(&self, target: &Target) -> Result<Arc<ModelVersion>, ResolveError> {
        let model = &target.model;
        let entry = self.entry(model)?;
        match entry.number(target)? {
            Some(version) => entry.version(model, version),
            None => entry.default_version(model),
        }
    }

    /// Returns the statistics of the versions that `target` names and that can be called: one version, or all those of
    /// its model, at least one.
    pub fn statistics(&self, target: &Target) -> Result<Vec<VersionStatistics>, ResolveError> {
        let model = &target.model;
        let entry = self.entry(model)?;
        let chosen = entry.number(target)?;
        let called = match chosen {
            Some(version) => entry.version(model, version),
            None => entry.newest(model),
        };
        match called {
            Ok(_) | Err(ResolveError::Dormant { .. }) => {}
            Err(error) => return Err(error),
        }
        let versions = entry.versions.iter();
        let versions =
            versions.filter(|(number, _)| chosen.is_none_or(|chosen| chosen == **number));
        let statistics = versions.filter_map(|(number, version)| match version {
            // A version that was never loaded has had no requests.
            LoadedVersion::Dormant(None) => Some(Statistics::default().snapshot_as(model, *number)),
            version => version.statistics(model, *number),
        });
        Ok(statistics.collect())
    }

    /// Returns whether the named version can be called now or once its load, which the first request begins, has ended.
    pub fn is_callable(&self, target: &Target) -> bool {
        match self.resolve(target) {
            Ok(_) | Err(ResolveError::Dormant { .. }) => true,
            Err(_) => false,
        }
    }

    /// Returns the states of the versions that `target` names: one version, or all versions of its model.
    pub fn states(&self, target: &Target) -> Result<Vec<IndexEntry>, ResolveError> {
        let entry = self.entry(&target.model)?;
        let chosen = entry.number(target)?;
        let mut states = entry.states(&target.model);
        states.retain(|state| chosen.is_none() || state.version == chosen);
        Ok(states)
    }

    /// Returns every version of every model and its state, by name and number, and the skipped entries.
    pub fn index(&self) -> Vec<IndexEntry> {
        let skipped = self.skipped().into_iter().map(|entry| IndexEntry {
            name: entry.name,
            version: None,
            state: VersionState::Failed(entry.reason),
        });
        let models = self.read();
        let states = models.iter().flat_map(|(model, entry)| entry.states(model));
        let mut index: Vec<IndexEntry> = states.chain(skipped).collect();
        index.sort_by(|a, b| a.name.cmp(&b.name));
        index
    }

    /// Returns the model whose web component serves this path: the one with the longest route, or the one whose
    /// default route it would be.
    pub fn web_model(&self, path: &str) -> Option<ModelName> {
        let models = self.read();
        let routed = models.iter().filter_map(|(model, entry)| {
            let route = entry.route().filter(|route| route.contains(path))?;
            Some((route.as_str().len(), model))
        });
        if let Some((_, model)) = routed.max_by_key(|(length, _)| *length) {
            return Some(model.clone());
        }
        // It has no route because it has failed to load, or is not loaded yet.
        let model = WebRoute::default_model(path)?;
        let is_down = models.get(&model).is_some_and(|entry| !entry.has_loaded());
        is_down.then_some(model)
    }

    /// Returns the models and their entries, by name.
    pub fn entries(&self) -> Vec<(ModelName, Arc<ModelEntry>)> {
        let models = self.read();
        let entries = models.iter();
        entries
            .map(|(model, entry)| (model.clone(), Arc::clone(entry)))
            .collect()
    }

    /// Returns the current entry of a model.
    pub fn entry(&self, model: &ModelName) -> Result<Arc<ModelEntry>, ResolveError> {
        let entry = self.read().get(model).map(Arc::clone);
        entry.ok_or_else(|| ResolveError::UnknownModel {
            model: model.clone(),
        })
    }

    /// Returns whether at least one model can be called and no model blocks the readiness of the server.
    pub fn is_ready(&self) -> bool {
        let models = self.read();
        models.values().any(|entry| entry.is_ready())
            && !models.values().any(|entry| entry.blocks_readiness)
    }

    /// Replaces the entry of a model. Versions that both entries have continue their counters.
    pub fn replace(&self, model: ModelName, entry: ModelEntry) {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = models.get(&model) {
            entry.continue_counters(before);
        }
        let before = models.insert(model, Arc::new(entry));
        drop(models);
        self.changes.send_replace(());
        // Stopping the threads of a version takes time and so happens outside the lock.
        drop(before);
    }

    /// Replaces the entries that look like versions of the model but are not. Returns the entry before and the new one if they differ.
    pub(crate) fn set_skipped_versions(
        &self,
        model: &ModelName,
        reasons: &[String],
    ) -> Option<[Arc<ModelEntry>; 2]> {
        // Most polls find what is entered already, and exclude no request.
        if self.entry(model).ok()?.skips(reasons) {
            return None;
        }
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        let entry = models.get_mut(model)?;
        let before = Arc::clone(entry);
        *entry = Arc::new(before.with_skipped(reasons));
        let after = Arc::clone(entry);
        drop(models);
        self.changes.send_replace(());
        Some([before, after])
    }

    /// Removes a model.
    pub fn remove(&self, model: &ModelName) {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        let before = models.remove(model);
        drop(models);
        self.changes.send_replace(());
        drop(before);
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<ModelName, Arc<ModelEntry>>> {
        // No code panics while the lock is held, so a poisoned lock still guards a consistent map.
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl LoadedVersion ===

impl LoadedVersion {
    /// Returns the statistics of the version, if it is or was loaded.
    pub(crate) fn statistics(
        &self,
        model: &ModelName,
        number: Version,
    ) -> Option<VersionStatistics> {
        match self {
            LoadedVersion::Ready(loaded) => Some(loaded.statistics_snapshot()),
            LoadedVersion::Dormant(kept) => Some(kept.as_ref()?.snapshot_as(model, number)),
            LoadedVersion::Unloaded | LoadedVersion::Failed(_) => None,
        }
    }
}
