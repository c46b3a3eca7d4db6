//! The predict API over gRPC: `prediction.PredictionService`.

use super::generated::prediction::prediction_service_server::PredictionService;
use super::received::{Received, read};
use super::{Held, infer_message};
use crate::failure::Failure;
use std::sync::Arc;
use tonic::{Request, Response, Status};
use wisp_protocol::call::{InferCall, ModelName, Selection, Target, VersionChoice};
use wisp_protocol::grpc::message::prediction::*;
use wisp_protocol::grpc::predict as messages;
use wisp_serving::Serving;

/// The service. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Predict {
    serving: Arc<Serving>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Predict {
    pub(super) fn new(serving: Arc<Serving>) -> Predict {
        Predict { serving }
    }
}

fn selection(model: Option<ModelName>) -> Selection {
    match model {
        Some(model) => Selection::Named(Target {
            model,
            version: VersionChoice::Default,
        }),
        None => Selection::OnlyModel,
    }
}

#[tonic::async_trait]
impl PredictionService for Predict {
    async fn predict(&self, request: Request<Received<PredictRequest>>) -> Answer<PredictResponse> {
        let held = Held::of(&request);
        let message = read(&self.serving, request).await?;
        let model = messages::model(&message.model_name).map_err(Failure::from)?;
        let call = InferCall {
            selection: selection(model),
            decoder: messages::PredictRowDecoder,
        };
        Ok(infer_message(&self.serving, held.as_ref(), call, message).await?)
    }

    async fn batch_predict(
        &self,
        request: Request<Received<BatchPredictRequest>>,
    ) -> Answer<BatchPredictResponse> {
        let held = Held::of(&request);
        let message = read(&self.serving, request).await?;
        let model = messages::batch_model(&message).map_err(Failure::from)?;
        let call = InferCall {
            selection: selection(model),
            decoder: messages::PredictBatchDecoder,
        };
        Ok(infer_message(&self.serving, held.as_ref(), call, message).await?)
    }

    async fn health_check(
        &self,
        _: Request<Received<HealthCheckRequest>>,
    ) -> Answer<HealthCheckResponse> {
        Ok(Response::new(messages::health(self.serving.is_ready())))
    }
}
