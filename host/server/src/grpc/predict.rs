//! The predict API over gRPC: `prediction.PredictionService`.

use super::generated::prediction::prediction_service_server::PredictionService;
use super::infer::infer_message;
use super::received::{ReadRequest, Received, read};
use crate::failure::Failure;
use std::sync::Arc;
use tonic::{Request, Response, Status};
use wisp_protocol::call::InferCall;
use wisp_protocol::grpc::message::prediction::*;
use wisp_protocol::grpc::predict as messages;
use wisp_protocol::routing::RoutingKey;
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
        let ReadRequest {
            message,
            serving,
            admitted,
        } = read(request).await?;
        let call = InferCall {
            selection: messages::selection(&message).map_err(Failure::from)?,
            routing: RoutingKey::default(),
            decoder: messages::PredictRowDecoder,
        };
        Ok(infer_message(&serving, &admitted, call, message).await?)
    }

    async fn batch_predict(
        &self,
        request: Request<Received<BatchPredictRequest>>,
    ) -> Outcome<BatchPredictResponse> {
        let ReadRequest {
            message,
            serving,
            admitted,
        } = read(request).await?;
        let call = InferCall {
            selection: messages::batch_selection(&message).map_err(Failure::from)?,
            routing: RoutingKey::default(),
            decoder: messages::PredictBatchDecoder,
        };
        Ok(infer_message(&serving, &admitted, call, message).await?)
    }

    async fn health_check(
        &self,
        _: Request<Received<HealthCheckRequest>>,
    ) -> Outcome<HealthCheckResponse> {
        Ok(Response::new(messages::health(self.serving.is_ready())))
    }
}
