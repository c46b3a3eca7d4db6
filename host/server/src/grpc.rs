//! The gRPC services, and the dispatch of requests to them.
//!
//! gRPC requests arrive on the same listeners as all others and pass through `service`. The path selects a
//! gRPC service: `v2`, `tfs`, `predict`, `health`, or reflection, which describes the others. tonic reads
//! the message from `incoming`, through `inflating` if it may be compressed; the service decodes it within
//! its limits (`received`), and tonic writes the response (`outgoing`), all within the client's `timeout`.
//! Only `status` converts failures.
//!
//! Invariant: a service holds only state that all requests share. No task is spawned for a request, except
//! by reflection, whose task ends with its stream.

mod admitted;
mod generated;
mod health;
mod incoming;
mod infer;
mod inflating;
mod method;
mod outgoing;
mod predict;
mod received;
mod status;
mod stream;
mod tfs;
mod timeout;
mod v2;

pub(crate) use admitted::AdmittedRequest;
pub(crate) use outgoing::GrpcBody;
pub(crate) use status::{failure, refuse, trailers};
pub(crate) use timeout::{client_deadline, with_deadline};

use crate::drain::DrainWatch;
use crate::failure::Failure;
use crate::operation::Operation;
use generated::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use generated::prediction;
use generated::tensorflow::serving::model_service_server::ModelServiceServer;
use generated::tensorflow::serving::prediction_service_server::PredictionServiceServer;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Request, Response, Version};
use hyper::body::Incoming;
use incoming::{MessageBody, Messages};
use inflating::DecompressedBody;
use method::MethodKind;
use status::normalize_status;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tonic::body::Body;
use tonic::codec::CompressionEncoding::{Deflate, Gzip};
use tonic::server::NamedService;
use tonic_health::pb::health_server::HealthServer;
use tower_service::Service;
use wisp_protocol::grpc::FILE_DESCRIPTOR_SET;
use wisp_serving::Serving;

type ResponseFuture = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A service that responds to requests for its own methods.
type BoxedService = Box<dyn Fn(Request<DecompressedBody>) -> ResponseFuture + Send + Sync>;

/// All services by name, with the state that they need to read a request. Lifetime: the process.
pub(crate) struct Services {
    services: Vec<(&'static str, BoxedService)>,
    serving: Arc<Serving>,
    drain: DrainWatch,
    /// The time that a message may keep the server waiting, in addition to the time allowed for its bytes.
    body_timeout: Duration,
}

/// Returns whether this is the head of a gRPC request.
pub(crate) fn is_grpc(head: &Parts) -> bool {
    head.version == Version::HTTP_2 && names_grpc(&head.headers)
}

/// Returns whether the headers belong to gRPC, with any of its protocols.
pub(crate) fn names_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// Returns whether the method at this path calls models, and whether it takes any number of messages.
pub(crate) fn traits_of(path: &str) -> (bool, bool) {
    let kind = MethodKind::from_path(path);
    let is_inference = matches!(kind, MethodKind::Inference | MethodKind::InferenceStream);
    (is_inference, kind.is_stream())
}

/// Returns whether the response of the method at this path ends only with the server.
pub(crate) fn is_endless(path: &str) -> bool {
    path == "/grpc.health.v1.Health/Watch"
}

// === impl Services ===

impl Services {
    pub(crate) fn new(
        serving: &Arc<Serving>,
        drain: DrainWatch,
        body_timeout: Duration,
    ) -> Services {
        let limit = serving.max_body_bytes();
        /// Configures a generated server with the settings common to all of them.
        macro_rules! with_messages {
            ($server:expr) => {
                methods(
                    $server
                        .accept_compressed(Gzip)
                        .accept_compressed(Deflate)
                        .send_compressed(Gzip)
                        .send_compressed(Deflate)
                        .max_decoding_message_size(limit)
                        .max_encoding_message_size(usize::MAX),
                )
            };
        }
        let of = || Arc::clone(serving);
        let predict = prediction::prediction_service_server::PredictionServiceServer::new(
            predict::Predict::new(of()),
        );
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let compiled_in = "the descriptors were compiled in";
        let mut services = vec![
            with_messages!(GrpcInferenceServiceServer::new(v2::V2::new(of()))),
            with_messages!(PredictionServiceServer::new(tfs::Prediction)),
            with_messages!(ModelServiceServer::new(tfs::Models)),
            with_messages!(predict),
            methods(reflection().build_v1().expect(compiled_in)),
            methods(reflection().build_v1alpha().expect(compiled_in)),
        ];
        let names = services.iter().map(|(name, _)| *name);
        let names = names.chain([<HealthServer<health::Health> as NamedService>::NAME]);
        let health = health::Health::new(of(), drain.clone(), names.collect());
        services.push(methods(HealthServer::new(health)));
        Services {
            services,
            serving: of(),
            drain,
            body_timeout,
        }
    }

    /// Returns the response of the service that the path names. Failures of the service are in the status
    /// of the response.
    ///
    /// `admitted` carries the request's reading slot, and reserves the bytes of its messages.
    pub(crate) async fn call(
        &self,
        head: Parts,
        incoming: Incoming,
        admitted: AdmittedRequest,
    ) -> Result<Response<Body>, Failure> {
        let path = head.uri.path().to_owned();
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let service = service.map_or("", |(service, _)| service);
        let found = self.services.iter().find(|(name, _)| *name == service);
        // Without an operation there is no choice of who may call the method.
        let (Some((_, methods)), Some(_)) = (found, Operation::of_method(&path)) else {
            return Err(Failure::unknown_method(&path));
        };
        let request = self.request(head, incoming, admitted);
        Ok(normalize_status(methods(request).await, &path))
    }

    /// Returns the request in the form that tonic reads.
    fn request(
        &self,
        mut head: Parts,
        incoming: Incoming,
        admitted: AdmittedRequest,
    ) -> Request<DecompressedBody> {
        let messages = match MethodKind::from_path(head.uri.path()).is_stream() {
            false => Messages::One(self.drain.clone()),
            true => Messages::Many(self.drain.clone()),
        };
        let body = MessageBody::new(incoming, messages, self.body_timeout, admitted.clone());
        head.extensions.insert(admitted);
        match_request_compression(&mut head.headers);
        let body = match inflating::remove_grpc_encoding(&mut head.headers) {
            Some(coding) => {
                let blocking = self.serving.blocking().clone();
                DecompressedBody::inflated(body, coding, self.serving.max_body_bytes(), blocking)
            }
            None => DecompressedBody::passed(body),
        };
        Request::from_parts(head, body)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.services.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

fn methods<S>(service: S) -> (&'static str, BoxedService)
where
    S: Service<Request<DecompressedBody>, Response = Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    let call = move |request| -> ResponseFuture {
        // A clone only increments reference counts.
        let answering = service.clone().call(request);
        Box::pin(async move {
            let Ok(response) = answering.await;
            response
        })
    };
    (S::NAME, Box::new(call))
}

/// Restricts the responses to the compression of the request, if the client accepts it. Every client advertises
/// that it accepts gzip and deflate, and for most of those that send uncompressed requests the compression is not
/// worth the wait.
fn match_request_compression(headers: &mut HeaderMap) {
    let encoding = headers.get("grpc-encoding").cloned();
    let Some(encoding) = encoding.filter(|encoding| encoding != "identity") else {
        headers.remove("grpc-accept-encoding");
        return;
    };
    let accepted = headers.get_all("grpc-accept-encoding").iter();
    let mut names = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if names.any(|name| encoding == name.trim()) {
        headers.insert("grpc-accept-encoding", encoding);
    }
}
