//! Starts, changes, closes and restores releases: the part of the control that loads the versions of a release.
//!
//! A release or a change of one applies to requests first, and is written then.
//! Whenever the process ends, a restart finds the release as it was before or after the change.

use super::{ControlError, ModelControl, run};
use crate::registry::repository::{self, SelectedVersions};
use crate::registry::{LoadedVersion, ModelEntry, Registry};
use crate::release::rollout::Rollout;
use crate::version::ModelVersion;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use wisp_protocol::call::{ModelName, Version};
use wisp_protocol::release::{Phase, ReleaseChange, ReleaseRecord, ReleaseStart, ReleaseStatus};
use wisp_tensor::ElementType;

/// The release of a model that is loaded, and the versions that are loaded for it.
#[derive(Debug, Default)]
pub(super) struct PinnedRelease {
    pub(super) release: Option<Arc<Rollout>>,
    pub(super) versions: BTreeSet<Version>,
    /// Set if the files have a version of the release no longer, so that the load ends it.
    pub(super) is_gone: bool,
}

impl ModelControl {
    /// Starts a release of a model for a client, or changes the settings of the running one with this candidate.
    pub(crate) async fn start_release(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        (model, start): (ModelName, ReleaseStart),
    ) -> Result<ReleaseStatus, ControlError> {
        self.check()?;
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        let lock = self.locks.load(&model).await;
        run(move || {
            let _lock = lock;
            control.start_locked(&registry, &model, start)
        })
        .await?
    }

    /// Promotes, aborts or closes the release of a model for a client.
    pub(crate) async fn change_release(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        (model, change): (ModelName, ReleaseChange),
    ) -> Result<ReleaseStatus, ControlError> {
        self.check()?;
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        // A change loads nothing, and so does not wait for the loads of other models.
        let lock = self.locks.unload(&model).await;
        run(move || {
            let _lock = lock;
            control.change_locked(&registry, &model, change)
        })
        .await?
    }

    /// Continues the releases whose records are stored. One whose model or versions are gone is ignored.
    pub(crate) fn restore_releases(&self, registry: &Registry) {
        for (model, record) in self.releases.stored() {
            let candidate = record.candidate;
            match self.restore(registry, &model, record) {
                Ok(()) => tracing::info!(%model, %candidate, "continued a release"),
                Err(reason) => {
                    tracing::warn!(%model, %candidate, reason, "the record of a release is ignored");
                }
            }
        }
    }

    /// Adds the versions of the model's open release to those that are loaded from `path`.
    pub(super) fn pin_release(
        &self,
        path: &Path,
        selected: &mut SelectedVersions,
    ) -> PinnedRelease {
        let Some(release) = self.releases.find(&selected.model) else {
            return PinnedRelease::default();
        };
        let mut versions = BTreeSet::new();
        for version in release.versions() {
            if selected.files.iter().any(|files| files.version == version) {
                continue;
            }
            let files = match path.is_dir() {
                true => repository::files_of_version(path, version),
                false => Ok(None),
            };
            let Ok(Some(mut files)) = files else {
                return PinnedRelease {
                    is_gone: true,
                    ..PinnedRelease::default()
                };
            };
            files.config = selected
                .files
                .first()
                .and_then(|first| first.config.clone());
            selected.files.push(files);
            versions.insert(version);
        }
        selected.files.sort_by_key(|files| files.version);
        PinnedRelease {
            release: Some(release),
            versions,
            is_gone: false,
        }
    }

