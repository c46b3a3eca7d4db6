//! The predict API over gRPC: `prediction.PredictionService`.

use super::generated::prediction::prediction_service_server::PredictionService;
use super::infer::infer_read;
use super::received::{Received, read};
use crate::control;
use crate::failure::Failure;
use std::sync::Arc;
use tonic::{Request, Response, Status};
use wisp_protocol::grpc::message::prediction::*;
use wisp_protocol::grpc::predict as messages;
use wisp_serving::Serving;

/// The service. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Predict {
    /// The service of the public models, which has the readiness of the server.
    serving: Arc<Serving>,
}

type Outcome<T> = Result<Response<T>, Status>;

impl Predict {
    pub(super) fn new(serving: Arc<Serving>) -> Predict {
        Predict { serving }
    }
}

#[tonic::async_trait]
impl PredictionService for Predict {
    async fn predict(
        &self,
        request: Request<Received<PredictRequest>>,
    ) -> Outcome<PredictResponse> {
        let read = read(request).await?;
        let selection = messages::selection(&read.message).map_err(Failure::from)?;
        Ok(infer_read(read, selection, messages::PredictRowDecoder).await?)
    }

    async fn batch_predict(
        &self,
        request: Request<Received<BatchPredictRequest>>,
    ) -> Outcome<BatchPredictResponse> {
        let read = read(request).await?;
        let selection = messages::batch_selection(&read.message).map_err(Failure::from)?;
        Ok(infer_read(read, selection, messages::PredictBatchDecoder).await?)
    }

    async fn health_check(
        &self,
        _: Request<Received<HealthCheckRequest>>,
    ) -> Outcome<HealthCheckResponse> {
        Ok(Response::new(messages::health(control::is_ready(
            &self.serving,
        ))))
    }
}
