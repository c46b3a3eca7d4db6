//! The versions and the states of a model's entry, and the entries that follow from it.

use crate::registry::web_route::WebRoute;
use crate::registry::{LoadedVersion, ModelEntry, ResolveError, UnservedVersion};
use crate::version::ModelVersion;
use std::sync::Arc;
use wisp_protocol::call::{
    IndexEntry, ModelName, Target, Version, VersionChoice, VersionLabel, VersionState,
};

impl ModelEntry {
    /// Returns the entry of a model whose versions could not even be found.
    pub fn problem(reason: String) -> ModelEntry {
        ModelEntry {
            problem: Some(reason),
            ..ModelEntry::default()
        }
    }

    /// Returns whether any version can be called, those that a request loads included.
    pub fn is_ready(&self) -> bool {
        self.has_loaded() || self.is_dormant()
    }

    /// Returns whether any version is loaded.
    pub fn has_loaded(&self) -> bool {
        self.ready().next().is_some()
    }

    /// Returns whether a request would load a version.
    pub fn is_dormant(&self) -> bool {
        let mut versions = self.versions.values();
        versions.any(|version| matches!(version, LoadedVersion::Dormant(_)))
    }

    /// Returns the route of the model, if its newest version is a web component.
    pub fn route(&self) -> Option<&WebRoute> {
        match self.ready().next_back() {
            Some(newest) => newest.web_route(),
            None => self.dormant_route.as_ref(),
        }
    }

    /// Returns the same entry with this reason in place of every version that can be called.
    pub(crate) fn refused(mut self, reason: &str) -> ModelEntry {
        for version in self.versions.values_mut() {
            if let LoadedVersion::Ready(_) = version {
                *version = LoadedVersion::Failed(reason.to_owned());
            }
        }
        self
    }

    /// Returns the reason that the model or one of its versions failed to load, if any has.
    pub fn failure(&self) -> Option<&str> {
        let versions = self.versions.values().find_map(|version| match version {
            LoadedVersion::Failed(reason) => Some(reason.as_str()),
            LoadedVersion::Ready(_) | LoadedVersion::Unloaded | LoadedVersion::Dormant(_) => None,
        });
        // An unloaded model has versions, or has failed before.
        versions.or(match self.versions.is_empty() {
            true => self.problem.as_deref(),
            false => None,
        })
    }

    /// Takes over the counters of the versions in the entry before.
    pub(super) fn continue_counters(&self, before: &ModelEntry) {
        for version in self.ready() {
            let number = version.description().version;
            match before.versions.get(&number) {
                Some(LoadedVersion::Ready(old)) => {
                    version.statistics().continue_from(old.statistics());
                }
                Some(LoadedVersion::Dormant(Some(old))) => version.statistics().continue_from(old),
                _ => {}
            }
        }
    }

    /// Returns the versions that can be called, in order.
    pub fn ready(&self) -> impl DoubleEndedIterator<Item = &Arc<ModelVersion>> {
        self.versions.values().filter_map(|version| match version {
            LoadedVersion::Ready(loaded) => Some(loaded),
            LoadedVersion::Unloaded | LoadedVersion::Dormant(_) | LoadedVersion::Failed(_) => None,
        })
    }

    /// Returns the same entry with every version unloaded.
    pub fn unloaded(&self) -> ModelEntry {
        let numbers = self.versions.keys();
        ModelEntry {
            versions: numbers
                .map(|number| (*number, LoadedVersion::Unloaded))
                .collect(),
            labels: self.labels.clone(),
            problem: Some("unloaded".to_owned()),
            ignored_settings: self.ignored_settings.clone(),
            ..ModelEntry::default()
        }
    }

    /// Returns the same entry without its release, and without the versions that are loaded only for it.
    pub(crate) fn without_release(&self) -> ModelEntry {
        let mut entry = self.clone();
        entry.release = None;
        for version in std::mem::take(&mut entry.pinned) {
            entry.versions.remove(&version);
        }
        entry
    }

    /// Returns whether all versions that the model's policy selects can be called.
    pub fn is_complete(&self) -> bool {
        let is_ready = |version: &LoadedVersion| matches!(version, LoadedVersion::Ready(_));
        !self.versions.is_empty() && self.versions.values().all(is_ready)
    }

    /// Returns the same entry with the failures of a load that left it in place, of other versions than its own.
    /// The next load reads the files again.
    pub fn with_failures(&self, failed: &ModelEntry) -> ModelEntry {
        let own = |number: &Version| self.versions.contains_key(number);
        let versions = failed.versions.iter();
        let failures = versions.filter_map(|(number, version)| match version {
            LoadedVersion::Failed(reason) if !own(number) => Some(UnservedVersion {
                version: Some(*number),
                reason: reason.clone(),
                is_skipped: false,
            }),
            LoadedVersion::Failed(_)
            | LoadedVersion::Ready(_)
            | LoadedVersion::Dormant(_)
            | LoadedVersion::Unloaded => None,
        });
        let problem = failed.problem.iter().map(|reason| UnservedVersion {
            version: None,
            reason: reason.clone(),
            is_skipped: false,
        });
        // A load that found no versions has not read either what looks like one.
        let skipped = match failed.problem {
            Some(_) => self.skipped_versions(),
            None => failed.skipped_versions(),
        };
        let skipped = skipped.cloned();
        ModelEntry {
            unserved: failures.chain(problem).chain(skipped).collect(),
            files: None,
            ..self.clone()
        }
    }

