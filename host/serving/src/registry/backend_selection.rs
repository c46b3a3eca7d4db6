//! The choice of the best backend for a graph, made by measurement and stored in a file.
//!
//! The setting `backend = "auto"` selects this. Every available backend loads the graph and computes the
//! same inputs. Backends whose outputs differ from the reference are excluded, and the fastest of the
//! rest is chosen. A selection also holds after a restart: it is measured again only if the graph, its
//! settings or the backends have changed.

use crate::per_row_graph::load_graph;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_backend::bounded_file::{open_regular, read_regular_text};
use wisp_backend::measure::{REFERENCE, compute, in_turns, varied_inputs};
use wisp_backend::{Backend, BackendError, Backends, Graph, LoadOptions};
use wisp_tensor::NamedTensor;
use wisp_tensor::difference::largest_difference;

/// The total time for timing the backends.
const BUDGET: Duration = Duration::from_millis(500);

/// The difference (see [`largest_difference`]) up to which outputs count as equal. Backends sum in
/// different orders, and in deep graphs the differences add up to this; a wrong output is far beyond it.
const TOLERANCE: f64 = 1e-2;

/// The directory of stored selections. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct BackendSelectionStore {
    directory: PathBuf,
}

/// The backend that was chosen, and the measurements of all candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendSelection {
    /// The name of the backend.
    pub backend: String,
    /// All backends that were tried, in the order of [`Backends::all`].
    pub candidates: Vec<Candidate>,
}

/// The measurements of one backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub backend: String,
    pub version: String,
    /// The time to load the graph.
    pub load_microseconds: Option<u64>,
    /// The median time to compute a batch of one row.
    pub compute_microseconds: Option<f64>,
    /// The difference of its outputs from those of the reference.
    pub difference: Option<f64>,
    /// The reason that it was excluded, if it was.
    pub problem: Option<String>,
}

/// A loaded graph and the selection that selected its backend.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) graph: Arc<dyn Graph>,
    pub(crate) selection: BackendSelection,
}

/// The reason that no backend was selected.
#[derive(Debug, thiserror::Error)]
pub enum BackendSelectionError {
    /// No backend can load the graph, or the backend of a stored selection no longer can.
    #[error(transparent)]
    Backend(BackendError),
    #[error("failed to store the selected backend in `{}`", path.display())]
    Store {
        path: PathBuf,
        source: std::io::Error,
    },
}

// === impl BackendSelectionStore ===

impl BackendSelectionStore {
    /// Returns a store in this directory, which is created with the first selection.
    pub fn new(directory: PathBuf) -> BackendSelectionStore {
        BackendSelectionStore { directory }
    }

    /// Loads the graph at `path` with the backend of a stored selection, or decides now.
    pub(crate) fn select(
        &self,
        backends: &Backends,
        path: &Path,
        options: &LoadOptions,
    ) -> Result<Selected, BackendSelectionError> {
        let candidates: Vec<&Arc<dyn Backend>> = backends
            .all()
            .filter(|backend| backend.available().is_ok())
            .collect();
        let record = self.record(path, options);
        if let Some(selection) = read(&record)
            && selection.is_of(&candidates)
            && let Some(backend) = candidates.iter().find(|b| b.name() == selection.backend)
        {
            return Ok(Selected {
                graph: load_graph(&***backend, path, options)
                    .map_err(BackendSelectionError::Backend)?,
                backend: Arc::clone(backend),
                selection,
            });
        }
        let selected =
            measure(&candidates, path, options).map_err(BackendSelectionError::Backend)?;
        write(&record, &selected.selection).map_err(|source| BackendSelectionError::Store {
            path: self.directory.clone(),
            source,
        })?;
        Ok(selected)
    }

    /// Returns the path of the selection for this graph with these settings.
    fn record(&self, path: &Path, options: &LoadOptions) -> PathBuf {
        let LoadOptions { device, threads } = options;
        let mut hasher = blake3::Hasher::new();
        // Opening a pipe would block, and reading a device never ends. A path that is not a readable file
        // has no selection either; its backend reports the error.
        if let Ok((file, _)) = open_regular(path) {
            let _ = hasher.update_reader(file);
        }
        hasher.update(format!("{device} {threads}").as_bytes());
        let name = format!("{}.toml", hasher.finalize().to_hex());
        self.directory.join(name)
    }
}

/// The size limit of a record in bytes; a record has a few lines for each backend.
const MAX_RECORD_BYTES: u64 = 64 << 10;

/// Reads a stored selection; `None` if it is missing or invalid.
fn read(record: &Path) -> Option<BackendSelection> {
    let text = read_regular_text(record, MAX_RECORD_BYTES).ok()?;
    toml::from_str(&text).ok()
}

fn write(record: &Path, selection: &BackendSelection) -> std::io::Result<()> {
    let directory = record.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let text = toml::to_string(selection).map_err(std::io::Error::other)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(record)?;
    Ok(())
}

// === impl BackendSelection ===

impl BackendSelection {
    /// Returns whether the selection was made among these backends, in these versions.
    fn is_of(&self, candidates: &[&Arc<dyn Backend>]) -> bool {
        let same = |(candidate, backend): (&Candidate, &&Arc<dyn Backend>)| {
            candidate.backend == backend.name() && candidate.version == backend.version()
        };
        self.candidates.len() == candidates.len()
            && self.candidates.iter().zip(candidates).all(same)
    }
}

