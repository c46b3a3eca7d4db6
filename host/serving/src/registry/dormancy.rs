//! The entries of models that are found and not loaded, and the way from a loaded model to such an entry.
//!
//! A dormant entry has the numbers of the versions and the state of the files, so that it costs kilobytes. It keeps the
//! statistics of versions that were loaded before. The first request loads the model.

use crate::registry::model_file::ModelFile;
use crate::registry::repository::{SelectedVersions, VersionFiles};
use crate::registry::{LoadedVersion, ModelEntry, Registry, UnservedVersion};
use crate::statistics::Statistics;
use crate::version::ModelVersion;
use std::sync::{Arc, PoisonError};
use wisp_protocol::call::{ModelName, Version};

/// The memory that is expected of a version besides its graphs.
const VERSION_BYTES: u64 = 64 << 10;

/// The memory that is expected of a graph or a handler, in terms of its file.
const FILE_FACTOR: u64 = 2;

/// Returns the entry of a model that was found and is not loaded. Of its files, only `model.toml` and `config.pbtxt` are read.
pub(crate) fn dormant_entry(selected: &SelectedVersions) -> ModelEntry {
    let versions = selected.files.iter();
    let versions = versions.map(|files| (files.version, LoadedVersion::Dormant(None)));
    let unserved = selected.skipped.iter().cloned();
    let unserved = unserved.map(UnservedVersion::skipped);
    let directory = selected.files.first();
    let directory = directory.and_then(|files| files.model_directory.as_deref());
    // An error of the model file is reported by the load.
    let model_file = directory.and_then(|directory| ModelFile::load(directory).ok());
    ModelEntry {
        versions: versions.collect(),
        labels: selected.labels.clone(),
        unserved: unserved.collect(),
        ignored_settings: selected.ignored_settings.clone(),
        dormant_route: model_file.and_then(|file| file.http.route),
        ..ModelEntry::default()
    }
}

/// Returns an estimate of the memory of a model before its first load: twice the files of its versions, and 64 KiB for
/// each version.
pub(crate) fn expected_bytes(selected: &SelectedVersions) -> u64 {
    let versions = selected.files.iter().map(expected_bytes_of);
    versions.fold(0, u64::saturating_add)
}

/// Returns an estimate of the memory of one version before it is loaded.
pub(crate) fn expected_bytes_of(files: &VersionFiles) -> u64 {
    let mut bytes = VERSION_BYTES;
    for path in files.graphs.values().chain(&files.handler) {
        // A file that cannot be read is reported by the load.
        let length = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        bytes = bytes.saturating_add(length.saturating_mul(FILE_FACTOR));
    }
    bytes
}

impl Registry {
    /// Returns the models that may become dormant now, each with the number of its last use.
    pub(crate) fn evictable(&self) -> Vec<(u64, ModelName)> {
        let models = self.read();
        let idle = models.iter().filter(|(_, entry)| entry.is_evictable());
        let idle = idle.map(|(model, entry)| {
            let uses = entry.ready().map(|version| version.last_use());
            (uses.max().unwrap_or(0), model.clone())
        });
        idle.collect()
    }

    /// Makes a model dormant if no request uses it, and returns its entry of before.
    pub(crate) fn evict(&self, model: &ModelName) -> Option<Arc<ModelEntry>> {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        let entry = models.get_mut(model)?;
        // A holder of the entry may be about to take a version from it. Nobody can get it from here meanwhile.
        if Arc::strong_count(entry) > 1 || !entry.is_evictable() {
            return None;
        }
        let dormant = Arc::new(entry.dormant());
        let before = std::mem::replace(entry, dormant);
        drop(models);
        self.changes.send_replace(());
        Some(before)
    }
}

impl Registry {
    /// Returns the loaded models that no request would load again, because clients have sent their files or settings, each
    /// with the number of its last use.
    pub(crate) fn unrepeatable(&self) -> Vec<(u64, ModelName)> {
        let models = self.read();
        let loaded = models.iter().filter(|(_, entry)| entry.is_unrepeatable());
        let loaded = loaded.map(|(model, entry)| {
            let uses = entry.ready().map(|version| version.last_use());
            (uses.max().unwrap_or(0), model.clone())
        });
        loaded.collect()
    }

    /// Unloads such a model for this reason, and returns its entry of before. Its running requests are completed.
    pub(crate) fn give_up(&self, model: &ModelName, reason: &str) -> Option<Arc<ModelEntry>> {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        let entry = models.get_mut(model)?;
        if !entry.is_unrepeatable() {
            return None;
        }
        let given_up = Arc::new(ModelEntry::clone(entry).refused(reason));
        let before = std::mem::replace(entry, given_up);
        drop(models);
        self.changes.send_replace(());
        Some(before)
    }
}

impl ModelEntry {
    /// Returns whether the model is loaded, and not as a load from the repository would return it.
    fn is_unrepeatable(&self) -> bool {
        self.has_loaded() && self.files.is_none()
    }

    /// Returns whether the model is loaded, no request uses it, and a load from the repository returns it as it is.
    fn is_evictable(&self) -> bool {
        let is_idle = |version: &Arc<ModelVersion>| {
            Arc::strong_count(version) == 1 && version.share().is_idle()
        };
        self.has_loaded() && self.files.is_some() && self.ready().all(is_idle)
    }

