//! The Open Inference Protocol with Triton's extensions: `inference.GRPCInferenceService`.
//!
//! Methods that this server does not support are refused with an error that names the missing feature.

use super::generated::inference::grpc_inference_service_server::GrpcInferenceService;
use super::received::{Received, read};
use super::stream::{Answers, Requests};
use super::{Held, infer_message};
use crate::failure::Failure;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};
use wisp_protocol::call::{InferCall, Selection};
use wisp_protocol::error::ErrorKind;
use wisp_protocol::grpc::message::inference::*;
use wisp_protocol::grpc::v2 as messages;
use wisp_serving::Serving;

/// The service. Lifetime: the process.
#[derive(Debug)]
pub(super) struct V2 {
    serving: Arc<Serving>,
}

type Answer<T> = Result<Response<T>, Status>;

impl V2 {
    pub(super) fn new(serving: Arc<Serving>) -> V2 {
        V2 { serving }
    }

    fn check_ready(&self, message: &ModelReadyRequest) -> Result<bool, Failure> {
        let target = messages::target(&message.name, &message.version)?;
        match self.serving.check_ready(&target) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(false),
            Err(error) => Err(error.into()),
        }
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
        let statistics = match messages::statistics_target(message)? {
            Some(target) => self.serving.statistics(&target)?,
            None => self.serving.all_statistics(),
        };
        Ok(messages::statistics(&statistics))
    }

    async fn load(
        &self,
        message: &RepositoryModelLoadRequest,
    ) -> Result<RepositoryModelLoadResponse, Failure> {
        let model = messages::load_model(message)?;
        self.serving.load(model.clone()).await?;
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
        let mut entries = self.serving.index();
        entries.retain(|entry| filter.matches(entry));
        Ok(messages::index(&entries))
    }
}

/// Runs one inference, for a single request or for one on a stream.
pub(super) async fn model_infer(
    serving: &Serving,
    held: Option<&Held>,
    message: ModelInferRequest,
) -> Result<Response<ModelInferResponse>, Failure> {
    let target = messages::target(&message.model_name, &message.model_version)?;
    let call = InferCall {
        selection: Selection::Named(target),
        decoder: messages::ModelInferDecoder,
    };
    infer_message(serving, held, call, message).await
}

/// Refuses a method of the protocol that this server does not support.
fn left_out<T>(what: &'static str) -> Answer<T> {
    Err(Failure::LeftOut(what).into())
}

const SHARED_MEMORY: &str = "shared memory is";

#[tonic::async_trait]
impl GrpcInferenceService for V2 {
    type ModelStreamInferStream = Answers;

    async fn server_live(
        &self,
        _: Request<Received<ServerLiveRequest>>,
    ) -> Answer<ServerLiveResponse> {
        Ok(Response::new(messages::live()))
    }

    async fn server_ready(
        &self,
        _: Request<Received<ServerReadyRequest>>,
    ) -> Answer<ServerReadyResponse> {
        Ok(Response::new(messages::ready(self.serving.is_ready())))
    }

    async fn model_ready(
        &self,
        request: Request<Received<ModelReadyRequest>>,
    ) -> Answer<ModelReadyResponse> {
        let ready = self.check_ready(&read(&self.serving, request).await?)?;
        Ok(Response::new(messages::model_ready(ready)))
    }

    async fn server_metadata(
        &self,
        _: Request<Received<ServerMetadataRequest>>,
    ) -> Answer<ServerMetadataResponse> {
        let version = env!("CARGO_PKG_VERSION");
        Ok(Response::new(messages::server_metadata(version)))
    }

    async fn model_metadata(
        &self,
        request: Request<Received<ModelMetadataRequest>>,
    ) -> Answer<ModelMetadataResponse> {
        Ok(Response::new(
            self.metadata(&read(&self.serving, request).await?)?,
        ))
    }

    async fn model_infer(
        &self,
        request: Request<Received<ModelInferRequest>>,
    ) -> Answer<ModelInferResponse> {
        let held = Held::of(&request);
        let message = read(&self.serving, request).await?;
        Ok(model_infer(&self.serving, held.as_ref(), message).await?)
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<Received<ModelInferRequest>>>,
    ) -> Answer<Answers> {
        let requests = Requests {
            held: Held::of(&request),
            serving: Arc::clone(&self.serving),
            messages: request.into_inner(),
        };
        Ok(Response::new(requests.answers()))
    }

    async fn model_config(
        &self,
        request: Request<Received<ModelConfigRequest>>,
    ) -> Answer<ModelConfigResponse> {
        Ok(Response::new(
            self.config(&read(&self.serving, request).await?)?,
        ))
    }

    async fn model_statistics(
        &self,
        request: Request<Received<ModelStatisticsRequest>>,
    ) -> Answer<ModelStatisticsResponse> {
        Ok(Response::new(
            self.statistics(&read(&self.serving, request).await?)?,
        ))
    }

    async fn repository_index(
        &self,
        request: Request<Received<RepositoryIndexRequest>>,
    ) -> Answer<RepositoryIndexResponse> {
        Ok(Response::new(
            self.index(&read(&self.serving, request).await?)?,
        ))
    }

    async fn repository_model_load(
        &self,
        request: Request<Received<RepositoryModelLoadRequest>>,
    ) -> Answer<RepositoryModelLoadResponse> {
        Ok(Response::new(
            self.load(&read(&self.serving, request).await?).await?,
        ))
    }

    async fn repository_model_unload(
        &self,
        request: Request<Received<RepositoryModelUnloadRequest>>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        Ok(Response::new(
            self.unload(&read(&self.serving, request).await?).await?,
        ))
    }

    async fn system_shared_memory_status(
        &self,
        _: Request<Received<SystemSharedMemoryStatusRequest>>,
    ) -> Answer<SystemSharedMemoryStatusResponse> {
        left_out(SHARED_MEMORY)
    }

    async fn system_shared_memory_register(
        &self,
        _: Request<Received<SystemSharedMemoryRegisterRequest>>,
    ) -> Answer<SystemSharedMemoryRegisterResponse> {
        left_out(SHARED_MEMORY)
    }

    async fn system_shared_memory_unregister(
        &self,
        _: Request<Received<SystemSharedMemoryUnregisterRequest>>,
    ) -> Answer<SystemSharedMemoryUnregisterResponse> {
        left_out(SHARED_MEMORY)
    }

    async fn cuda_shared_memory_status(
        &self,
        _: Request<Received<CudaSharedMemoryStatusRequest>>,
    ) -> Answer<CudaSharedMemoryStatusResponse> {
        left_out(SHARED_MEMORY)
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<Received<CudaSharedMemoryRegisterRequest>>,
    ) -> Answer<CudaSharedMemoryRegisterResponse> {
        left_out(SHARED_MEMORY)
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<Received<CudaSharedMemoryUnregisterRequest>>,
    ) -> Answer<CudaSharedMemoryUnregisterResponse> {
        left_out(SHARED_MEMORY)
    }

    async fn trace_setting(
        &self,
        _: Request<Received<TraceSettingRequest>>,
    ) -> Answer<TraceSettingResponse> {
        left_out("tracing is")
    }

    async fn log_settings(
        &self,
        _: Request<Received<LogSettingsRequest>>,
    ) -> Answer<LogSettingsResponse> {
        left_out("changing the log is")
    }
}
