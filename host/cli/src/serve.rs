//! `wisp serve`: loads the models, listens, prints a banner, and drains on a signal.
//!
//! `ending` receives the signals; the server performs the drain that they request.

mod banner;
mod descriptors;
mod ending;
mod log_lines;

use crate::build::{self, Rebuild};
use crate::failure::{BadConfiguration, bad_configuration};
use crate::loading::{LoadingOptions, loader, model_load_limits};
use crate::options::{GrpcAddress, ModelControlMode, ServeArgs, TlsArgs};
use anyhow::Context;
use banner::Addresses;
use ending::Signals;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use wisp_backend::process_memory::process_memory;
use wisp_server::authority::AllowedHosts;
use wisp_server::tls::{Tls, TlsFiles};
use wisp_server::{ServerOptions, Sockets, serve};
use wisp_serving::fair_pool::STACK_BYTES;
use wisp_serving::model_control::{ControlError, ControlMode, ModelControl};
use wisp_serving::registry::Registry;
use wisp_serving::registry::load_error::LoadError;
use wisp_serving::registry::loader::{Loaded, Loader};
use wisp_serving::registry::snapshot::Snapshot;
use wisp_serving::repository_poll::{Applied, Change, PollError};
use wisp_serving::{Serving, ServingOptions};
use wisp_tensor::MemoryBudget;

/// The minimum memory for requests on a small machine: enough for a few small requests at once.
const MIN_MEMORY_BYTES: usize = 32 << 20;

/// The time that a drained server has to end by itself, in addition to its own limits.
const END: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT. A second signal ends the process at once.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    log_lines::start()?;
    if !args.path.exists() {
        let path = args.path.display();
        return Err(bad_configuration(format!("`{path}` does not exist")));
    }
    let default = ServerOptions::default();
    // Installed before any long operation.
    let signals = Signals::receive(default.drain_notice + default.drain_timeout + END)?;
    let server = server_options(args, default)?;
    if args.build {
        build::build_repository(&args.path, Rebuild::Changed)?;
    }
    // The threads that serve connections also run direct calls.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let outcome = runtime.block_on(run_server(args, server, signals));
    // Dropping the runtime would wait for its threads.
    runtime.shutdown_background();
    match outcome? {}
}

/// Returns the server's limits, reduced to the system's limits if necessary.
fn server_options(args: &ServeArgs, default: ServerOptions) -> anyhow::Result<ServerOptions> {
    let descriptors = descriptors::raise()?;
    let max_connections =
        descriptors::max_connections(descriptors, args.max_connections, default.max_connections)?;
    tracing::info!(max_connections, descriptors, "connections that may be open");
    Ok(ServerOptions {
        max_connections,
        cors_origins: args.cors_origin.clone(),
        allowed_hosts: Some(AllowedHosts(args.allowed_host.clone())),
        ..default
    })
}

