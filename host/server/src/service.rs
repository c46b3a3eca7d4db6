//! The handling common to all requests: the request id, one log line, and a response in every case.
//!
//! `dispatch` only returns success or failure. Failures and panics become responses here and nowhere else
//! (for gRPC, in `grpc::status`), and an HTTP/1 connection is closed if it cannot be reused.

use crate::access::Access;
use crate::authority::AllowedHosts;
use crate::body::RequestBody;
use crate::connection_activity::RequestGuard;
use crate::cors::Cors;
use crate::dispatch::{check_host, dispatch};
use crate::docs::Docs;
use crate::drain::DrainWatch;
use crate::failure::Failure;
use crate::forward::Forwarder;
use crate::framing::Framing;
use crate::grpc::{self, AdmittedRequest, GrpcBody};
use crate::http_response::HttpResponse;
use crate::log::Log;
use crate::options::ServerOptions;
use crate::panic::catch_panic;
use crate::request_counts::RequestCounts;
use crate::request_id::{self, REQUEST_ID};
use crate::request_report::Reports;
use crate::response_body::ResponseBody;
use crate::unbound_response::UnboundResponse;
use crate::worker_counts::WorkerCounts;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wisp_serving::Serving;
use wisp_serving::namespaces::Namespaces;
use wisp_tensor::{ByteShare, MemoryBudget};

mod forwarded;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// The state that all requests share. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct Service {
    /// The service of the public models, for requests that do not depend on the tenant.
    serving: Arc<Serving>,
    /// The share of the memory for all requests whose callers are unknown: some methods of gRPC need none.
    unidentified: Arc<MemoryBudget>,
    access: Access,
    log: Log,
    body_timeout: Duration,
    grpc: grpc::Services,
    /// The processes of tenants, if workers are possible.
    forwarder: Option<Forwarder>,
    cors: Option<Cors>,
    docs: Docs,
    drain: DrainWatch,
    draining: AtomicBool,
}

/// A request that has been received. Lifetime: one request.
#[derive(Debug)]
struct ReceivedRequest {
    head: Parts,
    /// The result of the checks of the head.
    check: Result<(), Failure>,
    incoming: Incoming,
    guard: RequestGuard,
}

impl Service {
    pub(crate) fn new(
        namespaces: Arc<Namespaces>,
        drain: DrainWatch,
        options: &ServerOptions,
    ) -> Service {
        let serving = Arc::clone(namespaces.public());
        let forwarder = options.workers.clone().map(Forwarder::new);
        if let Some(forwarder) = &forwarder {
            forwarder.look(&namespaces);
        }
        Service {
            access: Access::new(namespaces),
            forwarder,
            grpc: grpc::Services::new(&serving, drain.clone(), options.body_timeout),
            docs: Docs::new(),
            unidentified: Arc::new(serving.memory().for_owner(&ByteShare::default())),
            serving,
            log: Log::new(Reports {
                lines: options.request_lines,
                spans: options.spans.clone(),
            }),
            cors: Cors::new(&options.cors_origins),
            body_timeout: options.body_timeout,
            drain,
            draining: AtomicBool::new(false),
        }
    }

    /// Returns the numbers of requests.
    pub(crate) fn counts(&self) -> &Arc<RequestCounts> {
        self.log.counts()
    }

    /// Reports the server as not ready from now on, and closes each HTTP/1 connection with its next
    /// response. Because the response announces this, no connection is closed just when its client sends
    /// the next request.
    pub(crate) fn start_draining(&self) {
        self.serving.start_draining();
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Follows changes of the tenants with processes of their own. Never completes.
    pub(crate) async fn follow_workers(self: Arc<Service>, namespaces: Arc<Namespaces>) {
        match &self.forwarder {
            Some(forwarder) => forwarder.follow(&namespaces).await,
            None => std::future::pending().await,
        }
    }

    /// Returns the numbers of the processes of tenants.
    pub(crate) fn worker_counts(&self) -> Arc<WorkerCounts> {
        let forwarder = self.forwarder.as_ref();
        forwarder.map(Forwarder::counts).unwrap_or_default()
    }

    /// Ends the processes of tenants. Their requests have been answered.
    pub(crate) fn end_workers(&self) {
        if let Some(forwarder) = &self.forwarder {
            forwarder.end();
        }
    }

    /// Responds to one request, which may name only `hosts`. Dropping the future cancels its work.
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        guard: RequestGuard,
        hosts: Option<&AllowedHosts>,
    ) -> Response<ResponseBody> {
        let (head, incoming) = request.into_parts();
        let host = hosts.map_or(Ok(()), |hosts| hosts.check(&head));
        let received = ReceivedRequest {
            check: host.and_then(|()| check_transfer_coding(&head)),
            head,
            incoming,
            guard,
        };
        if let Some(caller) = self.isolated(&received) {
            return Box::pin(self.respond_forwarded(received, caller)).await;
        }
        match grpc::is_grpc(&received.head) {
            true => self.respond_grpc(received).await.map(ResponseBody::Grpc),
            false => self.respond_http(received).await,
        }
    }

