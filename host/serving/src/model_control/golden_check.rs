//! The golden cases of a model, computed with a version before it is served.

use super::ModelControl;
use crate::registry::{LoadedVersion, ModelEntry, golden_cases, repository};
use crate::version::ModelVersion;
use std::path::Path;

impl ModelControl {
    /// Computes the golden cases of the model at `path` with its highest version, which they describe, if that is
    /// among the versions. One that fails a case is not served. `same` is the entry of before, if the files are those
    /// that it had: a version that has only been evicted has computed its cases already.
    pub(super) fn check_golden_cases(
        &self,
        path: &Path,
        entry: &mut ModelEntry,
        same: Option<&ModelEntry>,
    ) {
        let Ok(versions) = repository::versions(path) else {
            return;
        };
        let Some(highest) = versions.keys().next_back() else {
            return;
        };
        let Some(LoadedVersion::Ready(version)) = entry.versions.get(highest) else {
            return;
        };
        if same.is_some_and(|same| same.has_been_loaded(*highest)) {
            return;
        }
        let failure = self.golden_failure(path, version);
        version.statistics().forget_warm_up();
        if let Some(reason) = failure {
            let failed = LoadedVersion::Failed(reason);
            entry.versions.insert(*highest, failed);
        }
    }

    /// Returns the difference of a version from the golden cases of its model, if there is one.
    pub(super) fn golden_failure(&self, path: &Path, version: &ModelVersion) -> Option<String> {
        let reason = golden_cases::failure(path, version, (self.golden_cases?, self.owner))?;
        let description = version.description();
        let (model, version) = (&description.model, description.version);
        tracing::warn!(%model, %version, reason, "not served");
        Some(reason)
    }
}
