//! `wisp serve`: loads the models, listens, prints a banner, and drains on a signal.
//!
//! [`run_server`] is the sequence. `startup` contains the steps before the first request, `control` the
//! changes while the server runs, and `ending` the signals and the end of the process; the server
//! performs the drain that they request. `preflight` checks a configuration without a server.

mod banner;
mod control;
mod descriptors;
mod ending;
mod log_lines;
mod preflight;
mod startup;

use crate::build::{self, Rebuild};
use crate::failure::bad_configuration;
use crate::options::ServeArgs;
use anyhow::Context;
use ending::Signals;
use startup::StartedModels;
use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use wisp_server::{ServerOptions, serve};
use wisp_serving::Serving;
use wisp_serving::fair_pool::STACK_BYTES;

/// The time that a drained server has to end by itself, in addition to its own limits.
const END: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT. A second signal ends the process at once.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    if args.check_config {
        return preflight::run(args);
    }
    log_lines::start(args.log.as_deref(), args.log_format)?;
    expect_path(&args.repository)?;
    let default = ServerOptions::default();
    // Installed before any long operation.
    let signals = Signals::receive(default.drain_delay + default.drain_timeout + END)?;
    let options = startup::server_options(args, default)?;
    if args.build {
        build::build_repository(&args.repository, Rebuild::Changed)?;
    }
    // The threads that serve connections also run direct calls.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let outcome = runtime.block_on(run_server(args, options, signals));
    // Dropping the runtime would wait for its threads.
    runtime.shutdown_background();
    match outcome? {}
}

/// Returns only if the server could not be started. After the start, the process exits without
/// returning.
async fn run_server(
    args: &ServeArgs,
    options: ServerOptions,
    signals: Signals,
) -> anyhow::Result<Infallible> {
    // Bound before the models are loaded, so that a port in use is reported at once.
    let sockets = startup::bind(args).await?;
    let models = startup::load(args)?;
    // Set before the banner reports that the server is up.
    signals.serving();
    let reload = control::reload_certificate_on_hangup(sockets.tls.clone())?;
    startup::print_banner(&models.registry, args, &sockets)?;
    let StartedModels {
        registry,
        loader,
        files,
        options: limits,
    } = models;
    let control = control::model_control(args, loader);
    let serving = Arc::new(Serving::new(registry, Some(control), limits));
    let polling = control::poll_repository(&serving, files, args.repository_poll_secs.0);
    // Kept until the process ends: dropping the versions would wait for their threads.
    let _kept = Arc::clone(&serving);
    let ended = tokio::select! {
        ended = serve(sockets, serving, options, signals.drain()) => ended,
        // Polling never ends by itself.
        () = polling => ending::end_early("the repository is no longer polled"),
        never = reload => match never {},
    };
    match ended {
        Ok(()) => ending::end(0, || tracing::info!("drained")),
        Err(error) => ending::end_early(error.to_string()),
    }
}

fn expect_path(path: &Path) -> anyhow::Result<()> {
    match path.exists() {
        true => Ok(()),
        false => {
            let path = path.display();
            Err(bad_configuration(format!("`{path}` does not exist")))
        }
    }
}
