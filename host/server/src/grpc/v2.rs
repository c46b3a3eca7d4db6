//! The Open Inference Protocol with Triton's extensions: `inference.GRPCInferenceService`.
//!
//! Methods that this server does not support are refused with an error that names the missing feature.

use super::admitted::AdmittedRequest;
use super::generated::inference::grpc_inference_service_server::GrpcInferenceService;
use super::infer::model_infer;
use super::received::{ReadRequest, Received, read};
use super::status::in_v2;
use super::stream::{ErrorReport, Responses, responses};
use crate::failure::Failure;
use crate::log;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};
use wisp_protocol::grpc::message::inference::*;
use wisp_protocol::grpc::v2 as messages;
use wisp_protocol::v2::V2Operation;
use wisp_serving::Serving;

/// The service. Lifetime: the process.
#[derive(Debug)]
pub(super) struct V2 {
    /// The service of the public models, which has the readiness of the server.
    serving: Arc<Serving>,
}

type Outcome<T> = Result<Response<T>, Status>;

impl V2 {
    pub(super) fn new(serving: Arc<Serving>) -> V2 {
        V2 { serving }
    }
}

/// Returns whether the model can be called. A model that does not exist cannot, as in Triton.
fn model_is_ready(serving: &Serving, message: &ModelReadyRequest) -> bool {
    let target = messages::target(&message.name, &message.version);
    target.is_ok_and(|target| serving.is_model_ready(&target))
}

async fn metadata(
    serving: &Serving,
    message: &ModelMetadataRequest,
) -> Result<ModelMetadataResponse, Failure> {
    let target = messages::target(&message.name, &message.version)?;
    let version = serving.version(&target).await?;
    let versions = serving.ready_versions(&target.model)?;
    Ok(messages::model_metadata(version.description(), &versions))
}

async fn config(
    serving: &Serving,
    message: &ModelConfigRequest,
) -> Result<ModelConfigResponse, Failure> {
    let target = messages::target(&message.name, &message.version)?;
    let version = serving.version(&target).await?;
    Ok(messages::model_config(version.description()))
}

fn statistics(
    serving: &Serving,
    message: &ModelStatisticsRequest,
) -> Result<ModelStatisticsResponse, Failure> {
    let target = messages::statistics_target(message)?;
    let statistics = serving.statistics(target.as_ref())?;
    Ok(messages::statistics(&statistics))
}

async fn load(
    serving: &Serving,
    message: &RepositoryModelLoadRequest,
) -> Result<RepositoryModelLoadResponse, Failure> {
    let (model, request) = messages::load_model(message)?;
    serving.load(model.clone(), request).await?;
    Ok(messages::loaded(&model))
}

async fn unload(
    serving: &Serving,
    message: &RepositoryModelUnloadRequest,
) -> Result<RepositoryModelUnloadResponse, Failure> {
    let model = messages::unload_model(message)?;
    serving.unload(&model).await?;
    Ok(messages::unloaded(&model))
}

fn trace_settings(
    serving: &Serving,
    message: &TraceSettingRequest,
) -> Result<TraceSettingResponse, Failure> {
    if let Some(target) = messages::trace_target(message)? {
        serving.ready_versions(&target.model)?;
    }
    Ok(messages::trace_settings(message)?)
}

fn index(
    serving: &Serving,
    message: &RepositoryIndexRequest,
) -> Result<RepositoryIndexResponse, Failure> {
    let filter = messages::decode_index(message)?;
    Ok(messages::index(&serving.index(&filter)))
}

/// Converts the failure of an inference, or of a request for metadata or configuration.
fn call_failed(failure: Failure) -> Status {
    in_v2(failure, V2Operation::Call)
}

/// Refuses a method of the protocol that this server does not support.
fn unsupported<T>(what: &'static str) -> Outcome<T> {
    Err(Failure::Unsupported(what).into())
}

const SHARED_MEMORY: &str = "shared memory is";

#[tonic::async_trait]
impl GrpcInferenceService for V2 {
    type ModelStreamInferStream = Responses;

    async fn server_live(
        &self,
        _: Request<Received<ServerLiveRequest>>,
    ) -> Outcome<ServerLiveResponse> {
        Ok(Response::new(messages::live()))
    }

    async fn server_ready(
        &self,
        _: Request<Received<ServerReadyRequest>>,
    ) -> Outcome<ServerReadyResponse> {
        Ok(Response::new(messages::ready(self.serving.is_ready())))
    }

    async fn model_ready(
        &self,
        request: Request<Received<ModelReadyRequest>>,
    ) -> Outcome<ModelReadyResponse> {
        let read = read(request).await?;
        let ready = model_is_ready(&read.serving, &read.message);
        Ok(Response::new(messages::model_ready(ready)))
    }

    async fn server_metadata(
        &self,
        _: Request<Received<ServerMetadataRequest>>,
    ) -> Outcome<ServerMetadataResponse> {
        let version = env!("CARGO_PKG_VERSION");
        Ok(Response::new(messages::server_metadata(version)))
    }

