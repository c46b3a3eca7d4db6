//! The worker process of a tenant: the same service as a server's, for one tenant and over one socket.
//!
//! It reads the name of its tenant, locks itself in with the files of that tenant, and answers the requests that the
//! server passes on, until the server closes the socket. It loads the tenant's own models and the public ones with their
//! first requests. Its compiled code and its selections of backends are in the directory of the tenant: nothing that it
//! writes is ever read by the server or by another worker.

use super::cage::report_end;
use super::control::report_load;
use super::memory_limits::load_limits;
use super::worker_task::WorkerTask;
use super::{ending, log_lines, startup, tenancy, worker_usage};
use crate::confinement::{FileRules, Profile, Reading, Sockets, confine, end_start, places};
use crate::options::ServeArgs;
use crate::spawner::{self, SpawnerOptions};
use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::convert::Infallible;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wisp_sandbox::spawner::Spawner;
use wisp_server::{ServerOptions, serve_forwarded};
use wisp_serving::fair_pool::STACK_BYTES;
use wisp_serving::memory_watch::watch_memory;
use wisp_serving::model_control::{ControlMode, ModelControl};
use wisp_serving::namespaces::{NamespaceOpener, Namespaces, create_private};
use wisp_serving::registry::repository_loader::Start;
use wisp_serving::release::ReleaseOptions;
use wisp_serving::residency::ResidencyOptions;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_set::Tenant;
use wisp_serving::{Readiness, Serving, ServingOptions};

/// The directory of the compiled code of a tenant's worker, below the tenant's.
const CACHE: &str = "cache";

/// The directory of the models that clients send with a load, below the directory of compiled code.
const SENT: &str = "sent";

/// The number of descriptors that a worker may have: its socket, its runtime's, and the files that it loads.
const DESCRIPTORS: u64 = 1024;

/// The sockets that a worker makes: none.
const SOCKETS: Sockets = Sockets {
    connections: false,
    notifications: false,
};

/// The end of every refusal to start because of the cage.
const REMEDY: &str = "the worker cannot be caged; `--no-cage` serves without a cage";

/// A worker that has its tenant and is locked in.
struct Worker {
    tenant: Arc<Tenant>,
    /// The directory of the tenant.
    directory: PathBuf,
    cache: PathBuf,
    socket: UnixStream,
    spawner: Option<Spawner>,
}

/// Serves until the server has ended.
pub(super) fn run(args: &ServeArgs) -> anyhow::Result<Infallible> {
    spawner::follow_server()?;
    log_lines::start(args.log.as_deref(), args.log_format)?;
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    let socket = UnixStream::from(input.context("failed to take the socket")?);
    let tenant = WorkerTask::read(&socket)?.tenant()?;
    let tenants = args.tenancy.tenants.as_deref();
    let tenants = TenantFile::new(tenants.context("no directory of tenants")?);
    let directory = tenants.tenants().join(tenant.id.as_str());
    let cache = directory.join(CACHE);
    create_private(&cache).context("failed to create the directory of the tenant")?;
    limit_descriptors()?;
    let worker = Worker {
        // Before the second thread: the rules hold for threads that are started afterwards.
        spawner: enter_cage(args, (&directory, &cache))?,
        tenant: Arc::new(tenant),
        directory,
        cache,
        socket,
    };
    // The threads that serve connections also run direct calls.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let outcome = runtime.block_on(worker.serve(args));
    // Dropping the runtime would wait for its threads.
    runtime.shutdown_background();
    outcome
}

fn limit_descriptors() -> anyhow::Result<()> {
    let most = getrlimit(Resource::Nofile).maximum;
    let most = most.map_or(DESCRIPTORS, |maximum| maximum.min(DESCRIPTORS));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::Nofile, limit).context("failed to limit the process")
}

