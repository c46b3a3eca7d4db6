//! Code shared by the commands that run models: construction of the loader (wasmtime engine, store of
//! compiled code, threads), and the errors for a path that is not a model.

use crate::backend::installed;
use crate::display;
use crate::failure::bad_configuration;
use crate::options::{BackendArgs, CHILD, CacheArgs, HandlerLimitArgs};
use anyhow::Context;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tikv_jemalloc_ctl::thread;
use wisp_backend::memory::compute_budget;
use wisp_backend::onnxruntime::OnnxRuntime;
use wisp_backend::process_memory::process_memory;
use wisp_backend::rten::Rten;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, Backends};
use wisp_sandbox::aot::{AotStore, COMPILATION};
use wisp_sandbox::engine::{Engine, EngineOptions};
use wisp_sandbox::limited_process::{ChildProgram, ProcessLimits};
use wisp_sandbox::limits::{Limits, MAX_COMPONENT_BYTES};
use wisp_sandbox::spawner::{SpawnTask, Spawner};
use wisp_serving::fair_pool::{FairPool, PoolOptions};
use wisp_serving::registry::backend_selection::BackendSelectionStore;
use wisp_serving::registry::grant_policy::GrantPolicy;
use wisp_serving::registry::graph_loader::GraphLoader;
use wisp_serving::registry::graph_probe::GraphProbe;
use wisp_serving::registry::loader::Loader;
use wisp_serving::registry::model_file::BackendChoice;
use wisp_serving::registry::repository::{find_models, is_model_directory};
use wisp_serving::registry::shared_graphs::SharedGraphs;
use wisp_serving::registry::version_signature::SignaturePolicy;
use wisp_serving::worker_pool::{PoolThreads, WorkerPool};
use wisp_tensor::MemoryBudget;

const NO_THREADS: &str = "failed to start the threads of handlers";

/// The limits on compiling an engine or a bundle, which is far larger than a handler. They end a compiler that hangs.
const BUNDLE_COMPILATION: ProcessLimits = ProcessLimits {
    processor_time: Duration::from_secs(600),
    wall_time: Duration::from_secs(1200),
    memory_bytes: 8 << 30,
    output_bytes: 4 << 30,
};

/// The options of a loader.
#[derive(Debug)]
pub(crate) struct LoadingOptions<'a> {
    /// The directory for compiled handlers; by default in the user's cache directory.
    pub(crate) cache_dir: Option<&'a Path>,
    /// The number of threads for each graph and for inline handlers; by default one per core.
    pub(crate) threads: Option<NonZeroUsize>,
    /// Set if calls that take microseconds run on the threads of their callers.
    pub(crate) direct_calls: bool,
    /// The maximum number of live asynchronous instances.
    pub(crate) max_instances: usize,
    /// The budget from which the memory of instances is reserved; `None` if only one is alive at a time.
    pub(crate) memory: Option<Arc<MemoryBudget>>,
    pub(crate) backend: &'a BackendArgs,
    /// The limits of handlers whose models set none.
    pub(crate) limits: Limits,
    /// The limits on loading a model file, for loaders that accept untrusted files.
    pub(crate) model_load: Option<ProcessLimits>,
    /// The rules for the signatures of versions.
    pub(crate) signatures: SignaturePolicy,
    /// The process that starts child processes; `None` if this one does.
    pub(crate) spawner: Option<&'a Spawner>,
}

impl<'a> LoadingOptions<'a> {
    /// Returns the options of a command that calls one model at a time, with files that the caller trusts.
    pub(crate) fn of_one_call(
        cache: &'a CacheArgs,
        backend: &'a BackendArgs,
        limits: &HandlerLimitArgs,
    ) -> LoadingOptions<'a> {
        LoadingOptions {
            cache_dir: cache.cache_dir.as_deref(),
            threads: None,
            direct_calls: false,
            max_instances: 1,
            memory: None,
            backend,
            limits: limits.limits(),
            model_load: None,
            signatures: SignaturePolicy::default(),
            spawner: None,
        }
    }
}