/// Returns only if the server could not be started. After the start, the process exits without
/// returning.
async fn run_server(
    args: &ServeArgs,
    server: ServerOptions,
    signals: Signals,
) -> anyhow::Result<Infallible> {
    let tls = load_certificate(&args.tls)?;
    // Bound before the models are loaded, so that a port in use is reported at once.
    let listener = TcpListener::bind(args.http).await.with_context(|| {
        format!(
            "failed to listen on {}; choose another address with --http",
            args.http
        )
    })?;
    let grpc = match args.grpc {
        GrpcAddress::At(address) => {
            let listener = TcpListener::bind(address).await.with_context(|| {
                format!(
                    "failed to listen on {address} for gRPC; choose another address with --grpc, \
                     or `--grpc none`"
                )
            })?;
            Some(listener)
        }
        GrpcAddress::Nowhere => None,
    };
    let options = ServingOptions {
        max_requests: args.max_concurrent_requests,
        max_body_bytes: args.max_body_bytes,
        request_timeout: args.request_timeout_milliseconds.0,
        memory: Arc::new(MemoryBudget::new(memory_bytes(args))),
        ..ServingOptions::default()
    };
    let loader = loader(&LoadingOptions {
        cache_dir: args.cache.cache_dir.as_deref(),
        threads: args.threads,
        max_instances: options.max_instances,
        memory: Some(Arc::clone(&options.memory)),
        backend: &args.backend,
        model_load: Some(model_load_limits(
            args.model_load_secs.0,
            args.model_load_memory_bytes,
        )),
    })?;
    // Taken before the models are loaded, so that a change during loading is detected as a change.
    let files = Snapshot::take(&args.path)?;
    let registry = load_all(&loader, &args.path)?;
    // In poll mode, models may appear later.
    if registry.entries().is_empty() && args.model_control_mode != ModelControlMode::Poll {
        let path = args.path.display();
        return Err(bad_configuration(format!(
            "there is no model in `{path}`: a repository holds directories such as \
             `<model>/1/model.onnx`"
        )));
    }
    // Set before the banner reports that the server is up.
    signals.serving();
    let hangup = match &tls {
        Some(_) => Some(signal(SignalKind::hangup())?),
        // Without TLS there is nothing to reload, so SIGHUP keeps its default action of ending the
        // process.
        None => None,
    };
    let addresses = Addresses {
        scheme: match &tls {
            Some(_) => "https",
            None => "http",
        },
        http: listener.local_addr()?,
        grpc: grpc.as_ref().map(TcpListener::local_addr).transpose()?,
    };
    let banner = banner::text(&registry, &args.path, &addresses);
    let mut stdout = std::io::stdout();
    stdout.write_all(banner.as_bytes())?;
    stdout.flush()?;
    let control = ModelControl::new(loader, args.path.clone(), control_mode(args), report_load);
    let serving = Arc::new(Serving::new(registry, Some(control), options));
    let poll = serving.poll(files);
    let interval = args.repository_poll_secs.0;
    let polling = async move {
        match poll {
            Some(poll) => poll.run(interval, report_look).await,
            None => std::future::pending().await,
        }
    };
    let sockets = Sockets {
        http: listener,
        grpc,
        tls: tls.clone(),
    };
    // Kept until the process ends: dropping the versions would wait for their threads.
    let _kept = Arc::clone(&serving);
    let ended = tokio::select! {
        ended = serve(sockets, serving, server, signals.drain()) => ended,
        // Polling never ends by itself.
        () = polling => ending::end_early("the repository is not looked at any more"),
        never = reload_on(hangup, tls) => match never {},
    };
    match ended {
        Ok(()) => ending::end(0, || tracing::info!("drained")),
        Err(error) => ending::end_early(error.to_string()),
    }
}

/// Returns the bytes that all requests may hold together. By default this is half of the memory; the
/// other half is for models, backends and the program itself.
fn memory_bytes(args: &ServeArgs) -> usize {
    if let Some(bytes) = args.max_memory_bytes {
        return bytes;
    }
    let limit = process_memory();
    let bytes = limit.map(|limit| limit / 2);
    let bytes = bytes.unwrap_or_else(|| ServingOptions::default().memory.capacity());
    let bytes = bytes.max(MIN_MEMORY_BYTES);
    tracing::info!(
        bytes,
        limit,
        "the memory that all requests may hold together; --max-memory-bytes sets it"
    );
    bytes
}

/// Loads the repository. A model that cannot be loaded is reported. A model that requires an unavailable
/// backend or device makes the start fail, since no other backend computes it instead.
fn load_all(loader: &Loader, path: &Path) -> anyhow::Result<Registry> {
    let missing = RefCell::new(None);
    let registry = loader.load_repository(path, &|model, loaded| {
        report_load(model, loaded);
        if let Err(LoadError::Graph { source, .. }) = loaded
            && source.is_unavailable()
        {
            let reason = format!("model `{model}`: {source}");
            missing.borrow_mut().get_or_insert(reason);
        }
    })?;
    match missing.into_inner() {
        Some(reason) => Err(bad_configuration(reason)),
        None => Ok(registry),
    }
}

