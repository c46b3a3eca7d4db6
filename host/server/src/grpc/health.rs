//! `grpc.health.v1.Health`: the server's readiness, and that of each model by its name.
//!
//! Answered from what is served and not from a list kept beside it.

use crate::drain::DrainWatch;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};
use wisp_protocol::grpc::v2;
use wisp_serving::Serving;

/// The service. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Health {
    serving: Arc<Serving>,
    drain: DrainWatch,
}

/// What a client is told that watches: how it is, and that it ends when the server drains.
/// Lifetime: one request.
pub(super) struct Watch {
    now: Option<ServingStatus>,
    drain: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
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

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Watch;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        match self.status(&request.get_ref().service) {
            Some(status) => Ok(Response::new(response(status))),
            None => Err(Status::from(crate::failure::Failure::UnknownHealth)),
        }
    }

    /// As its specification has it, a name that is not known yet is watched as well.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Watch>, Status> {
        let status = self.status(&request.get_ref().service);
        Ok(Response::new(Watch {
            now: Some(status.unwrap_or(ServingStatus::ServiceUnknown)),
            drain: Some(Box::pin(self.drain.clone().begun())),
        }))
    }
}

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(status) = self.now.take() {
            return Poll::Ready(Some(Ok(response(status))));
        }
        let Some(drain) = &mut self.drain else {
            return Poll::Ready(None);
        };
        drain.as_mut().poll(cx).map(|()| {
            self.drain = None;
            Some(Ok(response(ServingStatus::NotServing)))
        })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}
