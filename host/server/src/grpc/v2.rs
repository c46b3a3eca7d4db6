//! The Open Inference Protocol with Triton's extensions: `inference.GRPCInferenceService`.
//!
//! BoxedService that this server does not support are refused with an error that names the missing feature.

use super::admitted::AdmittedRequest;
use super::generated::inference::grpc_inference_service_server::GrpcInferenceService;
use super::infer::model_infer;
use super::received::{Received, read};
use super::stream::{Responses, responses};
use crate::failure::Failure;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};
use wisp_protocol::grpc::message::inference::*;
use wisp_protocol::grpc::v2 as messages;
use wisp_serving::Serving;

/// The service. Lifetime: the process.
#[derive(Debug)]
pub(super) struct V2 {
    serving: Arc<Serving>,
}

type Outcome<T> = Result<Response<T>, Status>;

impl V2 {
    pub(super) fn new(serving: Arc<Serving>) -> V2 {
        V2 { serving }
    }

    fn model_is_ready(&self, message: &ModelReadyRequest) -> Result<bool, Failure> {
        let target = messages::target(&message.name, &message.version)?;
        Ok(self.serving.is_model_ready(&target)?)
    }

    fn metadata(&self, message: &ModelMetadataRequest) -> Result<ModelMetadataResponse, Failure> {
        let target = messages::target(&message.name, &message.version)?;
        let version = self.serving.version(&target)?;
        let versions = self.serving.ready_versions(&target.model)?;
        Ok(messages::model_metadata(version.description(), &versions))
    }

    fn config(&self, message: &ModelConfigRequest) -> Result<ModelConfigResponse, Failure> {
        let target = messages::target(&message.name, &message.version)?;
        let version = self.serving.version(&target)?;
        Ok(messages::model_config(version.description()))
    }

    fn statistics(
        &self,
        message: &ModelStatisticsRequest,
    ) -> Result<ModelStatisticsResponse, Failure> {
        let target = messages::statistics_target(message)?;
        let statistics = self.serving.statistics(target.as_ref())?;
        Ok(messages::statistics(&statistics))
    }

    async fn load(
        &self,
        message: &RepositoryModelLoadRequest,
    ) -> Result<RepositoryModelLoadResponse, Failure> {
        let (model, request) = messages::load_model(message)?;
        self.serving.load(model.clone(), request).await?;
        Ok(messages::loaded(&model))
    }

    async fn unload(
        &self,
        message: &RepositoryModelUnloadRequest,
    ) -> Result<RepositoryModelUnloadResponse, Failure> {
        let model = messages::unload_model(message)?;
        self.serving.unload(&model).await?;
        Ok(messages::unloaded(&model))
    }

    fn index(&self, message: &RepositoryIndexRequest) -> Result<RepositoryIndexResponse, Failure> {
        let filter = messages::decode_index(message)?;
        Ok(messages::index(&self.serving.index(&filter)))
    }
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
        let ready = self.model_is_ready(&read(&self.serving, request).await?.0)?;
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
        Ok(Response::new(
            self.metadata(&read(&self.serving, request).await?.0)?,
        ))
    }

    async fn model_infer(
        &self,
        request: Request<Received<ModelInferRequest>>,
    ) -> Outcome<ModelInferResponse> {
        let (message, admitted) = read(&self.serving, request).await?;
        Ok(model_infer(&self.serving, &admitted, message).await?)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<Received<ModelInferRequest>>>,
    ) -> Outcome<Responses> {
        let admitted = AdmittedRequest::of(&request)?;
        let serving = Arc::clone(&self.serving);
        Ok(Response::new(responses(
            serving,
            admitted,
            request.into_inner(),
        )?))
    }

    async fn model_config(
        &self,
        request: Request<Received<ModelConfigRequest>>,
    ) -> Outcome<ModelConfigResponse> {
        Ok(Response::new(
            self.config(&read(&self.serving, request).await?.0)?,
        ))
    }

    async fn model_statistics(
        &self,
        request: Request<Received<ModelStatisticsRequest>>,
    ) -> Outcome<ModelStatisticsResponse> {
        Ok(Response::new(
            self.statistics(&read(&self.serving, request).await?.0)?,
        ))
    }

    async fn repository_index(
        &self,
        request: Request<Received<RepositoryIndexRequest>>,
    ) -> Outcome<RepositoryIndexResponse> {
        Ok(Response::new(
            self.index(&read(&self.serving, request).await?.0)?,
        ))
    }

    async fn repository_model_load(
        &self,
        request: Request<Received<RepositoryModelLoadRequest>>,
    ) -> Outcome<RepositoryModelLoadResponse> {
        Ok(Response::new(
            self.load(&read(&self.serving, request).await?.0).await?,
        ))
    }

    async fn repository_model_unload(
        &self,
        request: Request<Received<RepositoryModelUnloadRequest>>,
    ) -> Outcome<RepositoryModelUnloadResponse> {
        Ok(Response::new(
            self.unload(&read(&self.serving, request).await?.0).await?,
        ))
    }

    async fn system_shared_memory_status(
        &self,
        _: Request<Received<SystemSharedMemoryStatusRequest>>,
    ) -> Outcome<SystemSharedMemoryStatusResponse> {
        unsupported(SHARED_MEMORY)
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
        unsupported(SHARED_MEMORY)
    }

    async fn cuda_shared_memory_status(
        &self,
        _: Request<Received<CudaSharedMemoryStatusRequest>>,
    ) -> Outcome<CudaSharedMemoryStatusResponse> {
        unsupported(SHARED_MEMORY)
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
        unsupported(SHARED_MEMORY)
    }

    async fn trace_setting(
        &self,
        _: Request<Received<TraceSettingRequest>>,
    ) -> Outcome<TraceSettingResponse> {
        unsupported("tracing is")
    }

    async fn log_settings(
        &self,
        _: Request<Received<LogSettingsRequest>>,
    ) -> Outcome<LogSettingsResponse> {
        unsupported("changing the log is")
    }
}
