//! The page of metrics in the text format of Prometheus, version 0.0.4, at `/metrics` of a listener of its own.
//!
//! All numbers are kept where they arise, as plain numbers: [`wisp_serving::version_counters`] for models,
//! [`RequestCounts`] and [`ConnectionCounts`] here. A page is made of them for each request. One file for each group of
//! families writes them: `inference`, `cache` and `machine` have Triton's names, `prediction` those of common Python
//! services, and the others are Wisp's own. `versions` reads the models once for all of them.
//!
//! [`page`] encodes the text itself. The crate `prometheus-client` appends `_total` to every counter, which Triton's
//! names do not have, and its families, like those of the crate `prometheus`, are registered objects that would have to
//! follow each load of a model. OpenMetrics requires that suffix too, so it is not offered.
//!
//! Invariant: the values of labels are names and versions of the registry, names of tenants, names of inputs, features
//! and outputs of a model, or constants. Models that do not exist count as `other`. The series of a version end when it
//! is unloaded.

mod admission;
mod cache;
mod connections;
mod histogram_samples;
mod inference;
mod machine;
mod memory_pressure;
mod metering;
mod models;
mod page;
mod prediction;
mod process;
mod quality;
mod releases;
mod requests;
mod residency;
mod sandbox;
mod telemetry;
mod tenants;
mod versions;
mod workers;

use crate::authority::AllowedHosts;
use crate::connection_activity::RequestGuard;
use crate::connection_counts::ConnectionCounts;
use crate::dispatch::check_host;
use crate::document_body::DocumentBody;
use crate::failure::Failure;
use crate::framing::Framing;
use crate::http_response::HttpResponse;
use crate::request_counts::RequestCounts;
use crate::spans::Spans;
use crate::worker_counts::WorkerCounts;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use machine::ProcessorMeter;
use page::Page;
use std::sync::Arc;
use tokio::sync::Mutex;
use wisp_protocol::encoded_response::EncodedResponse;
use wisp_protocol::route::RouteError;
use wisp_serving::Serving;
use wisp_serving::namespaces::Namespaces;

/// The paths of the page: for Prometheus and Triton, and for TF Serving.
const PATHS: [&str; 2] = ["/metrics", "/monitoring/prometheus/metrics"];

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The sources of the metrics. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct MetricsService {
    namespaces: Arc<Namespaces>,
    /// The service of the public models.
    serving: Arc<Serving>,
    requests: Arc<RequestCounts>,
    connections: Arc<ConnectionCounts>,
    max_connections: usize,
    spans: Option<Arc<Spans>>,
    workers: Arc<WorkerCounts>,
    processors: ProcessorMeter,
    /// Held while a page is made, so that requests for pages use one thread.
    turn: Arc<Mutex<()>>,
}

/// The sources of the metrics besides the models.
#[derive(Debug)]
pub(crate) struct ServerCounts {
    pub(crate) requests: Arc<RequestCounts>,
    pub(crate) connections: Arc<ConnectionCounts>,
    pub(crate) max_connections: usize,
    /// The spans of traced requests, if there are any.
    pub(crate) spans: Option<Arc<Spans>>,
    /// The numbers of the worker processes of tenants.
    pub(crate) workers: Arc<WorkerCounts>,
}

impl MetricsService {
    pub(crate) fn new(namespaces: Arc<Namespaces>, counts: ServerCounts) -> MetricsService {
        let ServerCounts {
            requests,
            connections,
            max_connections,
            spans,
            workers,
        } = counts;
        MetricsService {
            serving: Arc::clone(namespaces.public()),
            namespaces,
            requests,
            connections,
            max_connections,
            spans,
            workers,
            processors: ProcessorMeter::start(),
            turn: Arc::default(),
        }
    }

    /// Responds to one request, which may name only `hosts`.
    pub(crate) async fn respond(
        self: &Arc<MetricsService>,
        request: Request<Incoming>,
        guard: RequestGuard,
        hosts: Option<&AllowedHosts>,
    ) -> Response<DocumentBody> {
        let (head, incoming) = request.into_parts();
        let has_body = !incoming.is_end_stream();
        if has_body {
            guard.leave_body_unread();
        }
        let allowed = hosts.map_or(Ok(()), |hosts| hosts.check(&head));
        let page = match allowed.and_then(|()| check(&head)) {
            Ok(()) => self.page().await,
            Err(failure) => Err(failure),
        };
        let mut response = match page {
            Ok(page) => {
                let response = HttpResponse::from(EncodedResponse {
                    content_type: CONTENT_TYPE,
                    header_length: None,
                    chunks: vec![page],
                });
                response.into_response(Framing::Whole, guard)
            }
            Err(failure) => failure.into_response(head.uri.path(), Framing::Whole, guard),
        };
        if head.method == Method::HEAD {
            let length = HeaderValue::from(response.body_mut().discard());
            response.headers_mut().insert(CONTENT_LENGTH, length);
        }
        if has_body {
            response.headers_mut().insert(CONNECTION, CLOSE);
        }
        response
    }

    /// Makes a page on a thread that serves no connections: with thousands of models it takes milliseconds.
    async fn page(self: &Arc<MetricsService>) -> Result<Bytes, Failure> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let metrics = Arc::clone(self);
        let making = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            metrics.text()
        });
        let made = making.await;
        made.map_err(|error| Failure::Panic(format!("the page of metrics: {error}")))
    }

    /// Returns the text of a page. A family has one place in it.
    fn text(&self) -> Bytes {
        let mut page = Page::default();
        let versions = versions::of_namespaces(&self.namespaces);
        inference::write(&mut page, &versions);
        cache::write(&mut page, &versions);
        prediction::write(&mut page, &versions);
        sandbox::write(&mut page, &versions);
        sandbox::write_live(&mut page, &self.serving);
        models::write(&mut page, &self.namespaces);
        residency::write(&mut page, &self.serving);
        releases::write(&mut page, &self.serving.releases().statuses());
        releases::write_rollbacks(&mut page, &self.serving.releases().rollbacks());
        tenants::write(&mut page, &self.namespaces);
        metering::write(&mut page, &self.namespaces);
        workers::write(&mut page, &self.workers);
        quality::write(&mut page, &self.serving);
        cache::write_memory(&mut page, &self.serving);
        admission::write(&mut page, &self.serving);
        memory_pressure::write(&mut page, self.serving.memory_pressure());
        requests::write(&mut page, &self.requests);
        connections::write(&mut page, &self.connections, self.max_connections);
        let spans = self.spans.as_ref().map(|spans| spans.queue().counts());
        telemetry::write(&mut page, spans, self.serving.payload_counts());
        process::write(&mut page);
        machine::write(&mut page, &self.processors);
        Bytes::from(page.into_text())
    }
}

/// Checks that the head is one of a request for the page.
fn check(head: &Parts) -> Result<(), Failure> {
    check_host(head)?;
    if !PATHS.contains(&head.uri.path()) {
        return Err(RouteError::UnknownRoute.into());
    }
    match head.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(RouteError::Method { allowed: "GET" }.into()),
    }
}
