//! The choice of the best backend for a graph, made by measurement and stored in a file.
//!
//! The setting `backend = "auto"` selects this. Every available backend loads the graph and computes the same
//! inputs ([`comparison`]). Backends that refuse the graph or whose outputs differ are excluded, and the fastest of
//! the rest is chosen ([`choice`]). Where measuring cannot pay, a rule chooses the default backend, if it loads the
//! file ([`mod@rule`]). A selection also holds after a restart: it is measured again only if the graph, its
//! settings, its external data or the backends have changed. [`selection`] is what is recorded and shown,
//! [`refusal`] the reasons that there is none, and [`cost_record`] the cost of batches, which is stored too.

mod basis;
mod choice;
mod comparison;
mod contender;
mod cost_record;
mod inputs;
mod refusal;
mod rule;
mod selection;
mod trial;
mod verdict;

use self::basis::Basis;
use self::choice::{Attempt, choose, no_backend};
use self::rule::{holds, rule};
use crate::file_state::FileState;
use crate::registry::graph_file::GraphFile;
use crate::registry::record_name::record_name;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wisp_backend::bounded_file::{open_regular, read_regular_text};
use wisp_backend::measure::REFERENCE;
use wisp_backend::model_outline::ModelOutline;
use wisp_backend::{Backend, Backends, Graph, LoadOptions};

pub use self::refusal::{Advice, BackendSelectionError, Refusal};
pub use self::selection::{BackendSelection, Candidate, SelectionRule};

/// The version of the way in which backends are selected. Records of another version are not used.
const FORMAT: u32 = 3;

/// The size limit of a record in bytes; a record has a few lines for each backend.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// The directory of stored selections. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct BackendSelectionStore {
    /// `None` if selections are not stored.
    directory: Option<PathBuf>,
    /// The tenant whose models these selections are of; empty for the public ones.
    tenant: String,
    /// Set once a record could not be stored, which is reported once.
    has_failed: Arc<AtomicBool>,
}

/// A loaded graph and the selection that selected its backend.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) graph: Arc<dyn Graph>,
    pub(crate) selection: BackendSelection,
}

/// The origin of a choice that is known before the graph is loaded.
enum Stored {
    Selection(BackendSelection),
    /// The rule that chooses the default backend, unless it refuses.
    Rule(SelectionRule),
}

// === impl BackendSelectionStore ===

impl BackendSelectionStore {
    /// Returns a store in this directory, which is created with the first selection.
    pub fn new(directory: PathBuf) -> BackendSelectionStore {
        BackendSelectionStore {
            directory: Some(directory),
            tenant: String::new(),
            has_failed: Arc::default(),
        }
    }

    /// Returns a store that keeps nothing in files, so that every load decides again.
    pub fn in_memory() -> BackendSelectionStore {
        BackendSelectionStore {
            directory: None,
            tenant: String::new(),
            has_failed: Arc::default(),
        }
    }

    /// Returns a store of the selections for a tenant's own models, in the same directory. It has none of other tenants.
    pub(crate) fn of_tenant(&self, tenant: &str) -> BackendSelectionStore {
        BackendSelectionStore {
            tenant: tenant.to_owned(),
            ..self.clone()
        }
    }

