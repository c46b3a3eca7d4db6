//! Loads a directory of model files into versions that can be called.
//!
//! The loader loads the versions of each model that `repository` selects. A version that fails to load is
//! entered as unavailable, with the reason, and the rest are served.

use crate::admission::InstanceSlots;
use crate::batcher::graph_statistics::GraphStatistics;
use crate::batcher::{Batcher, BatcherParts};
use crate::call_durations::ExecutionMode;
use crate::fair_pool::FairPool;
use crate::guest_log_writer::GuestLogWriter;
use crate::handler_executor::HandlerExecutor;
use crate::logged_handler::LoggedHandler;
use crate::memory_ledger::MemoryPart;
use crate::registry::backend_selection::BackendSelection;
use crate::registry::batching_choice::VersionBatching;
use crate::registry::code_memory::{MIN_VERSION_BYTES, code_of, expected_code};
use crate::registry::component_file::read_component;
use crate::registry::config_override::override_settings;
use crate::registry::example;
use crate::registry::grant_policy::GrantPolicy;
use crate::registry::graph_loader::{GraphLoader, LoadedGraph};
use crate::registry::graph_probe::GraphProbe;
use crate::registry::handler_configuration;
use crate::registry::load_error::LoadError;
use crate::registry::model_file::{HttpSection, ModelFile, ModelFileError};
use crate::registry::quality_loader;
use crate::registry::quick_graph::compute_is_quick;
use crate::registry::repository::{self, MAIN_GRAPH, SelectedVersions, VersionFiles};
use crate::registry::version_content::VersionContent;
use crate::registry::version_description::{DescriptionParts, platform, properties};
use crate::registry::version_files::foreign_file;
use crate::registry::version_signature::SignaturePolicy;
use crate::registry::web_loader::WebLoading;
use crate::registry::{LoadedVersion, ModelEntry, UnservedVersion};
use crate::signature_check::signature_mismatches;
use crate::version::ModelVersion;
use crate::worker_pool::WorkerOptions;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use wisp_backend::LoadOptions;
use wisp_sandbox::aot::AotStore;
use wisp_sandbox::component::{CheckedComponent, ComponentSummary};
use wisp_sandbox::compute::{Compute, Graphs};
use wisp_sandbox::configuration::HandlerConfiguration;
use wisp_sandbox::engine::Engine;
use wisp_sandbox::grants::Grant;
use wisp_sandbox::handler::{Handler, Initializer};
use wisp_sandbox::limits::Limits;
use wisp_tensor::Signature;

/// The number of computations of a graph that may wait for a thread.
const GRAPH_QUEUE_CAPACITY: usize = 1024;

/// Everything needed to load a version. Lifetime: the process.
#[derive(Debug)]
pub struct Loader {
    pub engine: Arc<Engine>,
    pub aot: Arc<AotStore>,
    pub graphs: GraphLoader,
    /// The threads that handlers run on, shared by all versions.
    pub pool: Arc<FairPool>,
    /// The places for instances of handlers in the engine, if they are not those of the server.
    pub own_instances: Option<InstanceSlots>,
    /// The number of concurrent computations of a graph, unless its model sets it.
    pub instances: NonZeroUsize,
    /// The limits of every handler, unless its model file lowers them.
    pub limits: Limits,
    /// Set if the thread of a connection makes calls that take microseconds itself.
    pub direct_calls: bool,
    /// The rules for the signatures of versions.
    pub signatures: SignaturePolicy,
    /// The rules for the capabilities that a model.toml may request.
    pub grants: GrantPolicy,
}

/// The number of computations of a graph at the same time, and the fastest way in which they may be made.
#[derive(Clone, Copy)]
struct GraphSettings {
    threads: NonZeroUsize,
    mode: ExecutionMode,
}

/// The settings of a version's handler.
struct HandlerSettings {
    limits: Limits,
    configuration: Arc<HandlerConfiguration>,
    grants: BTreeSet<Grant>,
}

/// The graphs of a version, with the queues of their computations.
struct VersionGraphs {
    /// The graph that the version computes if it has no handler.
    main: Option<Arc<dyn Compute>>,
    /// All graphs by name. The main graph also has the name of the model.
    all: Arc<Graphs>,
    /// The selected backends, by graph, for the graphs whose backend was selected by measurement.
    selections: Vec<(String, BackendSelection)>,
    /// The executions of each graph.
    statistics: Vec<Arc<GraphStatistics>>,
}

