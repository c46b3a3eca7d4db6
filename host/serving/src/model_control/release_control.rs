//! Starts, changes, closes and restores releases: the part of the control that loads the versions of a release.
//!
//! A release or a change of one applies to requests first, and is written then.
//! Whenever the process ends, a restart finds the release as it was before or after the change.

use super::control_error::no_room;
use super::load_source::Asked;
use super::{ControlError, ModelControl, run};
use crate::registry::dormancy::expected_bytes_of;
use crate::registry::repository::{self, SelectedVersions, VersionFiles};
use crate::registry::{LoadedVersion, ModelEntry, Registry};
use crate::release::rollout::Rollout;
use crate::residency::ReservedRoom;
use crate::version::ModelVersion;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
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

/// The entry of a model with the versions of a release.
struct Prepared {
    entry: ModelEntry,
    /// The room of the versions that have been loaded for it, and the time at which they were asked for.
    loaded: Option<(ReservedRoom, Asked)>,
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
        let lock = self.locks.load(&model, self.owner).await;
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
        let lock = match change {
            // The end of a release may load the model.
            ReleaseChange::Close => self.locks.load(&model, self.owner).await,
            // These load nothing, and so do not wait for the loads of other models.
            ReleaseChange::Promote | ReleaseChange::Abort => self.locks.unload(&model).await,
        };
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
        let find = || {
            let entry = registry.entry(model);
            entry.map_err(|_| ControlError::UnknownModel {
                model: model.clone(),
            })
        };
        let (asked, _loading) = (Asked::by_client(), self.residency.loading(model));
        let mut entry = find()?;
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
        if entry.is_dormant() {
            self.load_from_repository(registry, model, asked)?;
            entry = find()?;
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
        let is_ready = |version: &Version| {
            matches!(entry.versions.get(version), Some(LoadedVersion::Ready(_)))
        };
        if ![stable, candidate].iter().all(is_ready) {
            self.pressure.check_load()?;
        }
        let versions = ([stable, candidate], asked);
        let prepared = self
            .with_versions(registry, (model, &entry), versions)
            .map_err(refused)?;
        self.check_candidate(&prepared.entry, stable, candidate)
            .map_err(refused)?;
        let rollout = Arc::new(match &entry.release {
            Some(earlier) => Rollout::start_after(earlier, stable, start),
            None => Rollout::start(model, stable, start),
        });
        self.enter(registry, prepared, &rollout);
        tracing::info!(%model, %candidate, %stable, "started a release");
        self.releases
            .store(&rollout)
            .map_err(ControlError::ReleaseState)?;
        Ok(rollout.status())
    }

    /// Serves the versions of `entry` with this release.
    fn enter(&self, registry: &Registry, prepared: Prepared, rollout: &Arc<Rollout>) {
        let Prepared { mut entry, loaded } = prepared;
        let model = rollout.model();
        self.releases.open(Arc::clone(rollout));
        entry.release = Some(Arc::clone(rollout));
        match loaded {
            Some((room, asked)) => {
                let took = asked.elapsed();
                self.residency
                    .enter(registry, (model, &entry), (room, took));
            }
            None => self.residency.update(model, &entry),
        }
        registry.replace(model.clone(), entry);
    }

    /// Ends the release of a model whose files have one of its versions no longer.
    pub(super) fn end_release(&self, model: &ModelName) {
        self.releases.forget(model);
        tracing::warn!(%model, "the release has ended, because one of its versions is gone");
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
        let _loading = self.residency.loading(model);
        let current = release.default_version();
        let mut next = without_release(registry, model);
        if next
            .as_ref()
            .is_some_and(|next| default(next, model) != Some(current))
        {
            // The files may select other versions by now than when they were loaded.
            self.load_from_repository(registry, model, Asked::by_client())?;
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
            self.residency.update(model, &next);
            registry.replace(model.clone(), next);
        }
        tracing::info!(%model, "closed a release");
        self.releases
            .remove_record(model)
            .map_err(ControlError::ReleaseState)
    }

