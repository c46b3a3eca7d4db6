//! The three kinds of responses that connections send: the API, the page of metrics, and the tenants.
//!
//! A listener has one of them. Its connections have the same protections for every kind of response.

use crate::admin::AdminService;
use crate::authority::AllowedHosts;
use crate::connection_activity::RequestGuard;
use crate::metrics::MetricsService;
use crate::response_body::ResponseBody;
use crate::service::Service;
use http::{Request, Response};
use hyper::body::Incoming;
use std::sync::Arc;

/// The source of the responses of a listener. Lifetime: the process.
#[derive(Debug, Clone)]
pub(crate) enum Responder {
    Api(Arc<Service>),
    Metrics(Arc<MetricsService>),
    Admin(Arc<AdminService>),
}

impl Responder {
    /// Responds to one request, which may name only `hosts`. Dropping the future cancels its work.
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        guard: RequestGuard,
        hosts: Option<&AllowedHosts>,
    ) -> Response<ResponseBody> {
        match self {
            Responder::Api(service) => service.respond(request, guard, hosts).await,
            Responder::Metrics(metrics) => {
                let response = Box::pin(metrics.respond(request, guard, hosts)).await;
                response.map(ResponseBody::Document)
            }
            Responder::Admin(admin) => {
                let response = Box::pin(admin.respond(request, guard, hosts)).await;
                response.map(ResponseBody::Document)
            }
        }
    }
}
