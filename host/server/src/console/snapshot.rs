//! The state of the server that the page shows, read once for each request.
//!
//! Reading takes references to the entries of all models. Their statistics are read when the page is made, for the models
//! that it shows.

use std::sync::Arc;
use wisp_protocol::call::ModelName;
use wisp_protocol::route::ConsoleView;
use wisp_serving::Serving;
use wisp_serving::registry::skipped_entry::SkippedEntry;
use wisp_serving::registry::{LoadedVersion, ModelEntry};
use wisp_serving::residency::{ModelMemory, ModelResidency};

/// The most models in the table of one page.
pub(super) const MAX_MODELS: usize = 50;

/// The most versions on a page with their details. With more, the page has the table only.
pub(super) const MAX_VERSIONS: usize = 20;

/// A model and its entry.
pub(super) type Model = (ModelName, Arc<ModelEntry>);

/// The state of the server. Lifetime: one request.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) view: ConsoleView,
    /// Set if the page has a form for an API key, because the server has tenants.
    pub(super) has_key_form: bool,
    pub(super) is_ready: bool,
    pub(super) is_draining: bool,
    /// All models, by name.
    pub(super) models: Vec<Model>,
    pub(super) skipped: Vec<SkippedEntry>,
    /// The models that a load has been attempted of, by name.
    pub(super) residency: Vec<ModelResidency>,
    /// `None` if no models can be loaded.
    pub(super) memory: Option<ModelMemory>,
    pub(super) cache_bytes: u64,
    pub(super) admitted_requests: usize,
    pub(super) max_requests: usize,
}

/// The models of one page.
#[derive(Debug)]
pub(super) struct ShownModels<'a> {
    pub(super) models: Vec<&'a Model>,
    /// The number of models on the pages before this one.
    pub(super) before: usize,
    /// The number of models on all pages.
    pub(super) matching: usize,
    /// The number of pages before this one, which exists even if the view names one that does not.
    pub(super) page: usize,
}

/// The numbers of versions by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct VersionsByState {
    pub(super) loaded: usize,
    pub(super) dormant: usize,
    pub(super) failed: usize,
    pub(super) unloaded: usize,
}

impl Snapshot {
    /// Reads the state of the server for this view, for a page without a form for a key.
    pub(super) fn take(serving: &Serving, view: ConsoleView) -> Snapshot {
        let residency = serving.residency();
        // The numbers of public models and of the server include all tenants.
        let is_owner = serving.owns_server();
        Snapshot {
            view,
            has_key_form: false,
            is_ready: serving.is_ready(),
            is_draining: serving.is_draining(),
            models: serving.own_entries(),
            skipped: serving.registry().skipped(),
            residency: residency.map(|of| of.models()).unwrap_or_default(),
            memory: residency.map(|of| of.memory()),
            cache_bytes: match is_owner {
                true => serving.cache().bytes(),
                false => 0,
            },
            admitted_requests: match is_owner {
                true => serving.admitted_requests(),
                false => serving.own_requests(),
            },
            max_requests: serving.max_requests(),
        }
    }

    /// Returns the models of the page that the view names, or of the last one.
    pub(super) fn shown(&self) -> ShownModels<'_> {
        let models = self.models.iter();
        let matching: Vec<&Model> = models
            .filter(|(name, _)| self.view.has(name.as_str()))
            .collect();
        let pages = matching.len().div_ceil(MAX_MODELS);
        let page = self.view.page.min(pages.saturating_sub(1));
        let before = page.saturating_mul(MAX_MODELS);
        let shown = matching.iter().skip(before).take(MAX_MODELS);
        ShownModels {
            models: shown.copied().collect(),
            before,
            matching: matching.len(),
            page,
        }
    }

    /// Returns whether the page has the details of these models: of one that is named, or of a few.
    pub(super) fn has_details(&self, models: &[&Model]) -> bool {
        let versions = models.iter().map(|(_, entry)| entry.versions.len().max(1));
        let versions = versions.fold(0, usize::saturating_add);
        self.view.model.is_some() || versions <= MAX_VERSIONS
    }

    /// Returns the memory and the loads of a model, if a load has been attempted.
    pub(super) fn residency_of(&self, model: &ModelName) -> Option<&ModelResidency> {
        let found = self.residency.binary_search_by(|of| of.model.cmp(model));
        self.residency.get(found.ok()?)
    }

    /// Counts the versions of all models.
    pub(super) fn versions_by_state(&self) -> VersionsByState {
        let mut counts = VersionsByState::default();
        for version in self
            .models
            .iter()
            .flat_map(|(_, entry)| entry.versions.values())
        {
            let count = match version {
                LoadedVersion::Ready(_) => &mut counts.loaded,
                LoadedVersion::Dormant(_) => &mut counts.dormant,
                LoadedVersion::Failed(_) => &mut counts.failed,
                LoadedVersion::Unloaded => &mut counts.unloaded,
            };
            *count = count.saturating_add(1);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use wisp_protocol::call::Version;

    fn snapshot(models: usize, query: &str) -> Snapshot {
        let entry = Arc::new(ModelEntry {
            versions: BTreeMap::from([(Version::FIRST, LoadedVersion::Dormant(None))]),
            ..ModelEntry::default()
        });
        let models = (0..models).map(|number| {
            let name = ModelName::new(&format!("m{number:04}")).unwrap();
            (name, Arc::clone(&entry))
        });
        Snapshot {
            view: ConsoleView::of_query(query),
            models: models.collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_page_has_the_next_models() {
        let snapshot = snapshot(120, "page=3");
        let shown = snapshot.shown();
        assert_eq!((shown.before, shown.models.len()), (100, 20));
        assert_eq!(shown.matching, 120);
        assert_eq!(shown.models[0].0.as_str(), "m0100");
        assert!(snapshot.has_details(&shown.models));
    }

    #[test]
    fn a_page_after_the_last_is_the_last() {
        let page = |models, query| snapshot(models, query).shown().page;
        assert_eq!(page(120, "page=99"), 2);
        assert_eq!(page(100, "page=99"), 1);
        assert_eq!(page(0, "page=99"), 0);
    }

    #[test]
    fn details_are_shown_for_a_few_models_or_a_named_one() {
        let snapshot = snapshot(3000, "");
        let shown = snapshot.shown();
        assert_eq!(shown.models.len(), MAX_MODELS);
        assert!(!snapshot.has_details(&shown.models));
        let named = Snapshot {
            view: ConsoleView::of_query("model=m0007"),
            ..snapshot
        };
        let shown = named.shown();
        assert_eq!((shown.models.len(), shown.matching), (1, 1));
        assert!(named.has_details(&shown.models));
    }

    #[test]
    fn versions_are_counted_over_all_pages() {
        let counts = snapshot(3000, "search=m0007").versions_by_state();
        assert_eq!((counts.dormant, counts.loaded), (3000, 0));
    }
}
