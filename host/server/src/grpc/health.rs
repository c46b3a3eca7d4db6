//! `grpc.health.v1.Health`: the server's readiness, and that of each model by its name.
//!
//! Answered from what is served and not from a list kept beside it. Who watches is told each change:
//! a model loaded, unloaded or failed, and the server's draining, with which a watch ends.

use super::unfold::Unfold;
use crate::drain::DrainWatch;
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
}

/// What one client watches. Lifetime: one request.
pub(super) struct Watched {
    health: Health,
    /// The server, which has no name, or a model's.
    name: String,
    /// What the client was told last.
    told: Option<ServingStatus>,
}

impl Health {
    pub(super) fn new(serving: Arc<Serving>, drain: DrainWatch) -> Health {
        Health { serving, drain }
    }

    /// How the server is, which has no name, or the model of this name; `None` for one that is not
    /// there.
    fn status(&self, name: &str) -> Option<ServingStatus> {
        let ready = match name {
            "" => true,
            name => {
                let target = v2::target(name, "").ok()?;
                let mut entries = self.serving.index().into_iter();
                entries.find(|entry| entry.model == target.model)?;
                self.serving.check_ready(&target).is_ok()
            }
        };
        Some(match ready && self.serving.is_ready() {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        })
    }
}

impl Watched {
    /// The next status that is another; `None` when the server drains.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Watched)> {
        loop {
            // Asked for first, so that no change falls between the look and the wait.
            let change = self.health.serving.change();
            // A name that is not known yet is watched as well.
            let status = self.health.status(&self.name);
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if self.told.replace(status) != Some(status) {
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
    type WatchStream = Unfold<Watched, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.status(&request.get_ref().service) {
            Some(status) => Ok(Response::new(response(status))),
            None => Err(Status::from(crate::failure::Failure::UnknownHealth)),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watched = Watched {
            health: self.clone(),
            name: request.into_inner().service,
            told: None,
        };
        let statuses = Unfold::new(watched, |watched| Box::pin(watched.next()));
        Ok(Response::new(statuses))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
