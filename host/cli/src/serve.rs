//! `wisp serve`: load, listen, say so, and drain on a signal.
//!
//! The signals are all dealt with here; what they ask for is the server's to do.

mod banner;
mod machine_memory;

use crate::build::{self, Rebuild};
use crate::failure::{BadConfiguration, bad_configuration};
use crate::loading::{LoadingOptions, loader};
use crate::options::{GrpcAddress, ModelControlMode, ServeArgs, TlsArgs};
use anyhow::Context;
use banner::Addresses;
use std::cell::RefCell;
use std::convert::Infallible;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use wisp_server::tls::{Tls, TlsFiles};
use wisp_server::{ServerOptions, Sockets, serve};
use wisp_serving::model_control::{ControlError, ControlMode, ModelControl};
use wisp_serving::registry::Registry;
use wisp_serving::registry::load_error::LoadError;
use wisp_serving::registry::loader::{Loaded, Loader};
use wisp_serving::registry::snapshot::Snapshot;
use wisp_serving::repository_poll::{Change, LookError, Taken};
use wisp_serving::{Serving, ServingOptions};
use wisp_tensor::MemoryBudget;

/// The least memory for requests, however small the machine: a few small ones at once.
const MIN_MEMORY_BYTES: usize = 32 << 20;

/// Serve until SIGTERM or SIGINT; a second one ends it at once.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    start_log()?;
    if !args.path.exists() {
        let path = args.path.display();
        return Err(bad_configuration(format!("`{path}` does not exist")));
    }
    if args.build {
        build::build_repository(&args.path, Rebuild::Changed)?;
    }
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    runtime.block_on(run_server(args))
}

async fn run_server(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let tls = load_certificate(&args.tls)?;
    // Bound first: a taken port is told at once, not after the models have been loaded.
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
        backend: &args.backend,
    })?;
    // Before anything is loaded: what changes meanwhile is a change.
    let files = Snapshot::take(&args.path)?;
    let registry = load_all(&loader, &args.path)?;
    // Where the repository is looked at again, models may come later.
    if registry.entries().is_empty() && args.model_control_mode != ModelControlMode::Poll {
        let path = args.path.display();
        return Err(bad_configuration(format!(
            "there is no model in `{path}`: a repository holds directories such as \
             `<model>/1/model.onnx`"
        )));
    }
    // From here on, and so before anybody reads that it is up, a signal drains.
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let hangup = match &tls {
        Some(_) => Some(signal(SignalKind::hangup())?),
        // Nothing to read again: it ends the process, as it does by default.
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
    std::io::stdout().write_all(banner.as_bytes())?;
    let control = ModelControl {
        loader: Arc::new(loader),
        path: args.path.clone(),
        mode: control_mode(args),
        busy: Arc::default(),
        report: report_load,
    };
    let serving = Arc::new(Serving::new(registry, Some(control), options));
    let poll = serving.poll(files);
    let interval = args.repository_poll_secs.0;
    let polling = async move {
        match poll {
            Some(poll) => poll.run(interval, report_look).await,
            None => std::future::pending().await,
        }
    };
    let mut stop = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let (begin, begun) = tokio::sync::oneshot::channel();
    let shutdown = async {
        // The sender is dropped only with the server.
        let _ = begun.await;
    };
    let sockets = Sockets {
        http: listener,
        grpc,
        tls: tls.clone(),
    };
    let options = ServerOptions {
        cors_origins: args.cors_origin.clone(),
        ..ServerOptions::default()
    };
    let server = serve(sockets, serving, options, shutdown);
    let signals = async {
        stop().await;
        tracing::info!("draining; a second signal ends it at once");
        // The server may have ended by itself.
        let _ = begin.send(());
        stop().await;
    };
    let reason = tokio::select! {
        ended = server => match ended {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(error) => error.to_string(),
        },
        () = signals => "a second signal came".to_owned(),
        // It never ends by itself.
        () = polling => "the repository is not looked at any more".to_owned(),
        never = reload_on(hangup, tls) => match never {},
    };
    tracing::error!(reason, "ended before all requests were answered");
    // Returning would drop the workers, and so wait for whatever they are computing.
    std::process::exit(1)
}

