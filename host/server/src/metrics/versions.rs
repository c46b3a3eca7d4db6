//! The numbers of all served versions, read once for a page.

use super::page::Labels;
use std::time::Duration;
use wisp_serving::Serving;
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

/// Returns the numbers of each version that can be called, by name and number.
pub(super) fn of_registry(serving: &Serving) -> Vec<VersionNumbers> {
    let mut numbers = Vec::new();
    for (model, entry) in serving.entries() {
        numbers.extend(entry.ready().map(|version| VersionNumbers {
            model: model.to_string(),
            version: version.description().version.to_string(),
            totals: version.statistics().counters().totals(),
            has_guest: version.has_guest(),
            load_time: version.statistics().load_time(),
        }));
    }
    numbers
}
