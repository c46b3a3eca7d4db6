//! The responses to requests that the process of their tenant answers.
//!
//! The frame is the same as for all requests: the id, the log line, CORS, and a response in every case.

use super::{ReceivedRequest, Service, finish};
use crate::access::RequestCaller;
use crate::connection_activity::RequestGuard;
use crate::dispatch::check_host;
use crate::failure::Failure;
use crate::forward::{BodyProgress, BodyState, Form, ForwardedBody, ForwardedRequest};
use crate::forward::{ForwardedRequestBody, Places};
use crate::framing::Framing;
use crate::grpc::{self, AdmittedRequest, GrpcBody};
use crate::panic::catch_panic;
use crate::request_id::{self, REQUEST_ID};
use crate::response_body::ResponseBody;
use crate::web_response::OUTSIDE_ORIGIN;
use crate::worker_error::WorkerError;
use http::header::CONTENT_SECURITY_POLICY;
use http::request::Parts;
use http::{HeaderValue, Response, Version};
use hyper::body::Incoming;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wisp_protocol::route::{RestCall, route};

/// The kind of a forwarded request, by its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rest {
        is_inference: bool,
    },
    Grpc {
        is_inference: bool,
        is_stream: bool,
        /// Set if the response ends with the server only.
        is_endless: bool,
    },
}

impl Service {
    /// Returns the caller, if the process of its tenant answers this request. Whoever may not make the request gets the
    /// response that all others get.
    pub(super) fn isolated(&self, received: &ReceivedRequest) -> Option<RequestCaller> {
        let ReceivedRequest { head, check, .. } = received;
        check.as_ref().ok()?;
        let is_grpc = grpc::is_grpc(head);
        let is_preflight = self
            .cors
            .as_ref()
            .is_some_and(|cors| cors.is_preflight(head));
        if is_preflight && !is_grpc {
            return None;
        }
        // The health of models is that in the worker, unless this server is about to end.
        let passes_open = is_grpc && !self.draining.load(Ordering::Relaxed);
        self.access.isolated(head, (is_grpc, passes_open))
    }

    /// Responds to a request of this tenant with the response of its process.
    pub(super) async fn respond_forwarded(
        &self,
        received: ReceivedRequest,
        caller: RequestCaller,
    ) -> Response<ResponseBody> {
        let ReceivedRequest {
            head,
            check,
            incoming,
            guard,
        } = received;
        let kind = Kind::of(&head);
        let deadline = match kind {
            Kind::Grpc { .. } => grpc::client_deadline(&head.headers),
            Kind::Rest { .. } => None,
        };
        // A stream may be open for longer than its key is valid.
        let stream_of = kind.is_stream().then(|| caller.clone());
        let body = ForwardedRequestBody::new(incoming, self.drain.clone(), stream_of);
        let progress = body.progress();
        let mut line = match kind {
            Kind::Grpc { .. } => self.log.begin(&head).for_grpc(),
            Kind::Rest { .. } => self.log.begin(&head),
        };
        let current = line.current();
        let id = HeaderValue::try_from(current.to_string()).ok();
        let work = async {
            check?;
            check_host(&head)?;
            let forwarder = self.forwarder.as_ref();
            let forwarder = forwarder.ok_or(Failure::Worker(WorkerError::NoWorkers))?;
            let request = ForwardedRequest {
                head: &head,
                caller: &caller,
                body,
                id,
                is_inference: kind.is_inference(),
            };
            forwarder.forward(request).await
        };
        let work = catch_panic(grpc::with_deadline(deadline, work));
        let outcome = current.scope(work).await;
        line.set_sizes(Some(progress.received_bytes()), None);
        let close = self.must_close(&head, &progress);
        if close && progress.state() != BodyState::Ended {
            guard.leave_body_unread();
        }
        let mut response = match outcome {
            Ok((response, places)) => {
                line.answered(response.status());
                let form = match kind {
                    Kind::Rest { .. } => Form::Rest,
                    Kind::Grpc { is_endless, .. } => Form::Grpc {
                        deadline,
                        drain: is_endless.then(|| self.drain.clone()),
                    },
                };
                let mut response = passed_on(response, (form, guard, places));
                // A browser opens this address without a key, and the worker may have been taken over.
                if matches!(kind, Kind::Rest { .. }) && !caller.has_key() {
                    let headers = response.headers_mut();
                    headers.append(CONTENT_SECURITY_POLICY, OUTSIDE_ORIGIN);
                }
                // An id that the server has made is of use only to clients that have a failure to report.
                if response.status().is_success() && request_id::given(&head.headers).is_none() {
                    response.headers_mut().remove(REQUEST_ID);
                }
                response
            }
            Err(failure) => {
                let id = line.failed(&failure).to_header();
                let mut response = match kind {
                    Kind::Grpc { .. } => {
                        let serving = caller.serving();
                        let admitted = AdmittedRequest::new(
                            serving.admit(),
                            serving.memory().reservation(),
                            serving.routing().key(&head.headers, None),
                        );
                        let refusal = grpc::refuse(&Arc::new(failure));
                        refusal.map(|messages| {
                            ResponseBody::Grpc(GrpcBody::new(messages, guard, deadline, admitted))
                        })
                    }
                    Kind::Rest { .. } => {
                        let framing = Framing::of(head.version);
                        let response = failure.into_response(head.uri.path(), framing, guard);
                        response.map(ResponseBody::Document)
                    }
                };
                response.headers_mut().insert(REQUEST_ID, id);
                response
            }
        };
        let cors = self.cors.as_ref();
        let cors = cors.filter(|_| matches!(kind, Kind::Rest { .. }));
        finish(&mut response, &head, (cors, close));
        response
    }

    /// Returns whether the connection of an HTTP/1 client is closed with the response.
    fn must_close(&self, head: &Parts, progress: &BodyProgress) -> bool {
        let is_unread = progress.state() != BodyState::Ended;
        let is_closing = is_unread || self.draining.load(Ordering::Relaxed);
        head.version != Version::HTTP_2 && is_closing
    }
}

impl Kind {
    fn of(head: &Parts) -> Kind {
        let path = head.uri.path();
        if grpc::is_grpc(head) {
            let (is_inference, is_stream) = grpc::traits_of(path);
            return Kind::Grpc {
                is_inference,
                is_stream,
                is_endless: grpc::is_endless(path),
            };
        }
        let call = route(&head.method, path, &head.headers);
        // A path that belongs to no protocol may be one of a web component.
        let is_inference = matches!(call, Ok(RestCall::Infer(_)) | Err(_));
        Kind::Rest { is_inference }
    }

    fn is_inference(self) -> bool {
        match self {
            Kind::Rest { is_inference } | Kind::Grpc { is_inference, .. } => is_inference,
        }
    }

    fn is_stream(self) -> bool {
        match self {
            Kind::Rest { .. } => false,
            Kind::Grpc { is_stream, .. } => is_stream,
        }
    }
}

/// Returns the response of the worker for the connection of the client.
fn passed_on(
    response: Response<Incoming>,
    (form, guard, places): (Form, RequestGuard, Places),
) -> Response<ResponseBody> {
    let (parts, incoming) = response.into_parts();
    let body = ForwardedBody::new(incoming, form, guard, places);
    let mut response = Response::new(ResponseBody::Forwarded(body));
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    response
}
