//! The steps of a server before its first request: limits, sockets, models, banner.

use super::activation::PassedSockets;
use super::banner::{self, Addresses};
use super::control::report_load;
use super::descriptors;
use super::load_failures::{FailedModel, LoadFailures};
use super::memory_limits::{available_memory, load_limits, memory_limit_bytes, request_memory};
use super::tenancy;
use crate::failure::{BadConfiguration, bad_configuration};
use crate::loading::{LoadingOptions, loader, optional_cache_directory};
use crate::options::{
    AdditionalAddress, DEFAULT_GRPC, DEFAULT_METRICS, LogFormat, ModelControlMode, ServeArgs,
    TlsArgs,
};
use anyhow::Context;
use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wisp_protocol::routing::{RoutingSource, hash};
use wisp_sandbox::spawner::Spawner;
use wisp_server::authority::AllowedHosts;
use wisp_server::tls::{Tls, TlsFiles};
use wisp_server::{ListeningSocket, ServerOptions, Sockets};
use wisp_serving::registry::Registry;
use wisp_serving::registry::loader::Loader;
use wisp_serving::registry::repository_loader::Start;
use wisp_serving::registry::snapshot::Snapshot;
use wisp_serving::release::ReleaseOptions;
use wisp_serving::uploads::{UploadTarget, Uploads};
use wisp_serving::{Readiness, ServingOptions};
use wisp_tensor::MemoryBudget;

/// The models of a server that has not started to serve.
#[derive(Debug)]
pub(super) struct StartedModels {
    pub(super) registry: Registry,
    pub(super) loader: Loader,
    /// The state of the repository before the models were loaded.
    pub(super) files: Snapshot,
    pub(super) options: ServingOptions,
    /// The uploads into the repository, if clients may upload.
    pub(super) uploads: Option<Uploads>,
}

/// Returns the server's limits, reduced to the system's limits if necessary.
pub(super) fn server_options(
    args: &ServeArgs,
    default: ServerOptions,
) -> anyhow::Result<ServerOptions> {
    let descriptors = descriptors::raise()?;
    let max_connections =
        descriptors::max_connections(descriptors, args.max_connections, default.max_connections)?;
    tracing::info!(max_connections, descriptors, "limit on open connections");
    Ok(ServerOptions {
        max_connections,
        cors_origins: args.cors_origin.clone(),
        allowed_hosts: Some(AllowedHosts(args.allowed_host.clone())),
        idle_exit: args.idle_exit_secs.map(|seconds| seconds.0),
        drain_timeout: args.drain_timeout_secs.0,
        ..default
    })
}

/// Loads the certificate, and takes the sockets that were passed or binds the addresses. Without a passed socket
/// for gRPC there is none by default, because the service manager would not start the program for it; nor are there
/// metrics, of which the next process would find the address in use.
pub(super) fn bind(args: &ServeArgs, passed: PassedSockets) -> anyhow::Result<Sockets> {
    let tls = load_certificate(&args.tls)?;
    let is_activated = !passed.is_empty();
    let default = |address| match is_activated {
        true => AdditionalAddress::Disabled,
        false => AdditionalAddress::At(address),
    };
    let PassedSockets { http, grpc } = passed;
    let http = match http {
        Some(socket) => socket.listen("--http")?,
        None => bind_http(args.http)?,
    };
    let grpc = match (grpc, args.grpc.unwrap_or(default(DEFAULT_GRPC))) {
        (Some(socket), _) => Some(socket.listen("--grpc")?),
        (None, AdditionalAddress::At(address)) => Some(bind_grpc(address)?),
        (None, AdditionalAddress::Disabled) => None,
    };
    let metrics = match args.metrics.unwrap_or(default(DEFAULT_METRICS)) {
        AdditionalAddress::At(address) => Some(bind_metrics(address)?),
        AdditionalAddress::Disabled => None,
    };
    let admin = tenancy::bind_admin(args)?;
    Ok(Sockets {
        http,
        grpc,
        tls,
        metrics,
        admin,
    })
}

