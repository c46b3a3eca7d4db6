//! TensorFlow Serving: `tensorflow.serving.PredictionService` and `ModelService`.

use super::generated::tensorflow::serving::model_service_server::ModelService;
use super::generated::tensorflow::serving::prediction_service_server::PredictionService;
use super::infer::infer_read;
use super::received::{Received, read};
use crate::control;
use crate::failure::Failure;
use tonic::{Request, Response, Status};
use wisp_protocol::call::{Selection, Target};
use wisp_protocol::grpc::message::tensorflow::serving::*;
use wisp_protocol::grpc::tfs as messages;
use wisp_serving::Serving;

/// The service for inference and model metadata. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Prediction;

/// The service for the states of models and for the set of models that are loaded. Lifetime: the process.
#[derive(Debug)]
pub(super) struct Models;

type Outcome<T> = Result<Response<T>, Status>;

async fn metadata(
    serving: &Serving,
    message: &GetModelMetadataRequest,
) -> Result<GetModelMetadataResponse, Failure> {
    let target = messages::target(message.model_spec.as_ref())?;
    messages::check_metadata_fields(message)?;
    let version = control::version(serving, &target).await?;
    Ok(messages::model_metadata(version.description()))
}

/// Returns the model that a message's model specification names.
fn target(spec: Option<&ModelSpec>) -> Result<Target, Failure> {
    Ok(messages::target(spec)?)
}

#[tonic::async_trait]
impl PredictionService for Prediction {
    async fn classify(
        &self,
        request: Request<Received<ClassificationRequest>>,
    ) -> Outcome<ClassificationResponse> {
        let read = read(request).await?;
        let target = target(read.message.model_spec.as_ref())?;
        let decoder = messages::ClassifyDecoder {
            limit: read.serving.max_body_bytes(),
        };
        Ok(infer_read(read, Selection::Named(target), decoder).await?)
    }

    async fn regress(
        &self,
        request: Request<Received<RegressionRequest>>,
    ) -> Outcome<RegressionResponse> {
        let read = read(request).await?;
        let target = target(read.message.model_spec.as_ref())?;
        let decoder = messages::RegressDecoder {
            limit: read.serving.max_body_bytes(),
        };
        Ok(infer_read(read, Selection::Named(target), decoder).await?)
    }

    async fn predict(
        &self,
        request: Request<Received<PredictRequest>>,
    ) -> Outcome<PredictResponse> {
        let read = read(request).await?;
        let target = target(read.message.model_spec.as_ref())?;
        let decoder = messages::TfsPredictDecoder {
            limit: read.serving.max_body_bytes(),
        };
        Ok(infer_read(read, Selection::Named(target), decoder).await?)
    }

    async fn multi_inference(
        &self,
        request: Request<Received<MultiInferenceRequest>>,
    ) -> Outcome<MultiInferenceResponse> {
        let read = read(request).await?;
        let target = messages::multi_target(&read.message).map_err(Failure::from)?;
        let decoder = messages::MultiInferenceDecoder {
            limit: read.serving.max_body_bytes(),
        };
        Ok(infer_read(read, Selection::Named(target), decoder).await?)
    }

    async fn get_model_metadata(
        &self,
        request: Request<Received<GetModelMetadataRequest>>,
    ) -> Outcome<GetModelMetadataResponse> {
        let read = read(request).await?;
        Ok(Response::new(metadata(&read.serving, &read.message).await?))
    }
}

fn status(
    serving: &Serving,
    message: &GetModelStatusRequest,
) -> Result<GetModelStatusResponse, Failure> {
    let target = target(message.model_spec.as_ref())?;
    let states = control::states(serving, &target)?;
    Ok(messages::model_status(&states))
}

async fn reload(
    serving: &Serving,
    message: &ReloadConfigRequest,
) -> Result<ReloadConfigResponse, Failure> {
    let models = messages::decode_reload(message)?;
    control::load_only(serving, models).await?;
    Ok(messages::reloaded())
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn get_model_status(
        &self,
        request: Request<Received<GetModelStatusRequest>>,
    ) -> Outcome<GetModelStatusResponse> {
        let read = read(request).await?;
        Ok(Response::new(status(&read.serving, &read.message)?))
    }

    async fn handle_reload_config_request(
        &self,
        request: Request<Received<ReloadConfigRequest>>,
    ) -> Outcome<ReloadConfigResponse> {
        let read = read(request).await?;
        Ok(Response::new(reload(&read.serving, &read.message).await?))
    }
}