/// Logs that a version has been loaded, or that loading has failed.
fn report_load(model: &str, loaded: Loaded<'_>) {
    match loaded {
        Ok(version) => {
            for (graph, decision) in version.backend_selections() {
                tracing::info!(model, graph, %decision, "the fastest backend");
            }
            tracing::debug!(model, "loaded");
        }
        Err(error) => tracing::warn!(model, error = error as &dyn std::error::Error, "not loaded"),
    }
}

/// Logs the changes that a check of the repository has found.
fn report_look(look: Result<Vec<Change>, PollError>) {
    let changes = match look {
        Ok(changes) => changes,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            return tracing::warn!(error, "nothing is loaded or unloaded");
        }
    };
    for Change { model, outcome } in changes {
        match outcome {
            Ok(Applied::Loaded) => tracing::info!(%model, "loaded, as it has changed"),
            Ok(Applied::Removed) => tracing::info!(%model, "not served any more, as it is gone"),
            // Already logged by `report_load`, with its causes.
            Err(ControlError::Failed { .. }) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%model, error, "changed, and not loaded");
            }
        }
    }
}

/// Loads the certificate for TLS, if one is configured.
fn load_certificate(args: &TlsArgs) -> anyhow::Result<Option<Arc<Tls>>> {
    // clap requires both or neither.
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    let files = TlsFiles {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    let tls = Tls::load(files).context(BadConfiguration::new(
        "cannot speak TLS with what --tls-cert and --tls-key name",
    ))?;
    Ok(Some(Arc::new(tls)))
}

/// Reloads the certificate on each SIGHUP.
async fn reload_on(hangup: Option<Signal>, tls: Option<Arc<Tls>>) -> Infallible {
    let (Some(mut hangup), Some(tls)) = (hangup, tls) else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        tls.reload().await;
    }
    std::future::pending().await
}

/// Returns the control mode. Loading and unloading affect all clients, and there are no tenants whose
/// rights could be checked. Both are therefore allowed only if the server listens on loopback addresses
/// only.
fn control_mode(args: &ServeArgs) -> ControlMode {
    let grpc = match args.grpc {
        GrpcAddress::At(address) => Some(address),
        GrpcAddress::Nowhere => None,
    };
    let is_local = [Some(args.http), grpc]
        .iter()
        .flatten()
        .all(|address| address.ip().is_loopback());
    match args.model_control_mode {
        ModelControlMode::None => ControlMode::Disabled,
        ModelControlMode::Explicit if is_local => ControlMode::Explicit,
        ModelControlMode::Explicit => ControlMode::Forbidden,
        ModelControlMode::Poll => ControlMode::Poll,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Command, Options};
    use clap::Parser;

    #[test]
    fn clients_control_models_only_where_every_address_is_this_machines() -> anyhow::Result<()> {
        for (arguments, expected) in [
            (&[][..], ControlMode::Explicit),
            (
                &["--http", "[::1]:0", "--grpc", "none"],
                ControlMode::Explicit,
            ),
            (&["--http", "0.0.0.0:0"], ControlMode::Forbidden),
            (&["--grpc", "0.0.0.0:0"], ControlMode::Forbidden),
            (&["--model-control-mode", "none"], ControlMode::Disabled),
            (
                &["--model-control-mode", "poll", "--http", "0.0.0.0:0"],
                ControlMode::Poll,
            ),
        ] {
            let line = [&["wisp", "serve", "models"], arguments].concat();
            let Command::Serve(args) = Options::try_parse_from(line)?.command else {
                anyhow::bail!("{arguments:?} is another command");
            };
            assert_eq!(control_mode(&args), expected, "{arguments:?}");
        }
        Ok(())
    }
}