    /// Loads a graph with the backend that a rule or a stored selection chooses, or decides now.
    pub(crate) fn select(
        &self,
        backends: &Backends,
        file: &GraphFile<'_>,
    ) -> Result<Selected, BackendSelectionError> {
        let outline = ModelOutline::read(file.path).ok();
        let mut loaded = None;
        if let Some(rule) = rule(file, outline.as_ref()) {
            let attempt = Attempt::load(backends.default_backend(), file);
            if let Ok(graph) = &attempt.loaded
                && holds(rule, graph.signature())
            {
                let selection = BackendSelection::by_rule(attempt.backend.name(), rule);
                return Ok(selected(attempt.backend, graph, selection));
            }
            loaded = Some(attempt);
        }
        let candidates = available(backends);
        // A file without an outline may have external data that is not known here.
        let record = outline.as_ref().and_then(|found| self.record(file, found));
        let stored = record.as_deref().and_then(read);
        let absent = absent_reference(stored.as_ref(), &candidates);
        if let Some(selection) = stored
            && selection.is_of(&candidates)
            && let Some(backend) = candidates.iter().find(|b| b.name() == selection.backend)
        {
            let attempt = Attempt::take_or_load(&mut loaded, backend, file);
            if let Ok(graph) = &attempt.loaded {
                return Ok(selected(attempt.backend, graph, selection));
            }
            loaded = Some(attempt);
        }
        if let Some(mut selection) = compared_by_child(&candidates, file)
            && let Some(backend) = candidates.iter().find(|b| b.name() == selection.backend)
        {
            // The child has loaded it within its limits.
            let file = GraphFile {
                probe: None,
                ..*file
            };
            let attempt = Attempt::take_or_load(&mut loaded, backend, &file);
            if let Ok(graph) = &attempt.loaded {
                selection.absent = absent;
                if let Some(record) = &record {
                    selection.record_problem = self.store(record, &selection);
                }
                return Ok(selected(attempt.backend, graph, selection));
            }
            loaded = Some(attempt);
        }
        let attempts: Vec<Attempt<'_>> = candidates
            .iter()
            .map(|backend| Attempt::take_or_load(&mut loaded, backend, file))
            .collect();
        let advice = || Advice::new(backends, outline.as_ref());
        let basis = Basis::read(file.path, outline.as_ref());
        let (chosen, mut selection) = choose(&attempts, &basis, &advice)?;
        selection.absent = absent;
        if let Some(record) = record {
            selection.record_problem = self.store(&record, &selection);
        }
        match &chosen.loaded {
            Ok(graph) => Ok(selected(chosen.backend, graph, selection)),
            Err(_) => Err(no_backend(&attempts, advice())),
        }
    }

    /// Describes the selection that is stored for this graph with these settings, or the rule that chooses
    /// without one. Returns `None` if neither exists.
    pub fn explain(
        &self,
        backends: &Backends,
        path: &Path,
        options: &LoadOptions,
    ) -> Option<String> {
        let default = backends.default_backend().name();
        self.stored(path, options).map(|stored| match stored {
            Stored::Selection(selection) => selection.to_string(),
            Stored::Rule(rule) => format!("auto: {default} unless it refuses, {rule}"),
        })
    }

    /// Returns the name of the backend whose selection is stored for this graph with these settings, or of the default
    /// one if a rule chooses it. Returns `None` if neither exists.
    pub(crate) fn stored_backend(
        &self,
        backends: &Backends,
        path: &Path,
        options: &LoadOptions,
    ) -> Option<String> {
        self.stored(path, options).map(|stored| match stored {
            Stored::Selection(selection) => selection.backend,
            Stored::Rule(_) => backends.default_backend().name().to_owned(),
        })
    }

    /// Returns the known facts about the backend of this graph with these settings, without loading it.
    fn stored(&self, path: &Path, options: &LoadOptions) -> Option<Stored> {
        let file = GraphFile {
            path,
            options,
            probe: None,
        };
        let outline = ModelOutline::read(path).ok();
        let record = outline.as_ref().and_then(|found| self.record(&file, found));
        if let Some(selection) = record.as_deref().and_then(read) {
            return Some(Stored::Selection(selection));
        }
        rule(&file, outline.as_ref()).map(Stored::Rule)
    }

    /// Returns the path of the selection for this file with its settings and external data, if selections are
    /// stored.
    fn record(&self, file: &GraphFile<'_>, outline: &ModelOutline) -> Option<PathBuf> {
        let directory = self.directory.as_ref()?;
        let LoadOptions {
            device,
            threads,
            shapes,
        } = file.options;
        let mut hasher = blake3::Hasher::new();
        // Opening a pipe would block, and reading a device never ends.
        let (content, _) = open_regular(file.path).ok()?;
        hasher.update_reader(content).ok()?;
        hasher.update(format!("\0{FORMAT}\0{device}\0{threads}").as_bytes());
        if !shapes.is_empty() {
            hasher.update(format!("\0{shapes:?}").as_bytes());
        }
        let folder = file.path.parent().unwrap_or(Path::new(""));
        for name in &outline.external_files {
            let state = match FileState::of(&folder.join(name)) {
                Ok(state) => state.to_string(),
                Err(_) => "missing".to_owned(),
            };
            hasher.update(format!("\0{name}\0{state}").as_bytes());
        }
        let name = record_name(&hasher.finalize().to_hex(), &self.tenant);
        Some(directory.join(format!("{name}.toml")))
    }