    /// Returns the same entry with these reasons that something looks like a version and is none.
    pub(crate) fn with_skipped(&self, reasons: &[String]) -> ModelEntry {
        let mut entry = self.clone();
        entry.unserved.retain(|unserved| !unserved.is_skipped);
        let skipped = reasons.iter().cloned().map(UnservedVersion::skipped);
        entry.unserved.extend(skipped);
        entry
    }

    /// Returns whether these are the reasons that something looks like a version and is none.
    pub(crate) fn skips(&self, reasons: &[String]) -> bool {
        let known = self.skipped_versions().map(|skipped| &skipped.reason);
        known.eq(reasons)
    }

    /// Returns the entries that look like versions but are not.
    fn skipped_versions(&self) -> impl Iterator<Item = &UnservedVersion> {
        let unserved = self.unserved.iter();
        unserved.filter(|unserved| unserved.is_skipped)
    }

    /// Returns the version that a target names by number or label, if it names one.
    pub(super) fn number(&self, target: &Target) -> Result<Option<Version>, ResolveError> {
        match &target.version {
            VersionChoice::Default => Ok(None),
            VersionChoice::Number(version) if self.versions.contains_key(version) => {
                Ok(Some(*version))
            }
            VersionChoice::Number(version) => Err(ResolveError::UnknownVersion {
                model: target.model.clone(),
                version: *version,
            }),
            VersionChoice::Label(label) => match self.labels.get(label) {
                Some(version) => Ok(Some(*version)),
                None => Err(ResolveError::UnknownLabel {
                    model: target.model.clone(),
                    label: label.clone(),
                }),
            },
        }
    }

    pub(super) fn version(
        &self,
        model: &ModelName,
        version: Version,
    ) -> Result<Arc<ModelVersion>, ResolveError> {
        let model = || model.clone();
        match self.versions.get(&version) {
            Some(LoadedVersion::Ready(loaded)) => Ok(Arc::clone(loaded)),
            Some(LoadedVersion::Failed(reason)) => Err(ResolveError::Unavailable {
                model: model(),
                reason: reason.clone(),
            }),
            Some(LoadedVersion::Unloaded) => Err(ResolveError::Unloaded { model: model() }),
            Some(LoadedVersion::Dormant(_)) => Err(ResolveError::Dormant { model: model() }),
            None => Err(ResolveError::UnknownVersion {
                model: model(),
                version,
            }),
        }
    }

    /// Returns the version that requests without a version get: the one of an open release, or the one with the default
    /// label, or else the newest.
    pub(crate) fn default_version(
        &self,
        model: &ModelName,
    ) -> Result<Arc<ModelVersion>, ResolveError> {
        match self.chosen_number() {
            Some(number) => self.version(model, number),
            None => self.newest(model),
        }
    }

    /// Returns the number of the version that requests without a version get, even if it cannot be called. `None` if no
    /// version is chosen and none can be called.
    pub fn default_number(&self) -> Option<Version> {
        self.chosen_number().or_else(|| self.newest_callable())
    }

    /// Returns the number of the version that an open release or the default label has chosen.
    fn chosen_number(&self) -> Option<Version> {
        if let Some(release) = &self.release {
            return Some(release.default_version());
        }
        let mut labels = self.labels.iter();
        let default = labels.find(|(label, _)| label.as_str() == VersionLabel::DEFAULT);
        default.map(|(_, number)| *number)
    }

    /// Returns the number of the newest version that can be called, those that a request loads included.
    fn newest_callable(&self) -> Option<Version> {
        let mut versions = self.versions.iter();
        let callable = versions.rfind(|(_, version)| {
            matches!(version, LoadedVersion::Ready(_) | LoadedVersion::Dormant(_))
        });
        callable.map(|(number, _)| *number)
    }

    /// Returns the newest version that can be called, or the reason that the newest of all cannot.
    pub(super) fn newest(&self, model: &ModelName) -> Result<Arc<ModelVersion>, ResolveError> {
        match (self.newest_callable(), self.versions.keys().next_back()) {
            (Some(callable), _) => self.version(model, callable),
            (None, Some(newest)) => self.version(model, *newest),
            (None, None) => Err(ResolveError::Unavailable {
                model: model.clone(),
                reason: self.problem.clone().unwrap_or_default(),
            }),
        }
    }

    pub(super) fn states(&self, model: &ModelName) -> Vec<IndexEntry> {
        let state = |version, state| IndexEntry {
            name: model.to_string(),
            version,
            state,
        };
        let unserved = self.unserved.iter();
        let unserved = unserved.map(|unserved| {
            let reason = unserved.reason.clone();
            state(unserved.version, VersionState::Failed(reason))
        });
        if self.versions.is_empty() {
            let reason = self.problem.clone().unwrap_or_default();
            let problem = state(None, VersionState::Failed(reason));
            return std::iter::once(problem).chain(unserved).collect();
        }
        let versions = self.versions.iter();
        let versions = versions.map(|(number, version)| {
            let how = match version {
                LoadedVersion::Ready(_) => VersionState::Ready,
                LoadedVersion::Unloaded => VersionState::Unloaded,
                LoadedVersion::Dormant(_) => VersionState::Dormant,
                LoadedVersion::Failed(reason) => VersionState::Failed(reason.clone()),
            };
            state(Some(*number), how)
        });
        versions.chain(unserved).collect()
    }
}
