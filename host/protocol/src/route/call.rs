//! The calls that the head of a REST request can make.

use super::console_view::ConsoleView;
use crate::call::{InferCall, ModelName, Target};
use crate::release::ReleaseChange;
use crate::rest::RestDecoder;
use crate::upload::{UploadFileName, VersionName};

/// A REST request, as far as its head determines it. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestCall {
    /// The liveness check of the process.
    ServerLive,
    /// The readiness check: whether the process accepts inference requests.
    ServerReady,
    ServerMetadata,
    /// The models of the repository and their states.
    RepositoryIndex,
    RepositoryLoad(ModelName),
    RepositoryUnload(ModelName),
    /// The state of the release of a model.
    ReleaseStatus(ModelName),
    ReleaseStart(ModelName),
    ReleaseChange(ModelName, ReleaseChange),
    /// The upload of a file of a version, which is not served before it is committed.
    UploadFile(VersionName, UploadFileName),
    CommitVersion(VersionName),
    DeleteVersion(VersionName),
    /// The names of the models.
    ModelList,
    /// A model's configuration in Triton's format.
    ModelConfig(Target),
    ModelReady(Target),
    ModelMetadata(Target),
    /// The statistics of one version of a model, or of all its versions that accept calls.
    ModelStatistics(Target),
    /// The statistics of every version of every model.
    AllStatistics,
    /// The settings of traces, of the server or of a model.
    TraceSettings(Option<Target>),
    /// A request for other settings of traces.
    SetTraceSettings(Option<Target>),
    LogSettings,
    /// A request for other settings of the log.
    SetLogSettings,
    /// The registered regions of shared memory.
    SharedMemoryStatus,
    /// The removal of one region of shared memory or of all.
    SharedMemoryUnregister,
    /// The page with these models and their statistics.
    Console(ConsoleView),
    /// The OpenAPI document for the served models.
    OpenApi,
    Docs(DocsFile),
    /// The liveness check of the predict API.
    Health,
    /// The liveness check of KServe V1.
    KserveLive,
    /// The limits of the tenant whose key the request has.
    Limits,
    /// The names of the models, for KServe V1 and for clients of OpenAI's model list.
    TfsModelList,
    /// The states of a model's versions for TF Serving, and the model's readiness for KServe V1.
    TfsModelStatus(Target),
    TfsModelMetadata(Target),
    Infer(InferCall<RestDecoder>),
}

/// A file of the page that displays the OpenAPI document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocsFile {
    Page,
    /// The script that starts the viewer; the page has no inline script.
    Initializer,
    Script,
    Style,
    Icon,
    /// The script for the API key of a tenant, which both pages use.
    KeyScript,
    /// The script of the console.
    ConsoleScript,
    ConsoleStyle,
}
