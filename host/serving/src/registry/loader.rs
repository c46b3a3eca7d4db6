//! Loads a directory of model files into versions that can be called.
//!
//! The loader loads the versions of each model that `repository` selects. A version that fails to load is
//! entered as unavailable, with the reason, and the rest are served.

use crate::agreement::disagreements;
use crate::fair_pool::FairPool;
use crate::graph_queue::GraphQueue;
use crate::placed_handler::{PlacedHandler, Placement};
use crate::registry::class_labels;
use crate::registry::graph_loader::{GraphLoader, LoadedGraph};
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{ModelFile, ModelFileError};
use crate::registry::repository::{self, FoundModel, MAIN_GRAPH, SelectedVersions, VersionFiles};
use crate::registry::{LoadedVersion, ModelEntry, Registry};
use crate::version::ModelVersion;
use crate::worker_pool::{WorkerOptions, Workers};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_backend::bounded_file::read_regular;
use wisp_backend::{Format, Graph};
use wisp_protocol::call::{ModelDescription, ModelName};
use wisp_sandbox::aot::AotStore;
use wisp_sandbox::component::{CheckedComponent, MAX_COMPONENT_BYTES};
use wisp_sandbox::compute::{Compute, Graphs};
use wisp_sandbox::engine::Engine;
use wisp_sandbox::handler::Handler;
use wisp_sandbox::limits::Limits;
use wisp_tensor::{Dimension, Signature};

/// The maximum number of rows per request if batches are possible and the model file sets no maximum.
const DEFAULT_MAX_BATCH_SIZE: u32 = 32;

/// The longest computation that is made inline, between the two halves of a handler. Handing a
/// computation of this length to another thread would take as long as the computation.
const INLINE_COMPUTE: Duration = Duration::from_micros(200);

/// The backend name of a version without graphs.
const NO_BACKEND: &str = "none";

/// The number of computations that may wait for the threads of a graph.
const GRAPH_QUEUE: usize = 1024;

/// Everything needed to load a version. Lifetime: the process.
#[derive(Debug)]
pub struct Loader {
    pub engine: Arc<Engine>,
    pub aot: AotStore,
    pub graphs: GraphLoader,
    /// The threads that handlers run on, shared by all versions.
    pub pool: Arc<FairPool>,
    /// The number of concurrent computations of a graph, unless its model sets it.
    pub instances: NonZeroUsize,
    /// The limits of every handler, unless its model file lowers them.
    pub limits: Limits,
}

/// The outcome of loading a version, reported while others are still being loaded.
pub type Loaded<'a> = Result<&'a Arc<ModelVersion>, &'a LoadError>;