fn bind_http(address: SocketAddr) -> anyhow::Result<ListeningSocket> {
    let listener = ListeningSocket::bind(address).with_context(|| {
        format!("failed to listen on {address}; choose another address with --http")
    })?;
    Ok(listener)
}

fn bind_grpc(address: SocketAddr) -> anyhow::Result<ListeningSocket> {
    let listener = ListeningSocket::bind(address).with_context(|| {
        format!(
            "failed to listen on {address} for gRPC; choose another address with --grpc, or `--grpc none`"
        )
    })?;
    Ok(listener)
}

fn bind_metrics(address: SocketAddr) -> anyhow::Result<ListeningSocket> {
    let listener = ListeningSocket::bind(address).with_context(|| {
        format!(
            "failed to listen on {address} for metrics; choose another address with --metrics, or `--metrics none`"
        )
    })?;
    Ok(listener)
}

/// Loads the certificate for TLS, if one is configured.
pub(super) fn load_certificate(args: &TlsArgs) -> anyhow::Result<Option<Arc<Tls>>> {
    // The configuration contains both or neither.
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    let files = TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
        client_ca: args.tls_client_ca.clone(),
        client_crl: args.tls_client_crl.clone(),
    };
    let tls = Tls::load(files).context(BadConfiguration::new(
        "cannot use TLS with the files of --tls-cert, --tls-key and --tls-client-ca",
    ))?;
    Ok(Some(Arc::new(tls)))
}

/// Loads every model of the repository.
pub(super) fn load(args: &ServeArgs, spawner: Option<&Spawner>) -> anyhow::Result<StartedModels> {
    let options = serving_options(args)?;
    if args.max_memory_bytes.is_none() {
        tracing::info!(
            bytes = options.memory.capacity(),
            limit = available_memory(),
            "limit on the memory of all requests together; set it with --max-memory-bytes"
        );
    }
    let cache = args.cache.cache_dir.as_deref();
    let loader = server_loader(args, &options, (cache, spawner))?;
    let uploads = open_uploads(args)?;
    // Taken before the models are loaded, so that a change during loading is detected as a change.
    let files = Snapshot::take(&args.repository)?;
    let registry = load_repository(&loader, args)?;
    // In poll mode or with uploads, models may appear later.
    let may_grow =
        uploads.is_some() || args.model_control.model_control_mode == ModelControlMode::Poll;
    if registry.entries().is_empty() && !may_grow {
        let path = args.repository.display();
        return Err(bad_configuration(format!(
            "there is no model in `{path}`: a repository contains directories such as \
             `<model>/1/model.onnx`"
        )));
    }
    Ok(StartedModels {
        registry,
        loader,
        files,
        options,
        uploads,
    })
}

/// Returns the loader of a server or of a worker, with compiled code in the directory `cache`.
pub(super) fn server_loader(
    args: &ServeArgs,
    options: &ServingOptions,
    (cache, spawner): (Option<&Path>, Option<&Spawner>),
) -> anyhow::Result<Loader> {
    loader(&LoadingOptions {
        cache_dir: cache,
        threads: args.threads,
        direct_calls: args.direct_calls,
        max_instances: options.max_instances,
        memory: Some(Arc::clone(&options.memory)),
        backend: &args.backend,
        limits: args.handler_limits.limits(),
        model_load: Some(load_limits(args)),
        signatures: args.upload.signatures()?,
        spawner,
    })
}

/// Opens the repository for uploads, if clients may upload. Completes commits that were interrupted, so the models are
/// loaded afterwards.
fn open_uploads(args: &ServeArgs) -> anyhow::Result<Option<Uploads>> {
    let Some(limits) = args.upload.limits(args.handler_limits.max_component_bytes) else {
        return Ok(None);
    };
    if args.model_control.model_control_mode == ModelControlMode::None {
        return Err(bad_configuration(
            "--allow-upload changes the repository, and --model-control-mode none serves it as it is at the start: give \
             one of them only",
        ));
    }
    let target = UploadTarget {
        repository: args.repository.clone(),
        limits,
    };
    let uploads = Uploads::open(target).context(BadConfiguration::new(
        "cannot use the repository for --allow-upload",
    ))?;
    Ok(Some(uploads))
}

