//! The choice of the best backend for a graph, made by measurement and stored in a file.
//!
//! The setting `backend = "auto"` selects this. Every available backend loads the graph and computes the
//! same inputs. Backends whose outputs differ from the reference are excluded, and the fastest of the
//! rest is kept. A decision also holds after a restart: it is measured again only if the graph, its
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

/// The directory of stored decisions. Lifetime: the process.
#[derive(Debug, Clone)]
pub struct DecisionStore {
    directory: PathBuf,
}

/// The backend that was kept, and the measurements of all candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
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

/// A loaded graph and the decision that selected its backend.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) graph: Arc<dyn Graph>,
    pub(crate) decision: Decision,
}

/// The reason that no backend was selected.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// No backend can load the graph, or the backend of a stored decision no longer can.
    #[error(transparent)]
    Backend(BackendError),
    #[error("failed to keep the decision for an engine in `{}`", path.display())]
    Keep {
        path: PathBuf,
        source: std::io::Error,
    },
}

// === impl DecisionStore ===

impl DecisionStore {
    /// Returns a store in this directory, which is created with the first decision.
    pub fn new(directory: PathBuf) -> DecisionStore {
        DecisionStore { directory }
    }

    /// Loads the graph at `path` with the backend of a stored decision, or decides now.
    pub(crate) fn decide(
        &self,
        backends: &Backends,
        path: &Path,
        options: &LoadOptions,
    ) -> Result<Decided, DecisionError> {
        let candidates: Vec<&Arc<dyn Backend>> = backends
            .all()
            .filter(|backend| backend.available().is_ok())
            .collect();
        let record = self.record(path, options);
        if let Some(decision) = read(&record)
            && decision.is_of(&candidates)
            && let Some(backend) = candidates.iter().find(|b| b.name() == decision.backend)
        {
            return Ok(Decided {
                graph: load_graph(&***backend, path, options).map_err(DecisionError::Backend)?,
                backend: Arc::clone(backend),
                decision,
            });
        }
        let decided = measure(&candidates, path, options).map_err(DecisionError::Backend)?;
        write(&record, &decided.decision).map_err(|source| DecisionError::Keep {
            path: self.directory.clone(),
            source,
        })?;
        Ok(decided)
    }

    /// Returns the path of the decision for this graph with these settings.
    fn record(&self, path: &Path, options: &LoadOptions) -> PathBuf {
        let LoadOptions { device, threads } = options;
        let mut hasher = blake3::Hasher::new();
        // Opening a pipe would block, and reading a device never ends. A path that is not a readable file
        // has no decision either; its backend reports the error.
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

/// Reads a stored decision; `None` if it is missing or invalid.
fn read(record: &Path) -> Option<Decision> {
    let text = read_regular_text(record, MAX_RECORD_BYTES).ok()?;
    toml::from_str(&text).ok()
}

fn write(record: &Path, decision: &Decision) -> std::io::Result<()> {
    let directory = record.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let text = toml::to_string(decision).map_err(std::io::Error::other)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.persist(record)?;
    Ok(())
}

// === impl Decision ===

impl Decision {
    /// Returns whether the decision was made among these backends, in these versions.
    fn is_of(&self, candidates: &[&Arc<dyn Backend>]) -> bool {
        let same = |(candidate, backend): (&Candidate, &&Arc<dyn Backend>)| {
            candidate.backend == backend.name() && candidate.version == backend.version()
        };
        self.candidates.len() == candidates.len()
            && self.candidates.iter().zip(candidates).all(same)
    }
}

impl fmt::Display for Decision {
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
struct Tried<'a> {
    backend: &'a Arc<dyn Backend>,
    found: Candidate,
    graph: Option<Arc<dyn Graph>>,
}

/// Loads the graph with every candidate, compares and times them, and keeps the fastest correct one.
fn measure(
    candidates: &[&Arc<dyn Backend>],
    path: &Path,
    options: &LoadOptions,
) -> Result<Decided, BackendError> {
    let mut first_error = None;
    let mut tried: Vec<Tried> = Vec::new();
    for backend in candidates {
        let (tried_now, error) = load(backend, path, options);
        tried.push(tried_now);
        first_error = first_error.or(error);
    }
    compare(&mut tried);
    let time = |tried: &Tried| tried.found.compute_microseconds.unwrap_or(f64::INFINITY);
    let kept = tried
        .iter()
        .filter(|tried| tried.found.problem.is_none())
        .min_by(|a, b| time(a).total_cmp(&time(b)))
        .or_else(|| tried.iter().find(|tried| tried.graph.is_some()));
    let Some((backend, graph)) = kept.and_then(|kept| Some((kept.backend, kept.graph.as_ref()?)))
    else {
        return Err(first_error.unwrap_or(BackendError::Unavailable {
            backend: "auto",
            reason: "there is no engine to choose from".to_owned(),
        }));
    };
    Ok(Decided {
        backend: Arc::clone(backend),
        graph: Arc::clone(graph),
        decision: Decision {
            backend: backend.name().to_owned(),
            candidates: tried.iter().map(|tried| tried.found.clone()).collect(),
        },
    })
}

fn load<'a>(
    backend: &'a Arc<dyn Backend>,
    path: &Path,
    options: &LoadOptions,
) -> (Tried<'a>, Option<BackendError>) {
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
    let tried = Tried {
        backend,
        found,
        graph,
    };
    (tried, error)
}

/// Records the compute time of each backend that has loaded the graph, and whether its outputs
/// equal those of the reference.
fn compare(tried: &mut [Tried]) {
    let graphs: Vec<Arc<dyn Graph>> = tried.iter().filter_map(|t| t.graph.clone()).collect();
    let Some(inputs) = inputs(&graphs) else {
        return;
    };
    let answers: Vec<_> = tried
        .iter()
        .map(|tried| Some(compute(&**tried.graph.as_ref()?, &inputs)))
        .collect();
    let reference = tried
        .iter()
        .position(|tried| tried.found.backend == REFERENCE && tried.graph.is_some())
        .or_else(|| tried.iter().position(|tried| tried.graph.is_some()));
    let expected = reference.and_then(|position| match &answers[position] {
        Some(Ok(answer)) => Some(answer.clone()),
        _ => None,
    });
    let graphs: Vec<&dyn Graph> = graphs.iter().map(|graph| &**graph).collect();
    let mut paces = in_turns(&graphs, &inputs, BUDGET).into_iter();
    for (tried, answer) in tried.iter_mut().zip(answers) {
        let (Some(answer), Some(pace)) = (answer, tried.graph.as_ref().and_then(|_| paces.next()))
        else {
            continue;
        };
        let found = &mut tried.found;
        match (answer, pace) {
            (Ok(answer), Ok(pace)) => {
                found.compute_microseconds = Some(pace.median.as_nanos() as f64 / 1e3);
                let Some(expected) = &expected else { continue };
                let difference = largest_difference(expected, &answer);
                found.difference = Some(difference);
                if difference > TOLERANCE {
                    found.problem = Some(format!("its answer differs by {difference:.1e}"));
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
