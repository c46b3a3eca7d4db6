//! The Open Inference Protocol with Triton's extensions: `inference.GRPCInferenceService`.
//!
//! Methods that this server does not support are refused with an error that names the missing feature.

use super::admitted::AdmittedRequest;
use super::generated::inference::grpc_inference_service_server::GrpcInferenceService;
use super::infer::model_infer;
use super::received::{ReadRequest, Received, read};
use super::status::in_v2;
use super::stream::{ErrorReport, Responses, responses};
use crate::control;
use crate::failure::Failure;
use crate::log;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};
use wisp_protocol::call::Target;
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

/// Returns the model and version that a message names.
fn target(name: &str, version: &str) -> Result<Target, Status> {
    messages::target(name, version).map_err(call_failed)
}

/// Converts the failure of an inference or of a request about a model, other than those below.
fn call_failed(failure: impl Into<Failure>) -> Status {
    in_v2(failure.into(), V2Operation::Call)
}

fn statistics_failed(failure: impl Into<Failure>) -> Status {
    in_v2(failure.into(), V2Operation::Statistics)
}

fn load_failed(failure: impl Into<Failure>) -> Status {
    in_v2(failure.into(), V2Operation::Load)
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
        let ready = control::is_ready(&self.serving);
        Ok(Response::new(messages::ready(ready)))
    }

    async fn model_ready(
        &self,
        request: Request<Received<ModelReadyRequest>>,
    ) -> Outcome<ModelReadyResponse> {
        let read = read(request).await?;
        let target = messages::target(&read.message.name, &read.message.version);
        // A name that no model can have is that of a model that does not exist.
        let ready = target.is_ok_and(|target| control::is_model_ready(&read.serving, &target));
        Ok(Response::new(messages::model_ready(ready)))
    }

    async fn server_metadata(
        &self,
        _: Request<Received<ServerMetadataRequest>>,
    ) -> Outcome<ServerMetadataResponse> {
        let metadata = messages::server_metadata(control::SERVER_VERSION);
        Ok(Response::new(metadata))
    }

    async fn model_metadata(
        &self,
        request: Request<Received<ModelMetadataRequest>>,
    ) -> Outcome<ModelMetadataResponse> {
        let read = read(request).await?;
        let target = target(&read.message.name, &read.message.version)?;
        let found = control::metadata(&read.serving, &target).await;
        let found = found.map_err(call_failed)?;
        let metadata = messages::model_metadata(found.version.description(), &found.versions);
        Ok(Response::new(metadata))
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
        let target = target(&read.message.name, &read.message.version)?;
        let version = control::version(&read.serving, &target).await;
        let version = version.map_err(call_failed)?;
        Ok(Response::new(messages::model_config(version.description())))
    }

    async fn model_statistics(
        &self,
        request: Request<Received<ModelStatisticsRequest>>,
    ) -> Outcome<ModelStatisticsResponse> {
        let read = read(request).await?;
        let target = messages::statistics_target(&read.message).map_err(statistics_failed)?;
        let statistics = control::statistics(&read.serving, target.as_ref());
        let statistics = statistics.map_err(statistics_failed)?;
        Ok(Response::new(messages::statistics(&statistics)))
    }

    async fn repository_index(
        &self,
        request: Request<Received<RepositoryIndexRequest>>,
    ) -> Outcome<RepositoryIndexResponse> {
        let read = read(request).await?;
        let filter = messages::decode_index(&read.message).map_err(Failure::from)?;
        let index = control::index(&read.serving, filter);
        Ok(Response::new(messages::index(&index)))
    }

    async fn repository_model_load(
        &self,
        request: Request<Received<RepositoryModelLoadRequest>>,
    ) -> Outcome<RepositoryModelLoadResponse> {
        let read = read(request).await?;
        let reading = async { messages::load_model(&read.message).map_err(Failure::from) };
        let loaded = control::load(&read.serving, reading).await;
        let loaded = loaded.map_err(load_failed)?;
        Ok(Response::new(messages::loaded(&loaded.model)))
    }

    async fn repository_model_unload(
        &self,
        request: Request<Received<RepositoryModelUnloadRequest>>,
    ) -> Outcome<RepositoryModelUnloadResponse> {
        let read = read(request).await?;
        let model = messages::unload_model(&read.message).map_err(call_failed)?;
        let unloaded = control::unload(&read.serving, &model).await;
        unloaded.map_err(call_failed)?;
        Ok(Response::new(messages::unloaded(&model)))
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
        let target = messages::trace_target(&read.message).map_err(call_failed)?;
        control::check_traced(&read.serving, target.as_ref()).map_err(call_failed)?;
        let settings = messages::trace_settings(&read.message).map_err(call_failed)?;
        Ok(Response::new(settings))
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