    /// Responds to a gRPC request, for which a failure is a status in the response.
    async fn respond_grpc(&self, received: ReceivedRequest) -> Response<GrpcBody> {
        let ReceivedRequest {
            head,
            check,
            incoming,
            guard,
        } = received;
        let slot = self.serving.admit();
        let routing = self.serving.routing().key(&head.headers, None);
        let memory = self.unidentified.reservation();
        let admitted = AdmittedRequest::new(slot, memory, routing);
        let deadline = grpc::client_deadline(&head.headers);
        let line = self.log.begin(&head).for_grpc();
        let work = async {
            check?;
            let caller = self.access.admit_grpc(&head)?;
            admitted.set_caller(caller);
            let call = self.grpc.call(head.clone(), incoming, admitted.clone());
            call.await
        };
        let work = catch_panic(grpc::with_deadline(deadline, work));
        let response = line.current().scope(work).await;
        let mut response = response.unwrap_or_else(|failure| grpc::refuse(&Arc::new(failure)));
        let id = match grpc::failure(&response) {
            Some(failure) => Some(line.failed(failure).to_header()),
            None => {
                line.answered(response.status());
                request_id::given(&head.headers).cloned()
            }
        };
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response.map(|messages| GrpcBody::new(messages, guard, deadline, admitted))
    }

    async fn respond_http(&self, received: ReceivedRequest) -> Response<ResponseBody> {
        let ReceivedRequest {
            head,
            check,
            incoming,
            guard,
        } = received;
        let mut body = RequestBody::new(
            incoming,
            self.body_timeout,
            self.unidentified.reservation(),
            self.serving.blocking().clone(),
        )
        .until_drain(self.drain.clone());
        let mut line = self.log.begin(&head);
        let is_preflight = |cors: &Cors| cors.is_preflight(&head);
        let outcome = match check {
            Err(failure) => Err(failure),
            Ok(()) if self.cors.as_ref().is_some_and(is_preflight) => {
                check_host(&head).map(|()| UnboundResponse::Document(HttpResponse::no_content()))
            }
            Ok(()) => {
                // Pinned once, because the futures around it move.
                let work = pin!(dispatch(&self.access, &self.docs, &head, &mut body));
                line.current().scope(catch_panic(work)).await
            }
        };
        let framing = Framing::of(head.version);
        let mut close = false;
        if framing == Framing::Whole {
            let unread = !body.is_over().await;
            if unread {
                guard.leave_body_unread();
            }
            close = unread || self.draining.load(Ordering::Relaxed);
        }
        let sent = outcome.as_ref().ok().and_then(UnboundResponse::bytes);
        line.set_sizes(Some(body.received_bytes()), sent);
        let (id, mut response) = match outcome {
            Ok(response) => {
                line.answered(response.status());
                // Clients need a generated id only to report a failure.
                let id = request_id::given(&head.headers).cloned();
                (id, response.into_response(framing, guard))
            }
            Err(failure) => {
                let id = line.failed(&failure).to_header();
                let response = failure.into_response(head.uri.path(), framing, guard);
                (Some(id), response.map(ResponseBody::Document))
            }
        };
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        finish(&mut response, &head, (self.cors.as_ref(), close));
        response
    }
}

/// Completes the response to a request with this head: the headers for pages of other origins, no body for HEAD, and the
/// end of the connection if it has to `close`.
fn finish(
    response: &mut Response<ResponseBody>,
    head: &Parts,
    (cors, close): (Option<&Cors>, bool),
) {
    if let Some(cors) = cors {
        cors.mark(head, response.headers_mut());
    }
    if head.method == Method::HEAD {
        remove_body(response);
    }
    if close {
        response.headers_mut().insert(CONNECTION, CLOSE);
    }
}

/// Removes the body from the response to a HEAD request, whose headers are the same as in the response to GET.
fn remove_body(response: &mut Response<ResponseBody>) {
    let length = match response.body_mut() {
        ResponseBody::Document(body) => body.discard(),
        // The component may have declared its length.
        ResponseBody::Component(body) => {
            body.discard();
            0
        }
        ResponseBody::Grpc(_) | ResponseBody::Forwarded(_) => 0,
    };
    // A response without a body, such as 304, has no length.
    if length > 0 {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Refuses a body with any transfer coding other than `chunked`. hyper checks only the last coding and
/// would read a compressed body as a plain one, in which a proxy may see a different request.
fn check_transfer_coding(head: &Parts) -> Result<(), Failure> {
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if is_known(coding) => Ok(()),
        _ => Err(Failure::TransferCoding),
    }
}