    /// Starts a release. The lock of the model is held.
    fn start_locked(
        &self,
        registry: &Registry,
        model: &ModelName,
        start: ReleaseStart,
    ) -> Result<ReleaseStatus, ControlError> {
        let refused = |reason: String| ControlError::Release {
            model: model.clone(),
            reason,
        };
        let entry = registry
            .entry(model)
            .map_err(|_| ControlError::UnknownModel {
                model: model.clone(),
            })?;
        let running = entry.release.as_ref();
        if let Some(running) = running.filter(|running| running.phase() == Phase::Running) {
            let stable = start.stable.unwrap_or(running.stable());
            if (stable, start.candidate) != (running.stable(), running.candidate()) {
                let candidate = running.candidate();
                return Err(refused(format!(
                    "the release of version {candidate} is running; promote or abort it first"
                )));
            }
            running.change_settings(start.settings);
            self.releases
                .store(running)
                .map_err(ControlError::ReleaseState)?;
            return Ok(running.status());
        }
        let current = entry.default_version(model);
        let current = current.map_err(|error| refused(error.to_string()))?;
        let stable = start.stable.unwrap_or(current.description().version);
        let candidate = start.candidate;
        if stable == candidate {
            return Err(refused(format!(
                "version {candidate} is the stable version already; name another candidate"
            )));
        }
        let next = self
            .with_versions(model, &entry, [stable, candidate])
            .map_err(refused)?;
        self.check_candidate(&next, stable, candidate)
            .map_err(refused)?;
        let rollout = Arc::new(Rollout::start(model, stable, start));
        self.enter(registry, next, &rollout);
        tracing::info!(%model, %candidate, %stable, "started a release");
        self.releases
            .store(&rollout)
            .map_err(ControlError::ReleaseState)?;
        Ok(rollout.status())
    }

    /// Serves the versions of `entry` with this release.
    fn enter(&self, registry: &Registry, entry: ModelEntry, rollout: &Arc<Rollout>) {
        self.releases.open(Arc::clone(rollout));
        let entry = ModelEntry {
            release: Some(Arc::clone(rollout)),
            ..entry
        };
        registry.replace(rollout.model().clone(), entry);
    }

    /// Checks that both versions can be called with the same requests, and that the candidate computes the golden cases,
    /// if they describe it.
    fn check_candidate(
        &self,
        entry: &ModelEntry,
        stable: Version,
        candidate: Version,
    ) -> Result<(), String> {
        let ready = |version: Version| match entry.versions.get(&version) {
            Some(LoadedVersion::Ready(loaded)) => Ok(loaded),
            _ => Err(format!("version {version} is not loaded")),
        };
        let (old, new) = (ready(stable)?, ready(candidate)?);
        for version in [old, new] {
            version
                .check_inference()
                .map_err(|error| error.to_string())?;
        }
        if !have_same_inputs(old, new) {
            return Err(format!(
                "version {candidate} has other inputs than version {stable}, so that requests for one would fail with \
                 the other"
            ));
        }
        let path = repository::model_path(&self.path, &new.description().model);
        let Ok(Some(path)) = path else {
            return Ok(());
        };
        let versions = repository::versions(&path).unwrap_or_default();
        let is_highest = versions.keys().next_back() == Some(&candidate);
        match is_highest
            .then(|| self.golden_failure(&path, new))
            .flatten()
        {
            Some(reason) => Err(format!("version {candidate}: {reason}")),
            None => Ok(()),
        }
    }

    /// Changes a release. The lock of the model is held.
    fn change_locked(
        &self,
        registry: &Registry,
        model: &ModelName,
        change: ReleaseChange,
    ) -> Result<ReleaseStatus, ControlError> {
        let release = self.releases.find(model);
        let release = release.ok_or_else(|| match registry.entry(model) {
            Ok(_) => ControlError::NoRelease {
                model: model.clone(),
            },
            Err(_) => ControlError::UnknownModel {
                model: model.clone(),
            },
        })?;
        match change {
            ReleaseChange::Promote => release.promote(),
            ReleaseChange::Abort => release.abort(),
            ReleaseChange::Close => {
                self.close(registry, &release)?;
                return Ok(release.status());
            }
        }
        let (candidate, stable) = (release.candidate(), release.stable());
        tracing::info!(%model, %candidate, %stable, ?change, "changed a release");
        self.releases
            .store(&release)
            .map_err(ControlError::ReleaseState)?;
        Ok(release.status())
    }