    async fn model_metadata(
        &self,
        request: Request<Received<ModelMetadataRequest>>,
    ) -> Outcome<ModelMetadataResponse> {
        let read = read(request).await?;
        let metadata = metadata(&read.serving, &read.message).await;
        Ok(Response::new(metadata.map_err(call_failed)?))
    }

    async fn model_infer(
        &self,
        request: Request<Received<ModelInferRequest>>,
    ) -> Outcome<ModelInferResponse> {
        let ReadRequest {
            message,
            serving,
            admitted,
        } = read(request).await?;
        let inferred = model_infer(&serving, &admitted, message).await;
        inferred.map_err(call_failed)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<Received<ModelInferRequest>>>,
    ) -> Outcome<Responses> {
        let admitted = AdmittedRequest::of(&request)?;
        let report = ErrorReport::from_metadata(request.metadata());
        Ok(Response::new(responses(
            admitted.serving()?,
            admitted,
            request.into_inner(),
            report,
        )?))
    }

    async fn model_config(
        &self,
        request: Request<Received<ModelConfigRequest>>,
    ) -> Outcome<ModelConfigResponse> {
        let read = read(request).await?;
        let config = config(&read.serving, &read.message).await;
        Ok(Response::new(config.map_err(call_failed)?))
    }

    async fn model_statistics(
        &self,
        request: Request<Received<ModelStatisticsRequest>>,
    ) -> Outcome<ModelStatisticsResponse> {
        let read = read(request).await?;
        let statistics = statistics(&read.serving, &read.message);
        let statistics = statistics.map_err(|failure| in_v2(failure, V2Operation::Statistics));
        Ok(Response::new(statistics?))
    }

    async fn repository_index(
        &self,
        request: Request<Received<RepositoryIndexRequest>>,
    ) -> Outcome<RepositoryIndexResponse> {
        let read = read(request).await?;
        Ok(Response::new(index(&read.serving, &read.message)?))
    }

    async fn repository_model_load(
        &self,
        request: Request<Received<RepositoryModelLoadRequest>>,
    ) -> Outcome<RepositoryModelLoadResponse> {
        let read = read(request).await?;
        let loaded = load(&read.serving, &read.message).await;
        let loaded = loaded.map_err(|failure| in_v2(failure, V2Operation::Load));
        Ok(Response::new(loaded?))
    }

    async fn repository_model_unload(
        &self,
        request: Request<Received<RepositoryModelUnloadRequest>>,
    ) -> Outcome<RepositoryModelUnloadResponse> {
        let read = read(request).await?;
        let unloaded = unload(&read.serving, &read.message).await;
        Ok(Response::new(unloaded.map_err(call_failed)?))
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<Received<SystemSharedMemoryStatusRequest>>,
    ) -> Outcome<SystemSharedMemoryStatusResponse> {
        let message = read(request).await?.message;
        let status = messages::system_shared_memory_status(&message);
        Ok(Response::new(status.map_err(Failure::from)?))
    }

    async fn system_shared_memory_register(
        &self,
        _: Request<Received<SystemSharedMemoryRegisterRequest>>,
    ) -> Outcome<SystemSharedMemoryRegisterResponse> {
        unsupported(SHARED_MEMORY)
    }

    async fn system_shared_memory_unregister(
        &self,
        _: Request<Received<SystemSharedMemoryUnregisterRequest>>,
    ) -> Outcome<SystemSharedMemoryUnregisterResponse> {
        Ok(Response::new(SystemSharedMemoryUnregisterResponse {}))
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<Received<CudaSharedMemoryStatusRequest>>,
    ) -> Outcome<CudaSharedMemoryStatusResponse> {
        let message = read(request).await?.message;
        let status = messages::cuda_shared_memory_status(&message);
        Ok(Response::new(status.map_err(Failure::from)?))
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<Received<CudaSharedMemoryRegisterRequest>>,
    ) -> Outcome<CudaSharedMemoryRegisterResponse> {
        unsupported(SHARED_MEMORY)
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<Received<CudaSharedMemoryUnregisterRequest>>,
    ) -> Outcome<CudaSharedMemoryUnregisterResponse> {
        Ok(Response::new(CudaSharedMemoryUnregisterResponse {}))
    }

    async fn trace_setting(
        &self,
        request: Request<Received<TraceSettingRequest>>,
    ) -> Outcome<TraceSettingResponse> {
        let read = read(request).await?;
        let settings = trace_settings(&read.serving, &read.message);
        Ok(Response::new(settings.map_err(call_failed)?))
    }

    async fn log_settings(
        &self,
        request: Request<Received<LogSettingsRequest>>,
    ) -> Outcome<LogSettingsResponse> {
        let message = read(request).await?.message;
        let settings = messages::log_settings(&message, log::settings());
        Ok(Response::new(settings.map_err(Failure::from)?))
    }
}
