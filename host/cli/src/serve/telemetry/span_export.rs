//! Sends spans to a collector of OpenTelemetry: OTLP over HTTP with protobuf.
//!
//! `opentelemetry-otlp` encodes the spans, reads the variables of the standard for headers, and repeats a request that
//! the collector could not take for the moment. The HTTP client is the one that Wisp uses elsewhere.

use super::http_agent::agent;
use super::span_form::{scope, spans_of};
use crate::failure::bad_configuration;
use crate::options::CollectorUrl;
use futures_util::FutureExt;
use opentelemetry::Key;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use std::future::ready;
use std::pin::Pin;
use std::time::{Duration, Instant};
use ureq::Agent;
use wisp_server::spans::Spans;

/// The time limit of one request to the collector, the standard's default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes that are read of a response.
const MAX_RESPONSE_BYTES: u64 = 1 << 20;

/// The time between two lines about a collector that takes no spans.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

/// The variables of the standard with the collector's URL.
const ENDPOINTS: [&str; 2] = [
    opentelemetry_otlp::OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    opentelemetry_otlp::OTEL_EXPORTER_OTLP_ENDPOINT,
];

/// The variables of the standard with the protocol.
const PROTOCOLS: [&str; 2] = [
    opentelemetry_otlp::OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
    opentelemetry_otlp::OTEL_EXPORTER_OTLP_PROTOCOL,
];

/// The connection to a collector. Lifetime: the process.
#[derive(Debug)]
pub(super) struct SpanExport {
    exporter: opentelemetry_otlp::SpanExporter,
    /// The time of the last line about a failure.
    logged: Option<Instant>,
}

/// The HTTP client of the exporter. It blocks the thread of the export.
#[derive(Debug)]
struct Client(Agent);

/// Returns the connection to the collector of the setting, or else of the standard's variables. `None` if there is
/// neither, or if the variables disable traces.
pub(super) fn exporter(endpoint: Option<&CollectorUrl>) -> anyhow::Result<Option<SpanExport>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_disabled = variable("OTEL_SDK_DISABLED")
        .is_some_and(|is| is.eq_ignore_ascii_case("true"))
        || variable("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter == "none");
    let is_named = ENDPOINTS.into_iter().any(|name| variable(name).is_some());
    if endpoint.is_none() && (is_disabled || !is_named) {
        return Ok(None);
    }
    if let Some(protocol) = PROTOCOLS.into_iter().find_map(variable)
        && protocol != opentelemetry_otlp::OTEL_EXPORTER_OTLP_PROTOCOL_HTTP_PROTOBUF
    {
        tracing::warn!(
            protocol,
            "spans are sent as http/protobuf, whatever OTEL_EXPORTER_OTLP_PROTOCOL is; collectors take it on port 4318"
        );
    }
    let mut builder = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(Client(agent(TIMEOUT)));
    if let Some(CollectorUrl(url)) = endpoint {
        builder = builder.with_endpoint(url.as_str());
    }
    let exporter = builder.build();
    let mut exporter =
        exporter.map_err(|error| bad_configuration(format!("spans cannot be sent: {error}")))?;
    exporter.set_resource(&resource());
    Ok(Some(SpanExport {
        exporter,
        logged: None,
    }))
}

/// Returns the description of this server, from the standard's variables, with the name `wisp` if they have none.
fn resource() -> Resource {
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = || Resource::builder().with_attribute(version.clone());
    let resource = builder().build();
    let name = resource.get(&Key::from_static_str("service.name"));
    match name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        true => resource,
        false => builder().with_service_name("wisp").build(),
    }
}

impl SpanExport {
    /// Sends spans until the queue is closed and empty.
    pub(super) fn run(mut self, spans: &Spans) {
        let scope = scope();
        while let Some(batch) = spans.queue().next_batch() {
            let requests = batch.len();
            let data: Vec<SpanData> = batch
                .into_iter()
                .flat_map(|span| spans_of(span, &scope))
                .collect();
            match self.send(data) {
                Ok(()) => spans.queue().count_written(requests),
                Err(error) => {
                    spans.queue().count_dropped(requests);
                    self.log(requests, &error);
                }
            }
        }
    }

    fn send(&self, data: Vec<SpanData>) -> Result<(), String> {
        // The client blocks, so the future never waits.
        match self.exporter.export(data).now_or_never() {
            Some(sent) => sent.map_err(|error| error.to_string()),
            None => Err("the exporter waits for another thread".to_owned()),
        }
    }

    /// Logs a failure, up to one in a while.
    fn log(&mut self, requests: usize, error: &str) {
        let is_recent = |at: Instant| at.elapsed() < LINE_INTERVAL;
        if self.logged.is_some_and(is_recent) {
            return;
        }
        self.logged = Some(Instant::now());
        tracing::warn!(
            requests,
            error,
            "the collector did not take spans, which are lost"
        );
    }
}

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
    {
        Box::pin(ready(send(&self.0, request)))
    }
}

fn send(agent: &Agent, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let request = request.map(|body| body.to_vec());
    let (parts, mut body) = agent.run(request)?.into_parts();
    let body = body.with_config().limit(MAX_RESPONSE_BYTES).read_to_vec()?;
    Ok(Response::from_parts(parts, Bytes::from(body)))
}