    /// Returns the same entry with every version that can be called or has failed to load dormant.
    fn dormant(&self) -> ModelEntry {
        let versions = self.versions.iter().map(|(number, version)| {
            let dormant = match version {
                LoadedVersion::Ready(loaded) => {
                    LoadedVersion::Dormant(Some(Arc::clone(loaded.statistics())))
                }
                LoadedVersion::Failed(_) => LoadedVersion::Dormant(None),
                LoadedVersion::Dormant(kept) => LoadedVersion::Dormant(kept.clone()),
                LoadedVersion::Unloaded => LoadedVersion::Unloaded,
            };
            (*number, dormant)
        });
        ModelEntry {
            versions: versions.collect(),
            dormant_route: self.route().cloned(),
            ..self.clone()
        }
    }

    /// Continues the statistics of the versions that were evicted from `before`, of the same files.
    pub(crate) fn continue_statistics(&self, before: &ModelEntry) {
        for (number, version) in &self.versions {
            if let LoadedVersion::Ready(loaded) = version
                && let Some(LoadedVersion::Dormant(Some(kept))) = before.versions.get(number)
            {
                loaded.continue_statistics(kept);
            }
        }
    }

    /// Takes the statistics of versions that were loaded before over from `before`: those of the same files, and of
    /// others only what metrics count.
    pub(crate) fn keep_statistics(&mut self, before: &ModelEntry) {
        let is_same = self.files.is_some() && self.files == before.files;
        for (number, version) in &mut self.versions {
            if let LoadedVersion::Dormant(own) = version
                && let Some(LoadedVersion::Dormant(Some(kept))) = before.versions.get(number)
            {
                *own = Some(match is_same {
                    true => Arc::clone(kept),
                    false => Arc::new(Statistics::after(kept)),
                });
            }
        }
    }

    /// Returns whether the version is dormant after a load of these files.
    pub(crate) fn has_been_loaded(&self, version: Version) -> bool {
        match self.versions.get(&version) {
            Some(LoadedVersion::Dormant(Some(kept))) => kept.load_time().is_some(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::ResolveError;
    use crate::registry::snapshot::ModelFiles;
    use std::collections::BTreeMap;
    use wisp_protocol::call::{Target, VersionChoice, VersionState};

    fn dormant(model: &str) -> anyhow::Result<(Registry, Target)> {
        let model = ModelName::new(model)?;
        let entry = ModelEntry {
            versions: BTreeMap::from([(Version::FIRST, LoadedVersion::Dormant(None))]),
            ..ModelEntry::default()
        };
        let registry = Registry::new([(model.clone(), entry)].into());
        let version = VersionChoice::Default;
        Ok((registry, Target { model, version }))
    }

    #[test]
    fn a_dormant_model_is_ready_and_has_no_version_to_call_yet() -> anyhow::Result<()> {
        let (registry, target) = dormant("m")?;
        assert!(registry.is_ready());
        assert!(registry.is_callable(&target));
        let model = target.model.clone();
        let resolved = registry.resolve(&target).map(|_| ());
        assert_eq!(resolved, Err(ResolveError::Dormant { model }));
        let states = registry.states(&target)?;
        assert_eq!(states.len(), 1);
        assert_eq!(states[0].state, VersionState::Dormant);
        let statistics = registry.statistics(&target)?;
        assert_eq!(statistics.len(), 1);
        Ok(())
    }

    #[test]
    fn a_model_that_is_not_loaded_cannot_leave() -> anyhow::Result<()> {
        let (registry, target) = dormant("m")?;
        assert!(registry.evictable().is_empty());
        assert!(registry.evict(&target.model).is_none());
        Ok(())
    }

    #[test]
    fn a_failed_version_is_tried_again_with_the_others() -> anyhow::Result<()> {
        let failed = LoadedVersion::Failed("no graph".to_owned());
        let entry = ModelEntry {
            versions: BTreeMap::from([(Version::FIRST, failed)]),
            ..ModelEntry::default()
        };
        assert!(!entry.is_ready());
        let dormant = entry.dormant();
        assert!(dormant.is_ready() && dormant.is_dormant() && !dormant.has_loaded());
        assert!(dormant.failure().is_none());
        assert!(!entry.unloaded().is_dormant(), "a client has unloaded it");
        Ok(())
    }

    #[test]
    fn statistics_are_kept_for_the_same_files_and_counters_for_others() {
        let kept = Arc::new(Statistics::default());
        kept.record_load(std::time::Duration::from_secs(1));
        let entry = |files: Option<ModelFiles>, kept: Option<Arc<Statistics>>| ModelEntry {
            versions: BTreeMap::from([(Version::FIRST, LoadedVersion::Dormant(kept))]),
            files,
            ..ModelEntry::default()
        };
        let before = entry(Some(ModelFiles::default()), Some(Arc::clone(&kept)));
        let mut same = entry(Some(ModelFiles::default()), None);
        same.keep_statistics(&before);
        assert!(same.has_been_loaded(Version::FIRST));
        let mut changed = entry(None, None);
        changed.keep_statistics(&before);
        assert!(!changed.has_been_loaded(Version::FIRST));
        let found = changed.versions.get(&Version::FIRST);
        let Some(LoadedVersion::Dormant(Some(own))) = found else {
            panic!("{found:?}");
        };
        assert!(Arc::ptr_eq(&own.counters(), &kept.counters()));
    }
}
