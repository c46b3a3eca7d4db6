//! Loads or finds all models of a repository when a server starts.
//!
//! A model that is only found is dormant: of its files, `model.toml` is read and nothing else, so that thousands of
//! models take a fraction of a second.

use crate::memory_ledger::{MemoryLedger, MemoryPart};
use crate::registry::dormancy::{dormant_entry, expected_bytes};
use crate::registry::graph_probe::GraphProbe;
use crate::registry::load_error::LoadError;
use crate::registry::loader::{LoadObserver, Loader};
use crate::registry::omissions::log_omissions;
use crate::registry::repository::{self, FoundModel, SelectedVersions};
use crate::registry::route_check::with_own_route;
use crate::registry::skipped_entry::log_new;
use crate::registry::snapshot::Snapshot;
use crate::registry::{ModelEntry, Registry};
use std::collections::BTreeMap;
use std::path::Path;
use wisp_protocol::call::ModelName;

/// The models that are loaded when the server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// All models are loaded.
    Loaded,
    /// Models are loaded in the order of their names as long as they fit into this number of bytes. The others are
    /// dormant.
    Within(u64),
    /// All models are dormant.
    Dormant,
}

impl Loader {
    /// Loads every model below `path`: a repository, the directory of one model, or one graph file.
    ///
    /// `observer` is called for each version once its outcome is known, for the log and for a waiting operator.
    /// Directories that are no models are logged and entered as skipped.
    pub fn load_repository(
        &self,
        path: &Path,
        observer: LoadObserver<'_>,
    ) -> Result<Registry, LoadError> {
        self.start_repository(path, Start::Loaded, observer)
    }

    /// Loads those models below `path` that `start` selects, as [`Loader::load_repository`] does, and finds the others.
    pub fn start_repository(
        &self,
        path: &Path,
        start: Start,
        observer: LoadObserver<'_>,
    ) -> Result<Registry, LoadError> {
        let _children = self.graphs.probe.as_ref().map(GraphProbe::keep_children);
        // Taken before the models are loaded, so that a later load detects a change in the meantime.
        let mut files = Snapshot::take(path)?;
        log_new(&[], &files.skipped);
        let mut models: BTreeMap<ModelName, ModelEntry> = BTreeMap::new();
        let mut memory = MemoryLedger::default();
        for found in repository::find_models(path)? {
            let FoundModel {
                name,
                versions,
                is_optional,
            } = found;
            let valid = ModelName::new(&name);
            let mut entry = match versions {
                Ok(versions) if is_loaded(start, &versions, &memory) => {
                    let entry = self.load_model(&versions, observer);
                    log_omissions(&name, &entry, None);
                    let (entry, taken) = with_own_route(&versions.model, entry, models.iter());
                    if let Some(error) = &taken {
                        observer(&name, Err(error));
                    }
                    let ready = entry.ready();
                    let parts = ready.flat_map(|version| version.memory().to_vec());
                    let parts: Vec<MemoryPart> = parts.collect();
                    memory.enter(&name, parts);
                    entry
                }
                Ok(versions) => {
                    let entry = dormant_entry(&versions);
                    log_omissions(&name, &entry, None);
                    entry
                }
                Err(_) if files.skipped.iter().any(|skipped| skipped.name == name) => continue,
                Err(error) => {
                    observer(&name, Err(&error));
                    ModelEntry::problem(error.client_reason())
                }
            };
            entry.blocks_readiness = !is_optional && entry.failure().is_some();
            if let Ok(name) = valid {
                entry.files = files.models.remove(&name);
                models.insert(name, entry);
            }
        }
        let registry = Registry::new(models);
        registry.set_skipped(files.skipped);
        Ok(registry)
    }
}

/// Returns whether the model is loaded at the start, after those whose memory is given.
fn is_loaded(start: Start, versions: &SelectedVersions, memory: &MemoryLedger) -> bool {
    match start {
        Start::Loaded => true,
        Start::Within(bytes) => memory.total().saturating_add(expected_bytes(versions)) <= bytes,
        Start::Dormant => false,
    }
}
