//! The threads that send the spans of requests and write the logs of payloads and of the usage.
//!
//! Each takes events in batches from a bounded queue that requests fill without waiting. `span_export` sends spans to a
//! collector of OpenTelemetry in the form of `span_form`; `payload_export` writes payloads as a `cloud_event` each, to a
//! `rotating_file` or to a server. A `usage_log` needs no queue: it reads the numbers of the tenants from time to time.
//! [`Telemetry::finish`] waits a moment for the remaining events when the server has drained.

mod cloud_event;
mod http_agent;
mod payload_export;
mod rotating_file;
mod span_export;
mod span_form;
mod timestamp;
mod usage_log;

use crate::options::{MeteringArgs, TelemetryArgs};
use anyhow::Context;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use usage_log::UsageLog;
use usage_log::period::Period;
use wisp_server::ServerOptions;
use wisp_server::spans::Spans;
use wisp_serving::ServingOptions;
use wisp_serving::event_queue::QueueCounts;
use wisp_serving::payload_log::{PayloadLog, PayloadLogOptions};

/// The time that the threads have for the last events, in addition to the time of the drain. It ends before the
/// process ends itself.
const LAST_EVENTS: Duration = Duration::from_millis(1500);

/// The most bytes of tensors that wait to be written. They are part of the bodies of requests that have ended.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// The reports of a server. Lifetime: the process.
#[derive(Debug, Default)]
pub(super) struct Telemetry {
    spans: Option<Arc<Spans>>,
    payloads: Option<Arc<PayloadLog>>,
    /// Ends the log of the usage when it is dropped.
    usage: Option<Sender<()>>,
    threads: Vec<ReportThread>,
}

/// A thread that ends when its queue is closed and empty, or its sender dropped.
#[derive(Debug)]
struct ReportThread {
    ended: Receiver<()>,
}

impl Telemetry {
    /// Returns the options of a server with its reports, and starts to send spans if there is a collector.
    pub(super) fn of_server(
        args: &TelemetryArgs,
        options: ServerOptions,
    ) -> anyhow::Result<(Telemetry, ServerOptions)> {
        let mut telemetry = Telemetry::default();
        if let Some(exporter) = span_export::exporter(args.otlp_endpoint.as_ref())? {
            let spans = Arc::new(Spans::new(args.trace_sample_ratio));
            let queue = Arc::clone(&spans);
            telemetry.start("spans", move || exporter.run(&queue))?;
            telemetry.spans = Some(spans);
        }
        let options = ServerOptions {
            request_lines: args.request_log.lines(),
            spans: telemetry.spans.clone(),
            ..options
        };
        Ok((telemetry, options))
    }

    /// Returns the options of the models with the log of payloads, and starts to write it if it has a destination.
    pub(super) fn of_models(
        &mut self,
        args: &TelemetryArgs,
        options: ServingOptions,
    ) -> anyhow::Result<ServingOptions> {
        let Some(destination) = &args.payload_log else {
            return Ok(options);
        };
        let file_bytes = u64::try_from(args.payload_log_file_bytes).unwrap_or(u64::MAX);
        let mut export = payload_export::PayloadExport::open(destination, file_bytes)?;
        let log = Arc::new(PayloadLog::new(PayloadLogOptions {
            sample: args.payload_log_sample_ratio,
            max_payload_bytes: args.payload_log_max_bytes,
            // The bytes of some tensors stay reserved while they wait.
            max_waiting_bytes: MAX_WAITING_BYTES.min(options.memory.capacity() / 8),
        }));
        let queue = Arc::clone(&log);
        self.start("payloads", move || export.run(&queue))?;
        self.payloads = Some(Arc::clone(&log));
        Ok(ServingOptions {
            payload_log: Some(log),
            ..options
        })
    }

    /// Returns the options of the models with the choice of a header for the usage, and starts to write the log of the
    /// usage if there is a file for it.
    pub(super) fn of_usage(
        &mut self,
        args: &MeteringArgs,
        options: ServingOptions,
    ) -> anyhow::Result<ServingOptions> {
        if let Some(path) = &args.usage_log {
            let period = Period(args.usage_log_period_secs.0);
            let book = Arc::clone(&options.usage);
            let mut log = UsageLog::open(path, period, book)?;
            let (stop, stopped) = channel::<()>();
            self.start("usage", move || log.run(&stopped))?;
            self.usage = Some(stop);
        }
        Ok(ServingOptions {
            shows_usage: args.usage_header,
            ..options
        })
    }

    /// Closes the queues, waits a limited time until they are empty, and logs the number of dropped events.
    pub(super) fn finish(&mut self) {
        drop(self.usage.take());
        if let Some(spans) = &self.spans {
            spans.queue().close();
        }
        if let Some(payloads) = &self.payloads {
            payloads.queue().close();
        }
        let deadline = Instant::now() + LAST_EVENTS;
        for thread in &self.threads {
            let left = deadline.saturating_duration_since(Instant::now());
            // The thread has ended, or the time is over: the process ends in both cases.
            let _ = thread.ended.recv_timeout(left);
        }
        let spans = self.spans.as_ref().map(|spans| spans.queue().counts());
        let payloads = self.payloads.as_ref().map(|log| log.counts());
        for (events, counts) in [("spans", spans), ("payloads", payloads)] {
            if let Some(QueueCounts { written, dropped }) = counts
                && dropped > 0
            {
                tracing::warn!(events, written, dropped, "not all events were written");
            }
        }
    }

    fn start(
        &mut self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> anyhow::Result<()> {
        let (end, ended) = sync_channel::<()>(0);
        let run = move || {
            work();
            drop(end);
        };
        let thread = thread::Builder::new().name(format!("wisp-{name}"));
        thread
            .spawn(run)
            .with_context(|| format!("failed to start the thread for {name}"))?;
        self.threads.push(ReportThread { ended });
        Ok(())
    }
}
