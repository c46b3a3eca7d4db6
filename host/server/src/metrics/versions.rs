//! The numbers of all served versions, read once for a page.

use super::page::{Labels, Page};
use std::time::Duration;
use wisp_serving::Serving;
use wisp_serving::namespaces::Namespaces;
use wisp_serving::registry::LoadedVersion;
use wisp_serving::version_counters::Totals;

/// The numbers of one version. Lifetime: one request.
#[derive(Debug)]
pub(super) struct VersionNumbers {
    /// The tenant that owns the model; `None` for a public one.
    pub(super) tenant: Option<String>,
    pub(super) model: String,
    pub(super) version: String,
    pub(super) totals: Totals,
    /// Set if the version is loaded now. Otherwise its next request loads it again.
    pub(super) is_loaded: bool,
    /// Set if a guest runs in each call.
    pub(super) has_guest: bool,
    pub(super) load_time: Option<Duration>,
}

impl VersionNumbers {
    /// Returns whether the version has histograms now, which are most of its series: those that are loaded and have had
    /// a successful request. The others continue when their version is loaded again, as all counters do.
    pub(super) fn has_histograms(&self) -> bool {
        self.is_loaded && self.totals.sums.success.count > 0
    }

    /// Returns whether a counter with this value has a series. Zero is written for loaded versions only: it makes the
    /// first increase visible, of which a version that is not loaded has none.
    pub(super) fn has_counter(&self, value: u64) -> bool {
        self.is_loaded || value > 0
    }

    /// Writes a counter of the current family, if it has a series.
    pub(super) fn counter(&self, page: &mut Page, (name, value): (&str, u64), more: Labels<'_>) {
        if self.has_counter(value) {
            self.labelled(more, |labels| page.sample(name, labels, value));
        }
    }

    /// Calls `write` with Triton's labels of the version, and the tenant if it is not a public one, followed by `more`.
    pub(super) fn labelled(&self, more: Labels<'_>, write: impl FnOnce(Labels<'_>)) {
        self.labelled_as("version", more, write);
    }

    /// Calls `write` with the same labels, of which this is the name of the version's.
    pub(super) fn labelled_as(&self, name: &str, more: Labels<'_>, write: impl FnOnce(Labels<'_>)) {
        let own = [
            ("model", self.model.as_str()),
            (name, self.version.as_str()),
        ];
        match &self.tenant {
            Some(tenant) => write(&[&own[..], &[("tenant", tenant.as_str())], more].concat()),
            None => write(&[&own[..], more].concat()),
        }
    }
}

/// Returns the numbers of each version that is loaded, or that was and is loaded again by its next request, by name and
/// number: first public models, then each tenant's.
pub(super) fn of_namespaces(namespaces: &Namespaces) -> Vec<VersionNumbers> {
    let mut numbers = Vec::new();
    add(&mut numbers, namespaces.public(), None);
    for serving in namespaces.tenants() {
        add(&mut numbers, &serving, Some(serving.tenant().id.as_str()));
    }
    numbers
}

fn add(numbers: &mut Vec<VersionNumbers>, serving: &Serving, tenant: Option<&str>) {
    for (model, entry) in serving.own_entries() {
        for (number, version) in &entry.versions {
            let (statistics, is_loaded, runs_guest) = match version {
                LoadedVersion::Ready(loaded) => (loaded.statistics(), true, loaded.has_guest()),
                LoadedVersion::Dormant(Some(kept)) => (kept, false, false),
                _ => continue,
            };
            let totals = statistics.counters().totals();
            numbers.push(VersionNumbers {
                tenant: tenant.map(str::to_owned),
                model: model.to_string(),
                version: number.to_string(),
                is_loaded,
                has_guest: runs_guest || totals.guests.instances > 0,
                totals,
                load_time: statistics.load_time(),
            });
        }
    }
}