/// Starts the process that starts children of this one, then locks this one in. Returns `None` if the operator has
/// switched the cage off.
fn enter_cage(
    args: &ServeArgs,
    (directory, cache): (&Path, &Path),
) -> anyhow::Result<Option<Spawner>> {
    if !args.cage.is_caged() {
        return Ok(None);
    }
    let sent = cache.join(SENT);
    // Those of a worker that was ended are of no use to this one.
    let _ = std::fs::remove_dir_all(&sent);
    create_private(&sent).context("failed to create the directory of models that are sent")?;
    let mut models = places::of_repository(&args.repository);
    models.push(directory.to_owned());
    if let Some(library) = args.backend.onnxruntime_library() {
        models.extend(places::directories_of(&library));
    }
    let (spawner, process) = spawner::start(&SpawnerOptions {
        backend: &args.backend,
        cache: Some(cache),
        read: &models,
        load: load_limits(args),
    })?;
    let mut read = models;
    read.extend(places::system());
    read.extend(args.upload.trusted_key.iter().cloned());
    let rules = FileRules {
        reading: Reading::Only(read),
        write: vec![directory.to_owned()],
        moves: args.upload.allow_upload,
        devices: places::devices(),
        ..FileRules::default()
    };
    let gaps = confine(&rules, Profile::Server(SOCKETS)).context(REMEDY)?;
    if !gaps.is_empty() {
        tracing::warn!(%gaps, "the cage of the worker is incomplete");
    }
    // The default directory is not writable. The call fails only if another one was set before.
    let _ = tempfile::env::override_temp_dir(&sent);
    report_end(
        (process, spawner.clone()),
        "the worker compiles no handler and loads no new model file",
    )?;
    Ok(Some(spawner))
}

impl Worker {
    /// Opens the models, reports to the server that the worker is ready, and serves.
    async fn serve(self, args: &ServeArgs) -> anyhow::Result<Infallible> {
        let options = serving_options(args)?;
        let places = (Some(self.cache.as_path()), self.spawner.as_ref());
        let loader = startup::server_loader(args, &options, places)?;
        let usage = Arc::clone(&options.usage);
        worker_usage::start_reporting(Arc::clone(&usage))?;
        let opener = NamespaceOpener {
            loader: loader.for_tenant(&self.tenant.id),
            mode: tenancy::control_mode(args),
            observer: report_load,
            uploads: args.upload.limits(args.handler_limits.max_component_bytes),
            owners: Isolation::Shared,
        };
        let public = loader.start_repository(&args.repository, Start::Dormant, &report_load)?;
        let path = args.repository.clone();
        let control = ModelControl::new(loader, path, ControlMode::Disabled, report_load);
        let control = control.with_residency(ResidencyOptions {
            load_on_demand: true,
            ..args.model_control.residency()
        });
        let public = Arc::new(Serving::new(public, Some(control), options));
        let serving = opener.open_only(&public, &self.tenant, &self.directory);
        let serving = Arc::new(serving);
        let namespaces = Arc::new(Namespaces::local(Arc::clone(&serving)));
        if self.spawner.is_some() {
            end_start(SOCKETS).context(REMEDY)?;
        }
        let mut socket = self.socket;
        socket.write_all(b"\n").context("the server has gone")?;
        tracing::debug!(tenant = %self.tenant.id, process = std::process::id(), "ready");
        let watching_memory = watch_memory(Arc::clone(&serving));
        // Kept until the process ends: dropping the versions would wait for their threads.
        let _kept = (public, serving, Arc::clone(&namespaces));
        let served = tokio::select! {
            served = serve_forwarded(socket, namespaces, ServerOptions::default()) => served,
            never = watching_memory => match never {},
        };
        // It fails if the server has ended as a whole.
        let _ = worker_usage::report(&usage);
        match served {
            Ok(()) => ending::end(0, || tracing::debug!("the server has ended this worker")),
            Err(error) => ending::end(0, move || tracing::debug!(%error, "the server has gone")),
        }
    }
}

/// Returns the limits of the server, without what belongs to all tenants: the releases of public models, and a cache
/// that servers share.
fn serving_options(args: &ServeArgs) -> anyhow::Result<ServingOptions> {
    let options = startup::serving_options(args)?;
    Ok(ServingOptions {
        readiness: Readiness::Server,
        shows_usage: args.metering.usage_header,
        releases: ReleaseOptions {
            state_directory: None,
            ..options.releases
        },
        ..options
    })
}