    /// Stores a selection. Returns the problem if that fails for the first time: the model is served anyway.
    fn store(&self, record: &Path, selection: &BackendSelection) -> Option<String> {
        let error = write(record, selection).err()?;
        if self.has_failed.swap(true, Ordering::Relaxed) {
            return None;
        }
        let directory = record.parent().unwrap_or(record).display();
        Some(format!("failed to write to `{directory}`: {error}"))
    }
}

/// Returns the backends that a selection is made among.
fn available(backends: &Backends) -> Vec<&Arc<dyn Backend>> {
    let is_available = |backend: &&Arc<dyn Backend>| backend.available().is_ok();
    backends.all().filter(is_available).collect()
}

/// Returns the findings on the reference in a stored selection, if it is not available any more.
fn absent_reference(
    stored: Option<&BackendSelection>,
    candidates: &[&Arc<dyn Backend>],
) -> Option<Candidate> {
    let is_available = candidates.iter().any(|one| one.name() == REFERENCE);
    let found = stored?.measured_reference();
    found.filter(|_| !is_available).cloned()
}

/// Loads the file with every available backend and compares them, without rules or stored selections.
pub(crate) fn compare_backends(
    backends: &Backends,
    file: &GraphFile<'_>,
) -> Result<BackendSelection, BackendSelectionError> {
    let outline = ModelOutline::read(file.path).ok();
    let candidates = available(backends);
    let attempts = candidates
        .iter()
        .map(|backend| Attempt::load(backend, file));
    let attempts: Vec<Attempt<'_>> = attempts.collect();
    let advice = || Advice::new(backends, outline.as_ref());
    let basis = Basis::read(file.path, outline.as_ref());
    let (_, selection) = choose(&attempts, &basis, &advice)?;
    Ok(selection)
}

/// Has one child process compare the backends, and records that the chosen one has loaded the file.
/// Returns `None` if no child is used or it finds nothing: each backend then has a child of its own,
/// whose end is not held against the others.
fn compared_by_child(
    candidates: &[&Arc<dyn Backend>],
    file: &GraphFile<'_>,
) -> Option<BackendSelection> {
    let probe = file.probe.filter(|_| candidates.len() > 1)?;
    let selection = probe.compare(file.path, file.options)?;
    let selection: BackendSelection = toml::from_str(str::from_utf8(&selection).ok()?).ok()?;
    let chosen = candidates.iter().find(|b| b.name() == selection.backend)?;
    if !selection.is_of(candidates) {
        return None;
    }
    probe.pass(file.path, &***chosen, file.options);
    Some(selection)
}

/// Reads a stored selection; `None` if it is missing or invalid.
fn read(record: &Path) -> Option<BackendSelection> {
    let text = read_regular_text(record, MAX_RECORD_BYTES).ok()?;
    toml::from_str(&text).ok()
}

fn write(record: &Path, selection: &BackendSelection) -> std::io::Result<()> {
    let text = toml::to_string(selection).map_err(std::io::Error::other)?;
    write_text(record, &text)
}

/// Writes a record as a whole, so that no reader finds a part of it.
fn write_text(record: &Path, text: &str) -> std::io::Result<()> {
    let directory = record.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(record)?;
    Ok(())
}

// === impl BackendSelection ===

impl BackendSelection {
    fn by_rule(backend: &str, rule: SelectionRule) -> BackendSelection {
        BackendSelection {
            backend: backend.to_owned(),
            rule: Some(rule),
            record_problem: None,
            candidates: Vec::new(),
            absent: None,
        }
    }

    /// Returns whether the selection was made among these backends, in these versions.
    fn is_of(&self, candidates: &[&Arc<dyn Backend>]) -> bool {
        let same = |(candidate, backend): (&Candidate, &&Arc<dyn Backend>)| {
            candidate.backend == backend.name() && candidate.version == backend.version()
        };
        self.candidates.len() == candidates.len()
            && self.candidates.iter().zip(candidates).all(same)
    }
}

fn selected(
    backend: &Arc<dyn Backend>,
    graph: &Arc<dyn Graph>,
    selection: BackendSelection,
) -> Selected {
    Selected {
        backend: Arc::clone(backend),
        graph: Arc::clone(graph),
        selection,
    }
}

#[cfg(test)]
mod tests;
