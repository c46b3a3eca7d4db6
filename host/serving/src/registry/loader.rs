//! From a directory of model files to versions that can be called.
//!
//! The layout is Triton's and TF Serving's: `<model>/<version>/model.onnx`, beside it
//! `handler.wasm`, above them an optional `model.toml`. The highest version is loaded. One model's
//! failure is its own: it is entered as unavailable, with the reason, and the rest are served.

use crate::agreement::{Disagreement, disagreements};
use crate::graph_queue::GraphQueue;
use crate::placed_handler::{HandlerThreads, PlacedHandler, Placement};
use crate::registry::model_file::{self, ModelFile, ModelFileError};
use crate::registry::{ModelEntry, Registry};
use crate::version::ModelVersion;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_backend::worker::{WorkerOptions, Workers};
use wisp_backend::{Backend, BackendError, Graph};
use wisp_protocol::call::{ModelDescription, ModelName, ModelNameError, Version};
use wisp_sandbox::aot::AotStore;
use wisp_sandbox::component::{CheckedComponent, ComponentError};
use wisp_sandbox::engine::Engine;
use wisp_sandbox::handler::{Handler, HandlerLoadError};
use wisp_sandbox::limits::Limits;
use wisp_sandbox::nn::{Compute, Graphs};
use wisp_tensor::{Dimension, Signature, TensorSpec};

/// The graph a bare model serves, and the one that its model's name is an alias of.
const MAIN_GRAPH: &str = "model";

/// The file of a version's handler.
pub const HANDLER_FILE: &str = "handler.wasm";

/// Rows per request where batches are possible and the model file is silent.
const DEFAULT_MAX_BATCH_SIZE: u32 = 32;

/// A compute at most this long is made inline, between a handler's two halves: handing it to
/// another thread would cost as much as it takes.
const INLINE_COMPUTE: Duration = Duration::from_micros(200);

/// Computations that may wait for a graph's threads.
const GRAPH_QUEUE: usize = 1024;

/// Everything it takes to load a version. Lifetime: the process.
#[derive(Debug)]
pub struct Loader {
    pub engine: Arc<Engine>,
    pub aot: AotStore,
    pub backend: Box<dyn Backend>,
    /// Where handlers run; shared by all versions.
    pub handler_threads: HandlerThreads,
    /// Threads of each graph.
    pub graph_threads: NonZeroUsize,
    /// Limits of every handler whose model file does not lower them.
    pub limits: Limits,
}

/// Why a model cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("failed to read `{}`", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{name}` cannot be the name of a model")]
    Name {
        name: String,
        source: ModelNameError,
    },
    #[error("there is no version: no directory with a decimal name")]
    NoVersion,
    #[error(
        "version {version} holds neither a .onnx file nor a handler.wasm{}",
        hint(export)
    )]
    Empty {
        version: Version,
        export: Option<String>,
    },
    #[error("version {version} has no model.onnx, which a model without a handler needs")]
    NoMainGraph { version: Version },
    #[error("handler.wasm is not built; run `wisp build` on the model, or serve with --build")]
    HandlerNotBuilt,
    #[error(transparent)]
    ModelFile(ModelFileError),
    #[error("graph `{graph}` cannot be loaded")]
    Graph { graph: String, source: BackendError },
    #[error("the handler is refused")]
    Component(#[source] ComponentError),
    #[error("the handler cannot be used")]
    Handler(#[source] HandlerLoadError),
    #[error(
        "handler and graphs do not fit each other: {}",
        points.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    Disagreement { points: Vec<Disagreement> },
    #[error("failed to start the threads of graph `{graph}`")]
    Threads {
        graph: String,
        source: std::io::Error,
    },
}

fn hint(export: &Option<String>) -> String {
    match export {
        Some(command) => format!("; make model.onnx with `{command}`"),
        None => String::new(),
    }
}

impl LoadError {
    /// The reason that clients see in the index: what is wrong, and no path.
    pub fn client_reason(&self) -> String {
        match self {
            LoadError::Read { .. } => "its files cannot be read".to_owned(),
            LoadError::ModelFile(_) => "its model.toml is not valid".to_owned(),
            LoadError::Component(source) => format!("{self}: {source}"),
            LoadError::Graph { .. }
            | LoadError::Handler(_)
            | LoadError::Name { .. }
            | LoadError::NoVersion
            | LoadError::Empty { .. }
            | LoadError::NoMainGraph { .. }
            | LoadError::HandlerNotBuilt
            | LoadError::Disagreement { .. }
            | LoadError::Threads { .. } => self.to_string(),
        }
    }
}

/// What became of a model, told while the rest are still being loaded.
pub type Loaded<'a> = Result<&'a Arc<ModelVersion>, &'a LoadError>;

/// The files of one version of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFiles {
    pub model: ModelName,
    pub version: Version,
    /// The graphs, by name.
    pub graphs: BTreeMap<String, PathBuf>,
    pub handler: Option<PathBuf>,
    /// Where `model.toml` would be.
    pub model_directory: PathBuf,
}

