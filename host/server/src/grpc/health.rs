//! `grpc.health.v1.Health`: the readiness of the server, of each of its services, and of each model by its name.
//!
//! The status is computed from the models that are served, not from a separate copy. A client that watches
//! receives each change: a model is loaded, unloaded or fails, or the server begins to drain, which ends
//! the watch.

use super::admitted::AdmittedRequest;
use crate::drain::DrainWatch;
use futures_util::stream::{BoxStream, unfold};
use std::sync::Arc;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};
use wisp_protocol::grpc::v2;
use wisp_serving::Serving;

/// The service. Lifetime: the process.
#[derive(Debug, Clone)]
pub(super) struct Health {
    serving: Arc<Serving>,
    drain: DrainWatch,
    /// The names of all services, which are ready when the server is.
    services: Arc<[&'static str]>,
}

/// The state of one client's watch. Lifetime: one request.
pub(super) struct Watched {
    health: Health,
    /// The service of the tenant who watches; `None` without a key.
    caller: Option<Arc<Serving>>,
    /// The name of a service or model, or an empty string for the server.
    name: String,
    /// The last status sent to the client.
    last_sent: Option<ServingStatus>,
}

impl Health {
    pub(super) fn new(
        serving: Arc<Serving>,
        drain: DrainWatch,
        services: Arc<[&'static str]>,
    ) -> Health {
        Health {
            serving,
            drain,
            services,
        }
    }

    /// Returns the status of the service or model with this name, or of the server if the name is empty.
    /// `None` if there is no such service, and no such model that the caller can name.
    fn status(&self, caller: Option<&Serving>, name: &str) -> Option<ServingStatus> {
        let ready = match name {
            "" => self.serving.is_ready(),
            name if self.services.contains(&name) => self.serving.is_ready(),
            name => {
                let target = v2::target(name, "").ok()?;
                let caller = caller?;
                let is_model = caller.models().contains(&target.model);
                is_model.then_some(())?;
                // Other models do not affect the readiness of this one.
                caller.is_model_ready(&target) && !caller.is_draining()
            }
        };
        Some(match ready {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        })
    }
}

impl Watched {
    /// Returns the next status that differs from the last one, or `None` when the server drains.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Watched)> {
        loop {
            // Subscribed before the status is read, so that no change between the two is missed.
            let serving = self.caller.as_ref().unwrap_or(&self.health.serving);
            let change = serving.change();
            // An unknown name is watched as well: it may be loaded later.
            let status = self.health.status(self.caller.as_deref(), &self.name);
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if self.last_sent.replace(status) != Some(status) {
                return Some((Ok(response(status)), self));
            }
            tokio::select! {
                biased;
                () = change => {}
                () = self.health.drain.clone().begun() => return None,
            }
        }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let caller = AdmittedRequest::of(&request)?.serving().ok();
        match self.status(caller.as_deref(), &request.get_ref().service) {
            Some(status) => Ok(Response::new(response(status))),
            None => Err(Status::from(crate::failure::Failure::UnknownHealth)),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = AdmittedRequest::of(&request)?.serving().ok();
        let watched = Watched {
            health: self.clone(),
            caller,
            name: request.into_inner().service,
            last_sent: None,
        };
        let statuses = unfold(watched, Watched::next);
        Ok(Response::new(Box::pin(statuses)))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
