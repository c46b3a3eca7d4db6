//! `wisp serve`: loads the models, listens, prints a banner, and drains on a signal or when it is not used.
//!
//! [`run_server`] is the sequence:
//!
//! - `cage` locks the process in, `activation` takes the sockets that are passed to the program, and `startup` has the
//!   other steps before the first request. `preflight` checks the configuration, also without a server.
//! - `telemetry` reports on requests. `control`, `hangup` and `watch` change the models and the settings while the
//!   server runs.
//! - `tenancy` has the tenants, and `workers` starts their processes. `worker` is such a process: it reads its
//!   `worker_task`, and sends its `worker_usage` to the server.
//! - `ending` handles the signals and the end of the process; the server performs the drain that they request.
//!   `notification` reports the start and the drain to the service manager.

mod activation;
mod banner;
mod cage;
mod control;
mod descriptors;
mod ending;
mod hangup;
mod load_failures;
mod log_lines;
mod memory_limits;
mod notification;
mod preflight;
mod startup;
mod telemetry;
mod tenancy;
mod usage_amounts;
mod watch;
mod worker;
mod worker_memory;
mod worker_task;
mod worker_usage;
mod workers;

use crate::build::watch::SourceWatch;
use crate::build::{self, Rebuild};
use crate::configuration::EffectiveConfiguration;
use crate::options::ServeArgs;
use activation::PassedSockets;
use anyhow::Context;
use banner::Addresses;
use cage::Cage;
use ending::Signals;
use log_lines::LogLevels;
use startup::StartedModels;
use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Telemetry;
use wisp_server::{ServerOptions, serve};
use wisp_serving::fair_pool::STACK_BYTES;
use wisp_serving::memory_watch::watch_memory;
use wisp_serving::metering::usage_book::UsageBook;
use wisp_serving::{Serving, ServingOptions};

/// The time that a drained server has to end by itself, in addition to its own limits.
const END: Duration = Duration::from_secs(2);

/// The parts of a server that are made before its runtime.
struct Prepared {
    options: ServerOptions,
    passed: PassedSockets,
    signals: Signals,
    log: LogLevels,
    watch: Option<SourceWatch>,
    telemetry: Telemetry,
    cage: Cage,
    usage: Arc<UsageBook>,
}

/// Serves until SIGTERM or SIGINT, or until the server has been idle for the time of `--idle-exit`. A second
/// signal ends the process at once.
pub(crate) fn run(
    args: &ServeArgs,
    effective: &EffectiveConfiguration,
) -> anyhow::Result<ExitCode> {
    if args.check_config {
        return preflight::run(args, effective);
    }
    // Before the first thread: it changes the environment.
    let passed = PassedSockets::take()?;
    let log = log_lines::start(args.log.as_deref(), args.log_format)?;
    preflight::check(args)?;
    // Before the cage, in which no program can be run.
    if args.build {
        build::build_repository(&args.repository, Rebuild::Changed)?;
    }
    // Before the second thread: the rules hold for threads that are started afterwards.
    let cage = Cage::enter(args, effective)?;
    let default = ServerOptions::default();
    // Installed before any other long operation.
    let signals = Signals::receive(default.drain_delay + args.drain_timeout_secs.0 + END)?;
    let usage: Arc<UsageBook> = Arc::default();
    let options = ServerOptions {
        workers: workers::starter(args, effective, cage.worker_spawner(), &usage),
        ..startup::server_options(args, default)?
    };
    let (telemetry, options) = Telemetry::of_server(&args.telemetry, options)?;
    let watch = args.watch.then(|| SourceWatch::new(&args.repository));
    let watch = watch.transpose()?;
    // The threads that serve connections also run direct calls.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let prepared = Prepared {
        options,
        passed,
        signals,
        log,
        watch,
        telemetry,
        cage,
        usage,
    };
    let outcome = runtime.block_on(run_server(args, effective, prepared));
    // Dropping the runtime would wait for its threads.
    runtime.shutdown_background();
    match outcome? {}
}

/// Serves the requests of one tenant, for a server that has started this process.
pub(crate) fn run_worker(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    match worker::run(args)? {}
}

/// Returns only if the server could not be started. After the start, the process exits without
/// returning.
async fn run_server(
    args: &ServeArgs,
    effective: &EffectiveConfiguration,
    prepared: Prepared,
) -> anyhow::Result<Infallible> {
    let Prepared {
        options,
        passed,
        signals,
        log,
        watch,
        mut telemetry,
        cage,
        usage,
    } = prepared;
    // Bound before the models are loaded, so that a port in use is reported at once.
    let sockets = startup::bind(args, passed)?;
    let addresses = Addresses::of(&sockets)?;
    // A SIGHUP while the models are loaded has its effect after that.
    let reload = hangup::reload_on_hangup(args, effective, sockets.tls.clone(), log)?;
    let models = startup::load(args, cage.spawner())?;
    let StartedModels {
        registry,
        loader,
        files,
        options: limits,
        uploads,
    } = models;
    let limits = ServingOptions { usage, ..limits };
    let limits = telemetry.of_models(&args.telemetry, limits)?;
    let limits = telemetry.of_usage(&args.metering, limits)?;
    let opener = tenancy::opener(args, &loader);
    let control = control::model_control(args, &addresses, (loader, uploads));
    let serving = Arc::new(Serving::new(registry, Some(control), limits));
    serving.restore_releases();
    let opened = (Arc::clone(&serving), opener);
    let namespaces = Arc::new(tenancy::namespaces(args, &addresses, opened)?);
    // Set before the banner reports that the server is up.
    signals.serving();
    // Before the first request.
    cage.close()?;
    startup::print_banner(serving.registry(), args, &addresses)?;
    notification::ready();
    let polling =
        control::poll_repository(&serving, files, args.model_control.repository_poll_secs.0);
    let watching = watch::rebuild_on_change(&serving, watch);
    let stopping = notification::stopping(&serving);
    let watching_memory = watch_memory(Arc::clone(&serving));
    // Kept until the process ends: dropping the versions would wait for their threads.
    let _kept = (serving, Arc::clone(&namespaces));
    let following = Arc::clone(&namespaces).follow(tenancy::INTERVAL);
    let ended = tokio::select! {
        ended = serve(sockets, namespaces, options, signals.drain()) => ended,
        // Polling never ends by itself.
        () = polling => ending::end_early("the repository is no longer polled"),
        () = following => ending::end_early("the tenants are no longer followed"),
        never = reload => match never {},
        never = watching => match never {},
        never = stopping => match never {},
        never = watching_memory => match never {},
    };
    telemetry.finish();
    match ended {
        Ok(()) => ending::end(0, || tracing::info!("drained")),
        Err(error) => ending::end_early(error.to_string()),
    }
}