pub(super) fn serving_options(args: &ServeArgs) -> anyhow::Result<ServingOptions> {
    Ok(ServingOptions {
        max_requests: args.max_concurrent_requests,
        max_body_bytes: args.max_body_bytes,
        request_timeout: args.request_timeout_milliseconds.0,
        memory: Arc::new(MemoryBudget::new(request_memory(args))),
        memory_limit_bytes: memory_limit_bytes(args),
        readiness: match args.strict_readiness {
            true => Readiness::Models,
            false => Readiness::Server,
        },
        cache: args.response_cache.options()?,
        releases: ReleaseOptions {
            state_directory: state_directory(args),
            routing: routing(args),
        },
        // A changed handler gives other responses.
        golden_cases: args.model_control.golden_cases && !args.watch,
        ..ServingOptions::default()
    })
}

/// Returns the directory for the states of releases. By default it is one of the repository, since servers of several
/// repositories share a cache directory.
pub(super) fn state_directory(args: &ServeArgs) -> Option<PathBuf> {
    if let Some(directory) = &args.releases.state_dir {
        return Some(directory.clone());
    }
    let cache = optional_cache_directory(args.cache.cache_dir.as_deref())?;
    let repository = std::path::absolute(&args.repository);
    let repository = repository.unwrap_or_else(|_| args.repository.clone());
    let repository = hash(repository.as_os_str().as_encoded_bytes());
    Some(cache.join("releases").join(format!("{repository:016x}")))
}

/// Returns the source of the key that keeps a client at its version during a release.
fn routing(args: &ServeArgs) -> RoutingSource {
    let header = Some(args.releases.release_key_header.as_str());
    let source = RoutingSource::new(header, args.releases.release_key_parameter.as_deref());
    // The name has been checked with the arguments.
    source.unwrap_or_default()
}

/// Loads the repository, or the part of it that is not loaded on demand, and reports each model. The start fails if a model cannot be loaded, unless the model
/// is optional or the operator serves the others.
///
/// A missing backend or device makes the start fail in any case, since no other backend computes the model
/// instead.
fn load_repository(loader: &Loader, args: &ServeArgs) -> anyhow::Result<Registry> {
    let failed: RefCell<Vec<FailedModel>> = RefCell::default();
    let residency = args.model_control.residency();
    let start = match residency.max_model_memory_bytes {
        _ if residency.load_on_demand => Start::Dormant,
        Some(bytes) => Start::Within(bytes),
        None => Start::Loaded,
    };
    let registry = loader.start_repository(&args.repository, start, &|model, loaded| {
        report_load(model, loaded);
        if let Err(error) = loaded {
            failed.borrow_mut().push(FailedModel::new(model, error));
        }
    })?;
    let mut failed = failed.into_inner();
    failed.retain(|failed| failed.is_required(&registry));
    let missing = failed.iter().find_map(FailedModel::missing);
    match missing {
        Some(missing) => Err(bad_configuration(missing)),
        None if args.exits_on_error() && !failed.is_empty() => {
            Err(LoadFailures { models: failed }.into())
        }
        None => Ok(registry),
    }
}

/// Prints the addresses and the models, with a request for each. With a log in JSON, logs the addresses.
pub(super) fn print_banner(
    registry: &Registry,
    args: &ServeArgs,
    addresses: &Addresses,
) -> anyhow::Result<()> {
    if args.log_format == LogFormat::Json {
        banner::log(registry, addresses);
        return Ok(());
    }
    let banner = banner::text(registry, &args.repository, addresses);
    let mut stdout = std::io::stdout();
    stdout.write_all(banner.as_bytes())?;
    stdout.flush()?;
    Ok(())
}