/// A function that receives each outcome with the name of the model.
pub type Report<'a> = &'a dyn Fn(&str, Loaded<'_>);

impl Loader {
    /// Loads every model below `path`: a repository, the directory of one model, or one graph file.
    ///
    /// `report` is called for each version once its outcome is known, for the log and for a waiting operator.
    /// It receives the name of the directory. A name that is not valid for a model is reported but not entered.
    pub fn load_repository(&self, path: &Path, report: Report<'_>) -> Result<Registry, LoadError> {
        let mut models = BTreeMap::new();
        for FoundModel { name, versions } in repository::find_models(path)? {
            let entry = match versions {
                Ok(versions) => self.load_model(&versions, report),
                Err(error) => {
                    report(&name, Err(&error));
                    ModelEntry::problem(error.client_reason())
                }
            };
            if let Ok(name) = ModelName::new(&name) {
                models.insert(name, entry);
            }
        }
        Ok(Registry::new(models))
    }

    /// Loads the selected versions of one model.
    pub fn load_model(&self, selected: &SelectedVersions, report: Report<'_>) -> ModelEntry {
        let mut versions = BTreeMap::new();
        for files in &selected.files {
            let loaded = self.load_version(files);
            report(selected.model.as_str(), loaded.as_ref());
            let loaded = match loaded {
                Ok(version) => LoadedVersion::Ready(version),
                Err(error) => LoadedVersion::Failed(error.client_reason()),
            };
            versions.insert(files.version, loaded);
        }
        ModelEntry {
            versions,
            labels: selected.labels.clone(),
            problem: None,
        }
    }

    /// Loads, checks and warms one version.
    pub fn load_version(&self, files: &VersionFiles) -> Result<Arc<ModelVersion>, LoadError> {
        let (model_file, limits) = self.settings(files).map_err(LoadError::ModelFile)?;
        if files.graphs.is_empty() {
            let version = files.version;
            if let Some(export) = model_file.export.clone() {
                return Err(LoadError::NotExported { version, export });
            }
            if files.handler.is_none() {
                let directory = files.model_directory.as_ref();
                let directory = directory.map(|model| model.join(version.to_string()));
                let foreign = directory.and_then(|directory| repository::foreign_file(&directory));
                return Err(foreign.unwrap_or(LoadError::Empty { version }));
            }
        }
        if files.handler.is_none() && model_file.handler.source.is_some() {
            return Err(LoadError::HandlerNotBuilt);
        }
        let mut loaded = BTreeMap::new();
        for (name, path) in &files.graphs {
            let graph = self.graphs.load(name, path, &model_file)?;
            loaded.insert(name.as_str(), graph);
        }
        // Inline, the number of concurrent computations is the number of threads for handlers.
        let is_quick = model_file.instances.is_none()
            && loaded
                .values()
                .all(|loaded| compute_is_quick(&*loaded.graph));
        // If there are several graphs, the main one determines the backend of the version.
        let first = loaded
            .get_key_value(MAIN_GRAPH)
            .or_else(|| loaded.iter().next());
        let platform = first.map_or_else(
            || format!("{NO_BACKEND}_onnx"),
            |(name, first)| {
                let format = files.graphs.get(*name).and_then(|path| Format::of(path));
                let format = format.map_or(Format::Onnx, |(format, _)| format);
                format!("{}_{}", first.backend, format.name())
            },
        );
        let mut decisions = Vec::new();
        let mut queues: Vec<(String, Arc<dyn Compute>)> = Vec::new();
        for (
            name,
            LoadedGraph {
                graph, decision, ..
            },
        ) in loaded
        {
            queues.push((name.to_owned(), self.queue(name, graph, &model_file)?));
            decisions.extend(decision.map(|decision| (name.to_owned(), decision)));
        }
        let main = queues
            .iter()
            .find(|(name, _)| name == MAIN_GRAPH)
            .map(|(_, graph)| Arc::clone(graph));
        if let Some(main) = &main {
            queues.push((files.model.to_string(), Arc::clone(main)));
        }
        let graphs = Arc::new(Graphs::new(queues));
        let describe = |signature: Signature, batched: bool| {
            let directory = files.model_directory.as_deref();
            Ok(ModelDescription {
                model: files.model.clone(),
                version: files.version,
                platform: platform.clone(),
                max_batch_size: model_file.max_batch_size.unwrap_or(if batched {
                    DEFAULT_MAX_BATCH_SIZE
                } else {
                    0
                }),
                class_labels: class_labels::load(&model_file, directory, &signature)
                    .map_err(LoadError::ClassLabels)?,
                signature,
            })
        };
        let Some(handler) = &files.handler else {
            let main = main.ok_or(LoadError::NoMainGraph {
                version: files.version,
            })?;
            let signature = main.signature().clone();
            let batched = signature.has_batch_axis();
            let version = ModelVersion::bare(describe(signature, batched)?, main);
            return Ok(Arc::new(version.with_decisions(decisions)));
        };
        let handler = self.load_handler(handler, &graphs, limits)?;
        let told = handler.signature();
        let mut signatures =
            std::iter::once(&told.model).chain(told.graphs.iter().map(|(_, graph)| graph));
        let batched = signatures.all(Signature::has_batch_axis);
        let description = describe(told.model.clone(), batched)?;
        let placement = match is_quick {
            true => Placement::Inline,
            false => Placement::Queued,
        };
        let computing = model_file.instances.unwrap_or(self.instances).get();
        let instances = 2 * (self.pool.threads_per_flow().get() + computing);
        let handler = PlacedHandler::new(handler, placement, &self.pool, instances);
        let version = ModelVersion::with_handler(description, handler);
        Ok(Arc::new(version.with_decisions(decisions)))
    }

    /// Reads the model file and returns it with the limits of the handler.
    fn settings(&self, files: &VersionFiles) -> Result<(ModelFile, Limits), ModelFileError> {
        let Some(directory) = &files.model_directory else {
            return Ok((ModelFile::default(), self.limits.clone()));
        };
        let model_file = ModelFile::load(directory)?;
        let limits = model_file.limits(directory, &self.limits)?;
        Ok((model_file, limits))
    }

    fn queue(
        &self,
        name: &str,
        graph: Arc<dyn Graph>,
        model_file: &ModelFile,
    ) -> Result<Arc<dyn Compute>, LoadError> {
        let options = WorkerOptions {
            threads: model_file.instances.unwrap_or(self.instances),
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
        let wasm =
            read_regular(path, MAX_COMPONENT_BYTES as u64).map_err(LoadError::HandlerFile)?;
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

/// Returns whether a computation is short enough to run inline: for one row, and for every request, which
/// variable axes besides the batch could make much longer.
///
/// Uses the best of five runs: the first meets cold caches, and other processes may be using the machine.
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
    let began = Instant::now();
    (0..5)
        // A graph that has already taken this long will not become quick.
        .take_while(|_| began.elapsed() < 100 * INLINE_COMPUTE)
        .any(|_| {
            let started = Instant::now();
            graph.compute(&inputs).is_ok() && started.elapsed() <= INLINE_COMPUTE
        })
}
