//! The numbers of all served versions, read once for a page.

use super::page::Labels;
use std::time::Duration;
use wisp_serving::Serving;
use wisp_serving::registry::LoadedVersion;
use wisp_serving::version_counters::Totals;

/// The numbers of one version. Lifetime: one request.
#[derive(Debug)]
pub(super) struct VersionNumbers {
    pub(super) model: String,
    pub(super) version: String,
    pub(super) totals: Totals,
    /// Set if a guest runs in each call.
    pub(super) has_guest: bool,
    pub(super) load_time: Option<Duration>,
}

impl VersionNumbers {
    /// Calls `write` with Triton's labels of the version, followed by `more`.
    pub(super) fn labelled(&self, more: Labels<'_>, write: impl FnOnce(Labels<'_>)) {
        let own = [
            ("model", self.model.as_str()),
            ("version", self.version.as_str()),
        ];
        write(&[&own[..], more].concat());
    }
}

/// Returns the numbers of each version that is loaded, or that was and is loaded again by its next request, by name and
/// number.
pub(super) fn of_registry(serving: &Serving) -> Vec<VersionNumbers> {
    let mut numbers = Vec::new();
    for (model, entry) in serving.entries() {
        for (number, version) in &entry.versions {
            let (statistics, runs_guest) = match version {
                LoadedVersion::Ready(loaded) => (loaded.statistics(), loaded.has_guest()),
                LoadedVersion::Dormant(Some(kept)) => (kept, false),
                _ => continue,
            };
            let totals = statistics.counters().totals();
            numbers.push(VersionNumbers {
                model: model.to_string(),
                version: number.to_string(),
                has_guest: runs_guest || totals.guests.instances > 0,
                totals,
                load_time: statistics.load_time(),
            });
        }
    }
    numbers
}