impl fmt::Display for BackendSelection {
    /// Writes text such as `onnxruntime: tract 412.0 us, onnxruntime 151.2 us`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.backend)?;
        for (position, candidate) in self.candidates.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma} {}", candidate.backend)?;
            match (&candidate.problem, candidate.compute_microseconds) {
                (Some(problem), _) => write!(f, " out ({problem})")?,
                (None, Some(time)) => write!(f, " {time:.1} us")?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

/// A backend and the graph as it has loaded it.
struct LoadedCandidate<'a> {
    backend: &'a Arc<dyn Backend>,
    found: Candidate,
    graph: Option<Arc<dyn Graph>>,
}

/// Loads the graph with every candidate, compares and times them, and keeps the fastest correct one.
fn measure(
    candidates: &[&Arc<dyn Backend>],
    path: &Path,
    options: &LoadOptions,
) -> Result<Selected, BackendError> {
    let mut first_error = None;
    let mut tried: Vec<LoadedCandidate> = Vec::new();
    for backend in candidates {
        let (candidate, error) = load(backend, path, options);
        tried.push(candidate);
        first_error = first_error.or(error);
    }
    compare(&mut tried);
    let time = |tried: &LoadedCandidate| tried.found.compute_microseconds.unwrap_or(f64::INFINITY);
    let chosen = tried
        .iter()
        .filter(|tried| tried.found.problem.is_none())
        .min_by(|a, b| time(a).total_cmp(&time(b)))
        .or_else(|| tried.iter().find(|tried| tried.graph.is_some()));
    let Some((backend, graph)) =
        chosen.and_then(|chosen| Some((chosen.backend, chosen.graph.as_ref()?)))
    else {
        return Err(first_error.unwrap_or(BackendError::Unavailable {
            backend: "auto",
            reason: "there is no backend to choose from".to_owned(),
        }));
    };
    Ok(Selected {
        backend: Arc::clone(backend),
        graph: Arc::clone(graph),
        selection: BackendSelection {
            backend: backend.name().to_owned(),
            candidates: tried.iter().map(|tried| tried.found.clone()).collect(),
        },
    })
}

fn load<'a>(
    backend: &'a Arc<dyn Backend>,
    path: &Path,
    options: &LoadOptions,
) -> (LoadedCandidate<'a>, Option<BackendError>) {
    let started = Instant::now();
    let loaded = load_graph(&**backend, path, options);
    let took = u64::try_from(started.elapsed().as_micros()).ok();
    let (graph, error) = match loaded {
        Ok(graph) => (Some(graph), None),
        Err(error) => (None, Some(error)),
    };
    let found = Candidate {
        backend: backend.name().to_owned(),
        version: backend.version(),
        load_microseconds: graph.as_ref().and(took),
        compute_microseconds: None,
        difference: None,
        problem: error.as_ref().map(ToString::to_string),
    };
    let tried = LoadedCandidate {
        backend,
        found,
        graph,
    };
    (tried, error)
}

/// Records the compute time of each backend that has loaded the graph, and whether its outputs
/// equal those of the reference.
fn compare(tried: &mut [LoadedCandidate]) {
    let graphs: Vec<Arc<dyn Graph>> = tried.iter().filter_map(|t| t.graph.clone()).collect();
    let Some(inputs) = inputs(&graphs) else {
        return;
    };
    let outputs: Vec<_> = tried
        .iter()
        .map(|tried| Some(compute(&**tried.graph.as_ref()?, &inputs)))
        .collect();
    let reference = tried
        .iter()
        .position(|tried| tried.found.backend == REFERENCE && tried.graph.is_some())
        .or_else(|| tried.iter().position(|tried| tried.graph.is_some()));
    let expected = reference.and_then(|position| match &outputs[position] {
        Some(Ok(output)) => Some(output.clone()),
        _ => None,
    });
    let graphs: Vec<&dyn Graph> = graphs.iter().map(|graph| &**graph).collect();
    let mut summaries = in_turns(&graphs, &inputs, BUDGET).into_iter();
    for (tried, output) in tried.iter_mut().zip(outputs) {
        let (Some(output), Some(durations)) =
            (output, tried.graph.as_ref().and_then(|_| summaries.next()))
        else {
            continue;
        };
        let found = &mut tried.found;
        match (output, durations) {
            (Ok(output), Ok(durations)) => {
                found.compute_microseconds = Some(durations.median.as_nanos() as f64 / 1e3);
                let Some(expected) = &expected else { continue };
                let difference = largest_difference(expected, &output);
                found.difference = Some(difference);
                if difference > TOLERANCE {
                    found.problem = Some(format!("its output differs by {difference:.1e}"));
                }
            }
            (Err(error), _) | (_, Err(error)) => found.problem = Some(error.to_string()),
        }
    }
}

/// Returns inputs that one of the graphs computes: varied numbers, or zeros if the graph rejects those.
fn inputs(graphs: &[Arc<dyn Graph>]) -> Option<Vec<NamedTensor>> {
    graphs.iter().find_map(|graph| {
        let varied = varied_inputs(&**graph, 1).ok();
        let zeros = || graph.sample_inputs().ok();
        let computes = |inputs: &Vec<NamedTensor>| graph.compute(inputs).is_ok();
        varied.filter(computes).or_else(zeros)
    })
}

#[cfg(test)]
mod tests;