impl Loader {
    /// Load every model below `path`: a repository, one model's directory, or one `.onnx` file.
    ///
    /// `report` hears of each model as it is done, for the log and the person waiting.
    pub fn load_repository(
        &self,
        path: &Path,
        report: &dyn Fn(&ModelName, Loaded<'_>),
    ) -> Result<Registry, LoadError> {
        let mut models = BTreeMap::new();
        for (name, files) in find_models(path)? {
            let version = files.as_ref().ok().map(|files| files.version);
            let loaded = files.and_then(|files| self.load_version(&files));
            report(&name, loaded.as_ref());
            let entry = ModelEntry {
                version,
                state: loaded.map_err(|error| error.client_reason()),
            };
            models.insert(name, entry);
        }
        Ok(Registry::new(models))
    }

    /// Load, check and warm one version.
    pub fn load_version(&self, files: &VersionFiles) -> Result<Arc<ModelVersion>, LoadError> {
        let model_file = ModelFile::load(&files.model_directory).map_err(LoadError::ModelFile)?;
        let limits = model_file
            .limits(&files.model_directory, &self.limits)
            .map_err(LoadError::ModelFile)?;
        if files.graphs.is_empty() && (files.handler.is_none() || model_file.export.is_some()) {
            return Err(LoadError::Empty {
                version: files.version,
                export: model_file.export,
            });
        }
        if files.handler.is_none() && model_file.handler.source.is_some() {
            return Err(LoadError::HandlerNotBuilt);
        }
        let mut loaded = Vec::new();
        for (name, path) in &files.graphs {
            loaded.push((name.as_str(), self.load_graph(name, path)?));
        }
        let is_quick = loaded.iter().all(|(_, graph)| compute_is_quick(&**graph));
        let mut queues: Vec<(String, Arc<dyn Compute>)> = Vec::new();
        for (name, graph) in loaded {
            queues.push((name.to_owned(), self.queue(name, graph)?));
        }
        let main = queues
            .iter()
            .find(|(name, _)| name == MAIN_GRAPH)
            .map(|(_, graph)| Arc::clone(graph));
        if let Some(main) = &main {
            queues.push((files.model.to_string(), Arc::clone(main)));
        }
        let graphs = Arc::new(Graphs::new(queues));
        let describe = |signature: Signature, batched: bool| ModelDescription {
            model: files.model.clone(),
            version: files.version,
            platform: format!("{}_onnx", self.backend.name()),
            max_batch_size: model_file.max_batch_size.unwrap_or(if batched {
                DEFAULT_MAX_BATCH_SIZE
            } else {
                0
            }),
            signature,
        };
        let Some(handler) = &files.handler else {
            let main = main.ok_or(LoadError::NoMainGraph {
                version: files.version,
            })?;
            let signature = main.signature().clone();
            let batched = has_batch_axis([&signature]);
            return Ok(Arc::new(ModelVersion::bare(
                describe(signature, batched),
                main,
            )));
        };
        let handler = self.load_handler(handler, &graphs, limits)?;
        let told = handler.signature();
        let batched = has_batch_axis(
            std::iter::once(&told.model).chain(told.graphs.iter().map(|(_, graph)| graph)),
        );
        let description = describe(told.model.clone(), batched);
        let placement = match is_quick {
            true => Placement::Inline,
            false => Placement::Queued,
        };
        let handler = PlacedHandler::new(handler, placement, self.handler_threads.clone());
        Ok(Arc::new(ModelVersion::with_handler(description, handler)))
    }

    fn load_graph(&self, name: &str, path: &Path) -> Result<Arc<dyn Graph>, LoadError> {
        self.backend.load(path).map_err(|source| LoadError::Graph {
            graph: name.to_owned(),
            source,
        })
    }

    fn queue(&self, name: &str, graph: Arc<dyn Graph>) -> Result<Arc<dyn Compute>, LoadError> {
        let options = WorkerOptions {
            threads: self.graph_threads,
            queue: GRAPH_QUEUE,
        };
        let workers =
            Workers::spawn("wisp-graph", options).map_err(|source| LoadError::Threads {
                graph: name.to_owned(),
                source,
            })?;
        Ok(Arc::new(GraphQueue::new(graph, workers)))
    }

    fn load_handler(
        &self,
        path: &Path,
        graphs: &Arc<Graphs>,
        limits: Limits,
    ) -> Result<Handler, LoadError> {
        let wasm = std::fs::read(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        let component =
            CheckedComponent::load(&self.engine, &self.aot, &wasm).map_err(LoadError::Component)?;
        let handler = Handler::load(&self.engine, &component, Arc::clone(graphs), limits)
            .map_err(LoadError::Handler)?;
        let points = disagreements(handler.signature(), graphs);
        if !points.is_empty() {
            return Err(LoadError::Disagreement { points });
        }
        Ok(handler)
    }
}

/// Whether computing is short enough to be done inline: for one row, and for no request much longer,
/// which variable axes besides the batch could make it.
///
/// The best of a few: the first runs meet cold caches, and others may be using the machine.
fn compute_is_quick(graph: &dyn Graph) -> bool {
    let mut inner_axes = graph
        .signature()
        .inputs
        .iter()
        .flat_map(|spec| spec.shape.iter().skip(1));
    if inner_axes.any(|dimension| *dimension == Dimension::Variable) {
        return false;
    }
    let Ok(inputs) = graph.sample_inputs() else {
        return false;
    };
    (0..5).any(|_| {
        let started = Instant::now();
        graph.compute(&inputs).is_ok() && started.elapsed() <= INLINE_COMPUTE
    })
}

fn has_batch_axis<'a>(signatures: impl IntoIterator<Item = &'a Signature>) -> bool {
    let variable = |spec: &TensorSpec| spec.shape.first() == Some(&Dimension::Variable);
    signatures
        .into_iter()
        .flat_map(|signature| signature.inputs.iter().chain(&signature.outputs))
        .all(variable)
}

/// A model's name and its files, or why it has none that can be loaded.
type FoundModel = (ModelName, Result<VersionFiles, LoadError>);

/// The models below `path` and their files, by name.
///
/// An error of the whole path is returned, an error of one model stands in its place.
fn find_models(path: &Path) -> Result<Vec<FoundModel>, LoadError> {
    let read = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let path = path.canonicalize().map_err(read)?;
    if path.is_file() {
        let files = single_file(&path)?;
        return Ok(vec![(files.model.clone(), Ok(files))]);
    }
    if is_model_directory(&path)? {
        let files = version_files(&path)?;
        return Ok(vec![(files.model.clone(), Ok(files))]);
    }
    let mut models = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(read)? {
        let directory = entry.map_err(read)?.path();
        if !directory.is_dir() || !is_model_directory(&directory)? {
            continue;
        }
        models.push((model_name(&directory)?, version_files(&directory)));
    }
    models.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(models)
}

/// A single `.onnx` file is version 1 of a model of its own name.
fn single_file(path: &Path) -> Result<VersionFiles, LoadError> {
    let directory = path.parent().unwrap_or(path).to_owned();
    Ok(VersionFiles {
        model: model_name(&path.with_extension(""))?,
        version: Version::FIRST,
        graphs: BTreeMap::from([(MAIN_GRAPH.to_owned(), path.to_owned())]),
        handler: None,
        model_directory: directory,
    })
}

/// Whether the directory holds a model: a numbered version, or a model file.
fn is_model_directory(path: &Path) -> Result<bool, LoadError> {
    Ok(path.join(model_file::FILE_NAME).is_file() || !versions(path)?.is_empty())
}

/// The files of the highest version below a model's directory.
pub fn version_files(model_directory: &Path) -> Result<VersionFiles, LoadError> {
    let model = model_name(model_directory)?;
    let (version, directory) = versions(model_directory)?
        .pop_last()
        .ok_or(LoadError::NoVersion)?;
    let read = |source| LoadError::Read {
        path: directory.clone(),
        source,
    };
    let mut graphs = BTreeMap::new();
    for entry in std::fs::read_dir(&directory).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "onnx")
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            graphs.insert(stem.to_owned(), path.clone());
        }
    }
    let handler = directory.join(HANDLER_FILE);
    Ok(VersionFiles {
        model,
        version,
        graphs,
        handler: handler.is_file().then_some(handler),
        model_directory: model_directory.to_owned(),
    })
}

/// The version directories below a model's directory. Other names, and numbers with a leading
/// zero, are ignored, as Triton does.
fn versions(model_directory: &Path) -> Result<BTreeMap<Version, PathBuf>, LoadError> {
    let read = |source| LoadError::Read {
        path: model_directory.to_owned(),
        source,
    };
    let mut versions = BTreeMap::new();
    for entry in std::fs::read_dir(model_directory).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let version = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(Version::from_decimal);
        if let Some(version) = version
            && path.is_dir()
        {
            versions.insert(version, path);
        }
    }
    Ok(versions)
}

fn model_name(path: &Path) -> Result<ModelName, LoadError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ModelName::new(&name).map_err(|source| LoadError::Name {
        name: name.into_owned(),
        source,
    })
}