pub(crate) fn loader(options: &LoadingOptions<'_>) -> anyhow::Result<Loader> {
    let LoadingOptions {
        cache_dir,
        threads,
        direct_calls,
        max_instances,
        memory,
        backend,
        limits,
        model_load,
        signatures,
        spawner,
    } = options;
    let threads = match threads {
        Some(threads) => *threads,
        None => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    let cache = optional_cache_directory(*cache_dir);
    if cache.is_none() {
        tracing::warn!(
            "neither XDG_CACHE_HOME nor HOME is set, so every start compiles handlers and compares backends \
             again; set --cache-dir DIR"
        );
    }
    let cache = cache.as_deref();
    let pool = PoolOptions::with_threads_per_flow(threads);
    // Inline calls hold an instance too, one on each thread, and a few instances are being dropped.
    let instances = max_instances + max_instances / 10 + pool.threads() + 1;
    let defaults = EngineOptions::default();
    let engine = Engine::start(&EngineOptions {
        memory: memory.clone().unwrap_or(defaults.memory),
        instances: u32::try_from(instances)
            .map_err(|_| bad_configuration("too many sandbox instances"))?,
        ..defaults
    })?;
    Ok(Loader {
        engine: Arc::new(engine),
        aot: Arc::new(
            compiled_code(cache)?
                .compiling_with(compiler(*spawner), compilation(limits.component_bytes)),
        ),
        graphs: GraphLoader {
            probe: model_load.map(|limits| {
                GraphProbe::new(
                    prober(*spawner, backend, cache),
                    limits,
                    cache.map(|cache| cache.join("backends/passed")),
                )
            }),
            ..graph_loader(backend, cache, threads)?
        },
        pool: FairPool::spawn("wisp-handler", pool).context(NO_THREADS)?,
        own_instances: None,
        instances: threads,
        direct_calls: *direct_calls,
        limits: limits.clone(),
        signatures: signatures.clone(),
        grants: GrantPolicy::default(),
    })
}

/// Returns the limits on compiling a component of at most this size: those of the default size, or as many times more as
/// it is larger.
fn compilation(component_bytes: usize) -> ProcessLimits {
    let times = component_bytes.div_ceil(MAX_COMPONENT_BYTES).max(1);
    let factor = u32::try_from(times).unwrap_or(u32::MAX);
    ProcessLimits {
        processor_time: COMPILATION.processor_time.saturating_mul(factor),
        wall_time: COMPILATION.wall_time.saturating_mul(factor),
        memory_bytes: COMPILATION.memory_bytes.saturating_mul(u64::from(factor)),
        output_bytes: COMPILATION.output_bytes.saturating_mul(times),
    }
}

/// Returns the graph loader with the available backends, whose graphs run `threads` computations each at the same
/// time. Fails if the requested backend is unavailable.
fn graph_loader(
    args: &BackendArgs,
    cache: Option<&Path>,
    threads: NonZeroUsize,
) -> anyhow::Result<GraphLoader> {
    let (backends, choice) = checked_backends(args, cache)?;
    Ok(GraphLoader {
        backends,
        choice,
        selections: selections(cache),
        probe: None,
        workers: graph_threads(threads)?,
        shared: SharedGraphs::measured_by(allocated_bytes),
    })
}

/// Returns the bytes that the calling thread has allocated less those that it has freed, as jemalloc counts them.
fn allocated_bytes() -> Option<i64> {
    let allocated = thread::allocatedp::read().ok()?.get();
    let freed = thread::deallocatedp::read().ok()?.get();
    // Blocks that other threads have allocated may have been freed by this one.
    i64::try_from(allocated)
        .ok()?
        .checked_sub(i64::try_from(freed).ok()?)
}

/// Starts the threads that compute graphs, each of which runs `threads` computations at the same time.
pub(crate) fn graph_threads(threads: NonZeroUsize) -> anyhow::Result<Arc<WorkerPool>> {
    WorkerPool::spawn("wisp-graph", PoolThreads::for_graphs(threads))
        .context("failed to start the threads of graphs")
}

/// Returns the backends and the choice among them. Fails if the requested backend is unavailable, or if others
/// can change the libraries of installed ones.
pub(crate) fn checked_backends(
    args: &BackendArgs,
    cache: Option<&Path>,
) -> anyhow::Result<(Backends, BackendChoice)> {
    if let Some(cache) = cache
        && args.onnxruntime_library().is_none()
    {
        installed::check_ownership(cache)?;
    }
    let backends = backends(args, cache);
    let choice = BackendChoice::from(args.backend.clone());
    if let BackendChoice::Named(name) = &choice {
        let available = backends.find(name).and_then(|backend| backend.available());
        available.map_err(|error| bad_configuration(format!("--backend {name}: {error}")))?;
    }
    Ok((backends, choice))
}

/// Returns the store of compiled handlers.
fn compiled_code(cache: Option<&Path>) -> anyhow::Result<AotStore> {
    Ok(match cache {
        Some(cache) => AotStore::open(&cache.join("aot"))?,
        None => AotStore::in_memory(),
    })
}

/// Returns the store of the compiled modules of edge bundles, which come with Wisp.
pub(crate) fn edge_module_store(cache_dir: Option<&Path>) -> anyhow::Result<AotStore> {
    let cache = optional_cache_directory(cache_dir);
    let store = compiled_code(cache.as_deref())?;
    Ok(store.compiling_with(compiler(None), BUNDLE_COMPILATION))
}

/// Returns the store of a finished bundle while it is tried. It holds the model, so no file of it is kept.
pub(crate) fn trial_store() -> AotStore {
    AotStore::in_memory().compiling_with(compiler(None), BUNDLE_COMPILATION)
}

/// Returns the stored selections of backends and costs of batches.
pub(crate) fn selections(cache: Option<&Path>) -> BackendSelectionStore {
    match cache {
        Some(cache) => BackendSelectionStore::new(cache.join("backends/decisions")),
        None => BackendSelectionStore::in_memory(),
    }
}

/// Returns this program as a child process that compiles components.
fn compiler(spawner: Option<&Spawner>) -> ChildProgram {
    match spawner {
        Some(spawner) => ChildProgram::spawned(spawner, SpawnTask::Compile),
        None => ChildProgram::new(this_program(), [CHILD, "compile"]),
    }
}

/// Returns this program as a child process that loads model files, with the same backends.
fn prober(spawner: Option<&Spawner>, args: &BackendArgs, cache: Option<&Path>) -> ChildProgram {
    match spawner {
        Some(spawner) => ChildProgram::spawned(spawner, SpawnTask::Load),
        None => ChildProgram::new(this_program(), load_arguments(args, cache, "load")),
    }
}

/// Returns the arguments of a child process for this task, with the same backends.
pub(crate) fn load_arguments(
    args: &BackendArgs,
    cache: Option<&Path>,
    task: &str,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![CHILD.into(), task.into()];
    if let Some(cache) = cache {
        arguments.extend(["--cache-dir".into(), cache.into()]);
    }
    if let Some(library) = args.onnxruntime_library() {
        arguments.extend(["--onnxruntime-library".into(), library.into()]);
    }
    arguments
}

/// Returns the executable file of this process, even if the file has been replaced since.
pub(crate) fn this_program() -> PathBuf {
    let link = Path::new("/proc/self/exe");
    match link.exists() {
        true => link.to_owned(),
        // /proc may not be mounted.
        false => std::env::args_os().next().unwrap_or_default().into(),
    }
}

/// Returns the limits on loading a model file, with defaults for those that the operator has not set.
pub(crate) fn model_load_limits(
    processor_time: Duration,
    memory_bytes: Option<usize>,
) -> ProcessLimits {
    let memory_bytes = memory_bytes.or_else(|| Some(process_memory()? / 2));
    ProcessLimits {
        processor_time,
        // The machine may be busy with other work.
        wall_time: processor_time.saturating_mul(3),
        memory_bytes: memory_bytes
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(u64::MAX),
        output_bytes: 64 << 10,
    }
}

/// Returns the backends of this build, including unavailable ones. Those that are installed are in the cache
/// directory.
pub(crate) fn backends(args: &BackendArgs, cache: Option<&Path>) -> Backends {
    let library = args.onnxruntime_library();
    let library = library.or_else(|| installed::onnxruntime(cache?));
    let onnxruntime = OnnxRuntime::new(library);
    let onnxruntime = match cache.and_then(installed::cuda) {
        Some(cuda) => onnxruntime.with_cuda_libraries(cuda.join("lib")),
        None => onnxruntime,
    };
    // The computations of both embedded backends share one budget.
    let memory = compute_budget();
    let tract = Tract::with_memory(Arc::clone(&memory));
    let others: Vec<Arc<dyn Backend>> =
        vec![Arc::new(Rten::with_memory(memory)), Arc::new(onnxruntime)];
    Backends::new(Arc::new(tract), others)
}

/// Returns the directory for files that can be created again, such as compiled handlers, for commands whose
/// purpose is to write to it.
pub(crate) fn cache_directory(asked_for: Option<&Path>) -> anyhow::Result<PathBuf> {
    optional_cache_directory(asked_for).ok_or_else(|| {
        bad_configuration("neither XDG_CACHE_HOME nor HOME is set; set --cache-dir DIR")
    })
}

/// Returns the directory for files that can be created again, for commands that do without it if necessary.
/// `None` if none is set and the user has no directory for them.
pub(crate) fn optional_cache_directory(asked_for: Option<&Path>) -> Option<PathBuf> {
    asked_for.map(Path::to_owned).or_else(user_cache_directory)
}

/// Rejects a path that is neither a model file nor a model's directory. For a repository, the error names one
/// of its models as an example.
pub(crate) fn expect_model(path: &Path) -> anyhow::Result<()> {
    let shown = display::path(path);
    if !path.exists() {
        return Err(bad_configuration(format!("`{shown}` does not exist")));
    }
    if path.is_file() {
        return Ok(());
    }
    if !path.is_dir() {
        return Err(bad_configuration(format!(
            "`{shown}` is neither a model file nor a model's directory"
        )));
    }
    if is_model_directory(path)? {
        return Ok(());
    }
    Err(bad_configuration(match find_models(path)?.first() {
        Some(model) => format!(
            "`{shown}` is a repository; name one of its models, such as `{}`",
            display::path(&path.join(&model.name))
        ),
        None => format!(
            "`{shown}` is not a model's directory: it contains neither a model.toml nor a \
             version, such as `1/model.onnx`"
        ),
    }))
}

/// Returns the models at `path`: the models of a repository, or else the path itself, which must be a model's
/// directory or a model file.
pub(crate) fn models_in(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_dir() && !is_model_directory(path)? {
        let models = find_models(path)?;
        let models = models.iter().map(|model| path.join(&model.name));
        let models: Vec<PathBuf> = models.collect();
        if !models.is_empty() {
            return Ok(models);
        }
    }
    expect_model(path)?;
    Ok(vec![path.to_owned()])
}

/// Returns `wisp` in `$XDG_CACHE_HOME` or in `~/.cache`, according to the XDG base directory
/// specification.
fn user_cache_directory() -> Option<PathBuf> {
    let absolute = |variable| {
        let path = PathBuf::from(std::env::var_os(variable)?);
        path.is_absolute().then_some(path)
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    base.map(|base| base.join("wisp"))
}