    /// Continues a release after a restart. The first request of a model that is not loaded loads its versions too.
    fn restore(
        &self,
        registry: &Registry,
        model: &ModelName,
        record: ReleaseRecord,
    ) -> Result<(), String> {
        let entry = registry.entry(model);
        let entry = entry.map_err(|error| error.to_string())?;
        let versions = [record.stable, record.candidate];
        if entry.is_dormant() {
            let mut next = entry.without_release();
            for version in versions {
                if let Entry::Vacant(vacant) = next.versions.entry(version) {
                    self.files_of(model, version)?;
                    vacant.insert(LoadedVersion::Dormant(None));
                    next.pinned.insert(version);
                }
            }
            let rollout = Arc::new(Rollout::restore(model, record));
            next.release = Some(Arc::clone(&rollout));
            self.releases.open(rollout);
            registry.replace(model.clone(), next);
            return Ok(());
        }
        let _loading = self.residency.loading(model);
        let versions = (versions, Asked::at(Instant::now()));
        let prepared = self.with_versions(registry, (model, &entry), versions)?;
        let rollout = Arc::new(Rollout::restore(model, record));
        self.enter(registry, prepared, &rollout);
        Ok(())
    }

    /// Returns the entry with these versions, which are loaded unless they are ready, in place of those of an earlier
    /// release.
    fn with_versions(
        &self,
        registry: &Registry,
        (model, entry): (&ModelName, &ModelEntry),
        (versions, asked): ([Version; 2], Asked),
    ) -> Result<Prepared, String> {
        let mut missing: BTreeMap<Version, VersionFiles> = BTreeMap::new();
        for version in versions {
            if !matches!(entry.versions.get(&version), Some(LoadedVersion::Ready(_))) {
                missing.insert(version, self.files_of(model, version)?);
            }
        }
        let mut loaded = None;
        if !missing.is_empty() {
            let expected = missing.values().map(expected_bytes_of);
            let expected = expected.fold(0, u64::saturating_add);
            let reserve = || self.residency.make_more_room(registry, model, expected);
            let room = asked.wait_for_room(reserve);
            loaded = Some((room.map_err(|reason| reason.to_string())?, asked));
        }
        let mut next = entry.without_release();
        for version in versions {
            let is_selected =
                entry.versions.contains_key(&version) && !entry.pinned.contains(&version);
            let ready = match (entry.versions.get(&version), missing.get(&version)) {
                (_, Some(files)) => self.load_pinned(files)?,
                (Some(LoadedVersion::Ready(ready)), None) => Arc::clone(ready),
                (_, None) => return Err(format!("version {version} is not loaded")),
            };
            if !is_selected {
                next.pinned.insert(version);
            }
            next.versions.insert(version, LoadedVersion::Ready(ready));
        }
        let checked = self.residency.check(&next);
        checked.map_err(|reason| no_room(reason, self.is_of_tenant))?;
        Ok(Prepared {
            entry: next,
            loaded,
        })
    }

    /// Returns the files of a version that the policy of the model need not select.
    fn files_of(&self, model: &ModelName, version: Version) -> Result<VersionFiles, String> {
        let path = repository::model_path(&self.path, model);
        let path = path.map_err(|error| error.client_reason())?;
        let files = match path.filter(|path| path.is_dir()) {
            Some(path) => repository::files_of_version(&path, version),
            None => Ok(None),
        };
        let files = files.map_err(|error| error.client_reason())?;
        files.ok_or_else(|| format!("there is no version {version} in its directory"))
    }

    /// Loads a version for a release.
    fn load_pinned(&self, files: &VersionFiles) -> Result<Arc<ModelVersion>, String> {
        let started = Instant::now();
        let expected = self.expect_load(expected_bytes_of(files));
        let _expected_load = expected.map_err(|error| error.to_string())?;
        let loaded = self.loader.load_version(files);
        (self.observer)(files.model.as_str(), loaded.as_ref());
        let version = files.version;
        let loaded =
            loaded.map_err(|error| format!("version {version}: {}", error.client_reason()))?;
        loaded.statistics().record_load(started.elapsed());
        Ok(loaded)
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