    /// Ends a release, if the files of the model select the version that is served now.
    fn close(&self, registry: &Registry, release: &Rollout) -> Result<(), ControlError> {
        let model = release.model();
        let refused = |reason: String| ControlError::Release {
            model: model.clone(),
            reason,
        };
        if release.phase() == Phase::Running {
            return Err(refused(
                "it is running; promote or abort it first".to_owned(),
            ));
        }
        let current = release.default_version();
        let mut next = without_release(registry, model);
        if next
            .as_ref()
            .is_some_and(|next| default(next, model) != Some(current))
        {
            // The files may select other versions by now than when they were loaded.
            self.load_from_repository(registry, model, Instant::now())?;
            next = without_release(registry, model);
        }
        if let Some(next) = &next
            && default(next, model) != Some(current)
        {
            let other = default(next, model);
            let other = other.map_or("none".to_owned(), |version| version.to_string());
            return Err(refused(format!(
                "version {current} is served, and without the release it would be {other}: set `versions` or `labels` \
                 in model.toml, and then close the release"
            )));
        }
        self.releases.forget(model);
        if let Some(next) = next {
            registry.replace(model.clone(), next);
        }
        tracing::info!(%model, "closed a release");
        self.releases
            .remove_record(model)
            .map_err(ControlError::ReleaseState)
    }

    /// Continues a release after a restart.
    fn restore(
        &self,
        registry: &Registry,
        model: &ModelName,
        record: ReleaseRecord,
    ) -> Result<(), String> {
        let entry = registry.entry(model);
        let entry = entry.map_err(|error| error.to_string())?;
        let versions = [record.stable, record.candidate];
        let next = self.with_versions(model, &entry, versions)?;
        let rollout = Arc::new(Rollout::restore(model, record));
        self.enter(registry, next, &rollout);
        Ok(())
    }

    /// Returns the entry with these versions, which are loaded unless they are ready, in place of those of an earlier
    /// release.
    fn with_versions(
        &self,
        model: &ModelName,
        entry: &ModelEntry,
        versions: [Version; 2],
    ) -> Result<ModelEntry, String> {
        let mut next = entry.without_release();
        for version in versions {
            let loaded = match entry.versions.get(&version) {
                Some(LoadedVersion::Ready(_)) if !entry.pinned.contains(&version) => continue,
                Some(LoadedVersion::Ready(loaded)) => Arc::clone(loaded),
                _ => self.load_pinned(model, version)?,
            };
            next.pinned.insert(version);
            next.versions.insert(version, LoadedVersion::Ready(loaded));
        }
        Ok(next)
    }

    /// Loads a version that the policy of the model need not select.
    fn load_pinned(
        &self,
        model: &ModelName,
        version: Version,
    ) -> Result<Arc<ModelVersion>, String> {
        let path = repository::model_path(&self.path, model);
        let path = path.map_err(|error| error.client_reason())?;
        let files = match path.filter(|path| path.is_dir()) {
            Some(path) => repository::files_of_version(&path, version),
            None => Ok(None),
        };
        let files = files.map_err(|error| error.client_reason())?;
        let files =
            files.ok_or_else(|| format!("there is no version {version} in its directory"))?;
        let loaded = self.loader.load_version(&files);
        (self.observer)(model.as_str(), loaded.as_ref());
        loaded.map_err(|error| format!("version {version}: {}", error.client_reason()))
    }
}

/// Returns the entry of a model without its release. Returns `None` if the model is not served with one.
fn without_release(registry: &Registry, model: &ModelName) -> Option<ModelEntry> {
    let entry = registry.entry(model).ok();
    let entry = entry.filter(|entry| entry.release.is_some())?;
    Some(entry.without_release())
}

/// Returns the version that requests without a version get.
fn default(entry: &ModelEntry, model: &ModelName) -> Option<Version> {
    let version = entry.default_version(model).ok()?;
    Some(version.description().version)
}

/// Returns whether both versions take inputs of the same names and element types.
fn have_same_inputs(one: &ModelVersion, other: &ModelVersion) -> bool {
    let inputs = |version: &ModelVersion| {
        let inputs = version.description().signature.inputs.iter();
        let mut inputs: Vec<(String, ElementType)> = inputs
            .map(|input| (input.name.clone(), input.element_type))
            .collect();
        inputs.sort_by(|(a, _), (b, _)| a.cmp(b));
        inputs
    };
    inputs(one) == inputs(other)
}