/// A version that has just been loaded, and its memory.
struct LoadedParts {
    version: ModelVersion,
    /// The memory of its graphs and of its handler's machine code.
    memory: Vec<MemoryPart>,
    /// The bytes that loading the graphs has allocated, as far as they were measured.
    measured_bytes: u64,
}

/// The outcome of loading a version, reported while others are still being loaded.
pub type Loaded<'a> = Result<&'a Arc<ModelVersion>, &'a LoadError>;

/// A function that receives each outcome with the name of the model.
pub type LoadObserver<'a> = &'a dyn Fn(&str, Loaded<'_>);

impl Loader {
    /// Loads the selected versions of one model.
    pub fn load_model(
        &self,
        selected: &SelectedVersions,
        observer: LoadObserver<'_>,
    ) -> ModelEntry {
        let _children = self.graphs.probe.as_ref().map(GraphProbe::keep_children);
        let mut versions = BTreeMap::new();
        for files in &selected.files {
            let started = Instant::now();
            let loaded = self.load_version(files);
            observer(selected.model.as_str(), loaded.as_ref());
            let loaded = match loaded {
                Ok(version) => {
                    version.statistics().record_load(started.elapsed());
                    LoadedVersion::Ready(version)
                }
                Err(error) => LoadedVersion::Failed(error.client_reason()),
            };
            versions.insert(files.version, loaded);
        }
        let unserved = selected.skipped.iter().cloned();
        let unserved = unserved.map(UnservedVersion::skipped);
        ModelEntry {
            versions,
            labels: selected.labels.clone(),
            unserved: unserved.collect(),
            ignored_settings: selected.ignored_settings.clone(),
            ..ModelEntry::default()
        }
    }

    /// Loads, checks and warms one version.
    pub fn load_version(&self, files: &VersionFiles) -> Result<Arc<ModelVersion>, LoadError> {
        // Nothing is parsed before.
        let verified = self
            .signatures
            .verify(files)
            .map_err(LoadError::Signature)?;
        let load = || self.new_version(files);
        let (loaded, measured) = self.graphs.shared.measure(load);
        let LoadedParts {
            version,
            mut memory,
            measured_bytes,
        } = loaded?;
        verified.check_unchanged().map_err(LoadError::Signature)?;
        // The graphs have counted their allocations.
        let own = measured.unwrap_or(0).saturating_sub(measured_bytes);
        memory.push(MemoryPart {
            key: None,
            bytes: own.max(MIN_VERSION_BYTES),
        });
        Ok(Arc::new(version.with_memory(memory)))
    }

    fn new_version(&self, files: &VersionFiles) -> Result<LoadedParts, LoadError> {
        let (mut model_file, limits) = self.settings(files).map_err(LoadError::ModelFile)?;
        if let Some(config) = &files.config {
            override_settings(config, &mut model_file).map_err(LoadError::Config)?;
        }
        self.grants.check(&model_file)?;
        check_files(files, &model_file)?;
        let content = VersionContent::read(files, &model_file)?;
        let loaded = self.load_graphs(files, &model_file)?;
        let graphs = loaded.values();
        let mut memory: Vec<MemoryPart> = graphs.map(|graph| graph.memory.clone()).collect();
        let graphs = loaded.values().map(|graph| graph.measured_bytes);
        let measured_bytes = graphs.fold(0, u64::saturating_add);
        let threads = model_file.instances.unwrap_or(self.instances);
        let batching = VersionBatching::decide(&model_file, &loaded, threads, &self.graphs);
        let mode = batching.mode(self.execution_mode(&model_file, &loaded));
        let settings = GraphSettings { threads, mode };
        let parts = DescriptionParts {
            files,
            instances: settings.threads,
            platform: platform(files, &loaded),
            properties: properties(&model_file, &loaded),
            model_file: &model_file,
            may_be_batched: loaded.values().all(|l| l.graph.rows().may_be_batch()),
        };
        let sample = match (&files.handler, loaded.get(MAIN_GRAPH)) {
            (None, Some(main)) => example::of_graph(&*main.graph),
            _ => None,
        };
        let graphs = self.version_graphs(files, loaded, (settings, &batching));
        let version = match &files.handler {
            None => {
                let version = files.version;
                let main = graphs.main.ok_or(LoadError::NoMainGraph { version })?;
                let signature = main.signature().clone();
                let is_batched = signature.has_batch_axis();
                let description = parts.with_signature(signature, is_batched)?;
                ModelVersion::graph_only(description, main, graphs.selections)
            }
            Some(path) => {
                let wasm = read_component(path, limits.component_bytes)?;
                if is_web_component(&wasm) {
                    content.check_web_component()?;
                    let loading = WebLoading {
                        engine: &self.engine,
                        aot: &self.aot,
                        pool: &self.pool,
                        files,
                        settings: &model_file.http,
                        limits,
                    };
                    let component = loading.load(&wasm, &graphs.all, settings.threads)?;
                    let description = parts.with_signature(Signature::default(), false)?;
                    let version = ModelVersion::web(description, component, graphs.selections);
                    memory.push(expected_code(wasm.len()));
                    return Ok(LoadedParts {
                        version: version
                            .with_instances(self.own_instances.clone())
                            .with_batching(batching)
                            .with_statistics_of(graphs.statistics),
                        memory,
                        measured_bytes,
                    });
                }
                let handler_settings = HandlerSettings {
                    limits,
                    configuration: configuration(files, path, &model_file)?,
                    grants: model_file.handler.grants.clone(),
                };
                let handler = self.load_handler(&wasm, &graphs.all, handler_settings)?;
                memory.push(code_of(&handler));
                let declared = handler.signature();
                let used = declared.graphs.iter().map(|(_, signature)| signature);
                let mut signatures = std::iter::once(&declared.model).chain(used);
                let is_batched = signatures.all(Signature::has_batch_axis);
                let description = parts.with_signature(declared.model.clone(), is_batched)?;
                let slots = 2 * (self.pool.threads_per_flow().get() + threads.get());
                let slots = batching.slots(slots, self.engine.max_instances() as usize);
                let writer = GuestLogWriter::new(files.model.clone(), files.version);
                let handler = LoggedHandler::new(handler, writer);
                let handler = HandlerExecutor::new(handler, mode, &self.pool, slots);
                ModelVersion::with_handler(description, handler, graphs.selections)
            }
        };
        if model_file.http != HttpSection::default() {
            return Err(LoadError::NoWebComponent);
        }
        let directory = files.model_directory.as_deref();
        let golden = directory
            .and_then(|directory| example::of_golden_cases(directory, version.description()));
        let quality = quality_loader::load(files, &model_file, version.description())?;
        let version = version
            .with_instances(self.own_instances.clone())
            .with_payload_log(model_file.payload_log.unwrap_or(true))
            .with_batching(batching)
            .with_statistics_of(graphs.statistics)
            .with_quality(quality);
        let version = content.cache(version);
        Ok(LoadedParts {
            version: version.with_example(golden.or(sample)),
            memory,
            measured_bytes,
        })
    }

    /// Returns the fastest execution mode of a version's calls. They may run on one thread if every graph
    /// computes quickly and the model file does not limit the number of concurrent computations, which would
    /// be the number of threads. A handler without graphs may too, and is called queued once its calls take
    /// long.
    fn execution_mode(
        &self,
        model_file: &ModelFile,
        loaded: &BTreeMap<&str, LoadedGraph>,
    ) -> ExecutionMode {
        let is_quick = |loaded: &LoadedGraph| compute_is_quick(&*loaded.graph);
        match model_file.instances.is_none() && loaded.values().all(is_quick) {
            true if self.direct_calls => ExecutionMode::Direct,
            true => ExecutionMode::Inline,
            false => ExecutionMode::Queued,
        }
    }

    fn load_graphs<'a>(
        &self,
        files: &'a VersionFiles,
        model_file: &ModelFile,
    ) -> Result<BTreeMap<&'a str, LoadedGraph>, LoadError> {
        let options = model_file.load_options();
        let others = LoadOptions {
            shapes: BTreeMap::new(),
            ..options.clone()
        };
        let mut graphs = BTreeMap::new();
        for (name, path) in &files.graphs {
            let options = match repository::is_main_graph(name, &files.graphs) {
                true => &options,
                false => &others,
            };
            let choice = model_file.backend.as_ref();
            let loaded = self.graphs.load((name, path), choice, options)?;
            for wrong in loaded.graph.wrong_declarations() {
                let (model, version) = (&files.model, files.version);
                tracing::warn!(%model, %version, graph = name.as_str(), "{wrong}");
            }
            graphs.insert(name.as_str(), loaded);
        }
        Ok(graphs)
    }

    /// Returns the loaded graphs with the queues of their computations.
    fn version_graphs(
        &self,
        files: &VersionFiles,
        loaded: BTreeMap<&str, LoadedGraph>,
        (settings, batching): (GraphSettings, &VersionBatching),
    ) -> VersionGraphs {
        let options = WorkerOptions {
            threads: settings.threads,
            queue: GRAPH_QUEUE_CAPACITY,
        };
        let mut selections = Vec::new();
        let mut statistics = Vec::new();
        let mut queues: Vec<(String, Arc<dyn Compute>)> = Vec::new();
        for (name, loaded) in loaded {
            let batcher = Batcher::new(BatcherParts {
                graph: loaded.graph,
                pool: Arc::clone(&self.graphs.workers),
                options,
                mode: settings.mode,
                policy: batching.policy(name),
            });
            statistics.push(Arc::clone(batcher.statistics()));
            queues.push((name.to_owned(), Arc::new(batcher)));
            let selection = loaded.selection;
            selections.extend(selection.map(|selection| (name.to_owned(), selection)));
        }
        let main = queues
            .iter()
            .find(|(name, _)| name == MAIN_GRAPH)
            .map(|(_, graph)| Arc::clone(graph));
        if let Some(main) = &main {
            queues.push((files.model.to_string(), Arc::clone(main)));
        }
        VersionGraphs {
            main,
            all: Arc::new(Graphs::new(queues)),
            selections,
            statistics,
        }
    }

    /// Reads the model file and returns it with the limits of the handler.
    pub(super) fn settings(
        &self,
        files: &VersionFiles,
    ) -> Result<(ModelFile, Limits), ModelFileError> {
        let Some(directory) = &files.model_directory else {
            return Ok((ModelFile::default(), self.limits.clone()));
        };
        let model_file = ModelFile::load(directory)?;
        let limits = model_file.limits(directory, &self.limits)?;
        Ok((model_file, limits))
    }

    /// Reads a handler. Returns it with its bytes, once it imports no more than it is granted.
    pub(super) fn checked_handler(
        &self,
        path: &Path,
        grants: &BTreeSet<Grant>,
    ) -> Result<(CheckedComponent, Vec<u8>), LoadError> {
        let wasm = read_component(path, self.limits.component_bytes)?;
        let component = CheckedComponent::load(&self.engine, &self.aot, &wasm, grants)
            .map_err(LoadError::Component)?;
        Ok((component, wasm))
    }

    fn load_handler(
        &self,
        wasm: &[u8],
        graphs: &Arc<Graphs>,
        settings: HandlerSettings,
    ) -> Result<Handler, LoadError> {
        let HandlerSettings {
            limits,
            configuration,
            grants,
        } = settings;
        let component = CheckedComponent::load(&self.engine, &self.aot, wasm, &grants)
            .map_err(LoadError::Component)?;
        let initializer = Initializer {
            engine: &self.engine,
            store: &self.aot,
            configuration,
            limits: &limits,
        };
        let component = initializer.initialize(component, wasm);
        let component = component.map_err(LoadError::Initialization)?;
        let handler = Handler::load(&self.engine, &component, Arc::clone(graphs), limits)
            .map_err(LoadError::Handler)?;
        let mismatches = signature_mismatches(handler.signature(), graphs);
        if !mismatches.is_empty() {
            return Err(LoadError::SignatureMismatch { mismatches });
        }
        Ok(handler)
    }
}