/// The bytes that all requests may hold together. The other half is for models, engines and the program
/// itself.
fn memory_bytes(args: &ServeArgs) -> usize {
    if let Some(bytes) = args.max_memory_bytes {
        return bytes;
    }
    let limit = machine_memory::limit();
    let bytes = limit.and_then(|limit| usize::try_from(limit / 2).ok());
    let bytes = bytes.unwrap_or_else(|| ServingOptions::default().memory.capacity());
    let bytes = bytes.max(MIN_MEMORY_BYTES);
    tracing::info!(
        bytes,
        limit,
        "the memory that all requests may hold together; --max-memory-bytes sets it"
    );
    bytes
}

/// Load what is there. A model that cannot be loaded is reported; one that asks for an engine or a device
/// which is not there fails the start, since nothing else computes it in its stead.
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

/// Tell the log of a version that has been loaded, or has not.
fn report_load(model: &str, loaded: Loaded<'_>) {
    match loaded {
        Ok(version) => {
            for (graph, decision) in version.decisions() {
                tracing::info!(model, graph, %decision, "the fastest backend");
            }
            tracing::debug!(model, "loaded");
        }
        Err(error) => tracing::warn!(model, error = error as &dyn std::error::Error, "not loaded"),
    }
}

/// Tell the log what a look at the repository has changed.
fn report_look(look: Result<Vec<Change>, LookError>) {
    let changes = match look {
        Ok(changes) => changes,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            return tracing::warn!(error, "nothing is loaded or unloaded");
        }
    };
    for Change { model, outcome } in changes {
        match outcome {
            Ok(Taken::Loaded) => tracing::info!(%model, "loaded, as it has changed"),
            Ok(Taken::Removed) => tracing::info!(%model, "not served any more, as it is gone"),
            // Told by `report_load`, with its causes.
            Err(ControlError::Failed { .. }) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%model, error, "changed, and not loaded");
            }
        }
    }
}

/// The certificate that the files hold, if there is one to be served with.
fn load_certificate(args: &TlsArgs) -> anyhow::Result<Option<Arc<Tls>>> {
    // Neither comes without the other.
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

/// Read the certificate again whenever the signal comes.
async fn reload_on(hangup: Option<Signal>, tls: Option<Arc<Tls>>) -> Infallible {
    let (Some(mut hangup), Some(tls)) = (hangup, tls) else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        tls.reload().await;
    }
    std::future::pending().await
}

/// Loading and unloading change what everybody gets. Without tenants there is nobody to ask, so it is
/// for clients of this machine.
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
        ModelControlMode::None => ControlMode::Fixed,
        ModelControlMode::Explicit if is_local => ControlMode::Explicit,
        ModelControlMode::Explicit => ControlMode::Forbidden,
        ModelControlMode::Poll => ControlMode::Poll,
    }
}

/// Log to standard error; `RUST_LOG` chooses what, by default warnings and what the server says of
/// itself.
fn start_log() -> anyhow::Result<()> {
    let wanted = std::env::var_os("RUST_LOG").filter(|wanted| !wanted.is_empty());
    let filter = match &wanted {
        None => EnvFilter::new("info"),
        Some(wanted) => {
            let wanted = wanted.to_string_lossy();
            EnvFilter::try_new(&wanted).with_context(|| {
                BadConfiguration::new(format!(
                    "RUST_LOG is `{wanted}`; write a level such as `debug`, or levels of modules \
                     such as `info,wisp_serving=debug`"
                ))
            })?
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
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
            (&["--model-control-mode", "none"], ControlMode::Fixed),
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