/// Returns whether these are the bytes of a web component. A damaged file is refused as a handler.
fn is_web_component(wasm: &[u8]) -> bool {
    ComponentSummary::read(wasm).is_ok_and(|summary| summary.is_web_component())
}

/// Returns the settings and files that the handler at `path` can read.
pub(super) fn configuration(
    files: &VersionFiles,
    path: &Path,
    model_file: &ModelFile,
) -> Result<Arc<HandlerConfiguration>, LoadError> {
    let directories: Vec<&Path> = path
        .parent()
        .into_iter()
        .chain(files.model_directory.as_deref())
        .collect();
    let configuration = handler_configuration::load(model_file, &directories);
    Ok(Arc::new(configuration.map_err(LoadError::HandlerFiles)?))
}

/// Returns an error unless the version has the files that it needs.
fn check_files(files: &VersionFiles, model_file: &ModelFile) -> Result<(), LoadError> {
    if files.graphs.is_empty() {
        let version = files.version;
        if let Some(export) = model_file.export.clone() {
            return Err(LoadError::NotExported { version, export });
        }
        if files.handler.is_none() {
            let directory = files.directory.as_deref();
            let foreign = directory.and_then(foreign_file);
            return Err(foreign.unwrap_or(LoadError::Empty { version }));
        }
    }
    if files.handler.is_none() && model_file.handler.source.is_some() {
        return Err(LoadError::HandlerNotBuilt);
    }
    Ok(())
}
