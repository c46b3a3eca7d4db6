//! The operations of the API, with the REST calls and the gRPC methods for each, and the right that it requires.
//!
//! The right follows from the operation and not from the protocol, so that `access` asks for the same one in both.
//!
//! Invariant: no match has a wildcard. A REST call does not compile without its operation, nor an operation without a choice
//! of its gRPC methods and its right; a test finds its REST routes. A gRPC method of no operation is never called.

use wisp_protocol::route::{RestCall, RouteError};
use wisp_serving::tenants::role::Role;

/// The right that a request requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// None: load balancers ask without a key, and browsers for the files of the pages, which are the same for everyone.
    Open,
    /// A valid key or none at all: without a key, the response contains nothing of a tenant. Browsers open pages so.
    Optional,
    Role(Role),
}

/// The purpose of a request, in any protocol. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Infer,
    /// Inferences on a stream of messages.
    InferStream,
    ServerLive,
    /// The readiness of the server. The health service of gRPC also reports that of models, to callers with a key.
    ServerReady,
    ServerMetadata,
    Limits,
    ModelList,
    Index,
    ModelReady,
    /// The states of a model's versions.
    ModelStates,
    ModelMetadata,
    ModelConfig,
    Statistics,
    /// The settings of traces. Requests for other settings are checked and refused, so that they change nothing.
    TraceSettings,
    /// The settings of the log, likewise.
    LogSettings,
    /// The regions of shared memory, of which there are none to register or to remove.
    SharedMemory,
    Load,
    /// The load of some models and the unload of all others.
    LoadOnly,
    Unload,
    /// The upload of a version, its commit or its deletion.
    VersionChange,
    ReleaseStatus,
    ReleaseChange,
    /// The description of the gRPC services.
    Reflection,
    Console,
    OpenApi,
    Docs,
}

impl Operation {
    /// All operations, of which the most frequent ones come first.
    const ALL: [Operation; 26] = [
        Operation::Infer,
        Operation::InferStream,
        Operation::ServerLive,
        Operation::ServerReady,
        Operation::ServerMetadata,
        Operation::Limits,
        Operation::ModelList,
        Operation::Index,
        Operation::ModelReady,
        Operation::ModelStates,
        Operation::ModelMetadata,
        Operation::ModelConfig,
        Operation::Statistics,
        Operation::TraceSettings,
        Operation::LogSettings,
        Operation::SharedMemory,
        Operation::Load,
        Operation::LoadOnly,
        Operation::Unload,
        Operation::VersionChange,
        Operation::ReleaseStatus,
        Operation::ReleaseChange,
        Operation::Reflection,
        Operation::Console,
        Operation::OpenApi,
        Operation::Docs,
    ];

    /// Returns the operation of a REST call.
    pub(crate) fn of_call(call: &RestCall) -> Operation {
        match call {
            RestCall::ServerLive | RestCall::KserveLive => Operation::ServerLive,
            RestCall::ServerReady | RestCall::Health => Operation::ServerReady,
            RestCall::ServerMetadata => Operation::ServerMetadata,
            RestCall::Limits => Operation::Limits,
            RestCall::ModelList | RestCall::TfsModelList => Operation::ModelList,
            RestCall::RepositoryIndex => Operation::Index,
            RestCall::ModelReady(_) => Operation::ModelReady,
            RestCall::TfsModelStatus(_) => Operation::ModelStates,
            RestCall::ModelMetadata(_) | RestCall::TfsModelMetadata(_) => Operation::ModelMetadata,
            RestCall::ModelConfig(_) => Operation::ModelConfig,
            RestCall::ModelStatistics(_) | RestCall::AllStatistics => Operation::Statistics,
            RestCall::TraceSettings(_) | RestCall::SetTraceSettings(_) => Operation::TraceSettings,
            RestCall::LogSettings | RestCall::SetLogSettings => Operation::LogSettings,
            RestCall::SharedMemoryStatus | RestCall::SharedMemoryUnregister => {
                Operation::SharedMemory
            }
            RestCall::Infer(_) => Operation::Infer,
            RestCall::RepositoryLoad(_) => Operation::Load,
            RestCall::RepositoryUnload(_) => Operation::Unload,
            RestCall::UploadFile(..) | RestCall::CommitVersion(_) | RestCall::DeleteVersion(_) => {
                Operation::VersionChange
            }
            RestCall::ReleaseStatus(_) => Operation::ReleaseStatus,
            RestCall::ReleaseStart(_) | RestCall::ReleaseChange(..) => Operation::ReleaseChange,
            RestCall::Console(_) => Operation::Console,
            RestCall::OpenApi => Operation::OpenApi,
            RestCall::Docs(_) => Operation::Docs,
        }
    }

    /// Returns the operation of the gRPC method at this path, or `None` if there is no such method.
    pub(crate) fn of_method(path: &str) -> Option<Operation> {
        let mut operations = Operation::ALL.into_iter();
        operations.find(|operation| operation.grpc_methods().contains(&path))
    }

    /// Returns the paths of the gRPC methods for the operation. There are none if gRPC does not have it.
    fn grpc_methods(self) -> &'static [&'static str] {
        match self {
            Operation::ServerLive => &["/inference.GRPCInferenceService/ServerLive"],
            Operation::ServerReady => &[
                "/inference.GRPCInferenceService/ServerReady",
                "/prediction.PredictionService/HealthCheck",
                "/grpc.health.v1.Health/Check",
                "/grpc.health.v1.Health/Watch",
            ],
            Operation::ServerMetadata => &["/inference.GRPCInferenceService/ServerMetadata"],
            Operation::Index => &["/inference.GRPCInferenceService/RepositoryIndex"],
            Operation::ModelReady => &["/inference.GRPCInferenceService/ModelReady"],
            Operation::ModelStates => &["/tensorflow.serving.ModelService/GetModelStatus"],
            Operation::ModelMetadata => &[
                "/inference.GRPCInferenceService/ModelMetadata",
                "/tensorflow.serving.PredictionService/GetModelMetadata",
            ],
            Operation::ModelConfig => &["/inference.GRPCInferenceService/ModelConfig"],
            Operation::Statistics => &["/inference.GRPCInferenceService/ModelStatistics"],
            Operation::TraceSettings => &["/inference.GRPCInferenceService/TraceSetting"],
            Operation::LogSettings => &["/inference.GRPCInferenceService/LogSettings"],
            Operation::SharedMemory => &[
                "/inference.GRPCInferenceService/SystemSharedMemoryStatus",
                "/inference.GRPCInferenceService/SystemSharedMemoryRegister",
                "/inference.GRPCInferenceService/SystemSharedMemoryUnregister",
                "/inference.GRPCInferenceService/CudaSharedMemoryStatus",
                "/inference.GRPCInferenceService/CudaSharedMemoryRegister",
                "/inference.GRPCInferenceService/CudaSharedMemoryUnregister",
            ],
            Operation::Infer => &[
                "/inference.GRPCInferenceService/ModelInfer",
                "/tensorflow.serving.PredictionService/Classify",
                "/tensorflow.serving.PredictionService/Regress",
                "/tensorflow.serving.PredictionService/Predict",
                "/tensorflow.serving.PredictionService/MultiInference",
                "/prediction.PredictionService/Predict",
                "/prediction.PredictionService/BatchPredict",
            ],
            Operation::InferStream => &["/inference.GRPCInferenceService/ModelStreamInfer"],
            Operation::Load => &["/inference.GRPCInferenceService/RepositoryModelLoad"],
            Operation::LoadOnly => &["/tensorflow.serving.ModelService/HandleReloadConfigRequest"],
            Operation::Unload => &["/inference.GRPCInferenceService/RepositoryModelUnload"],
            Operation::Reflection => &[
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            ],
            // No service has methods for these.
            Operation::Limits
            | Operation::ModelList
            | Operation::VersionChange
            | Operation::ReleaseStatus
            | Operation::ReleaseChange
            | Operation::Console
            | Operation::OpenApi
            | Operation::Docs => &[],
        }
    }

    /// Returns the right that the operation requires.
    fn requirement(self) -> Requirement {
        match self {
            Operation::ServerLive | Operation::ServerReady | Operation::Docs => Requirement::Open,
            Operation::Console | Operation::OpenApi => Requirement::Optional,
            Operation::ServerMetadata
            | Operation::Limits
            | Operation::ModelList
            | Operation::Index
            | Operation::ModelReady
            | Operation::ModelStates
            | Operation::ModelMetadata
            | Operation::ModelConfig
            | Operation::Statistics
            | Operation::TraceSettings
            | Operation::LogSettings
            | Operation::SharedMemory
            | Operation::Infer
            | Operation::InferStream
            | Operation::Reflection => Requirement::Role(Role::Infer),
            Operation::Load
            | Operation::LoadOnly
            | Operation::Unload
            | Operation::VersionChange
            | Operation::ReleaseStatus
            | Operation::ReleaseChange => Requirement::Role(Role::Deploy),
        }
    }

    /// Returns whether the operation changes models. Each that requires the role for it does, except the view of a release.
    pub(crate) fn changes_models(self) -> bool {
        let deploys = self.requirement() == Requirement::Role(Role::Deploy);
        deploys && self != Operation::ReleaseStatus
    }
}

// === impl Requirement ===

impl Requirement {
    /// Returns the requirement of a REST request, also of one with a path that does not exist.
    pub(crate) fn of_call(call: &Result<RestCall, RouteError>) -> Requirement {
        match call {
            Ok(call) => Operation::of_call(call).requirement(),
            Err(_) => Requirement::Role(Role::Infer),
        }
    }

    /// Returns the requirement of a gRPC request for this path.
    pub(crate) fn of_method(path: &str) -> Requirement {
        // An unknown method is not called. Callers with a key are told that it is unknown, as for an unknown path.
        match Operation::of_method(path) {
            Some(operation) => operation.requirement(),
            None => Requirement::Role(Role::Infer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, Method, header};
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use wisp_protocol::grpc::FILE_DESCRIPTOR_SET;
    use wisp_protocol::route::route;

    /// The operations without a route of REST, which has no streams of messages and describes its routes in OpenAPI.
    /// TensorFlow Serving replaces the set of models over gRPC only.
    const GRPC_ONLY: [Operation; 3] = [
        Operation::InferStream,
        Operation::Reflection,
        Operation::LoadOnly,
    ];

    #[test]
    fn rest_has_every_operation_but_those_of_grpc_only() -> anyhow::Result<()> {
        let audited = include_str!("../../../tests/fixtures/tenants/routes.txt");
        let mut routed = Vec::new();
        for line in audited.lines() {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, method, path, ref accepted @ ..] = columns[..] else {
                continue;
            };
            if line.starts_with('#') || method == "GRPC" {
                continue;
            }
            let mut headers = HeaderMap::new();
            if let [accepted] = accepted {
                headers.insert(header::ACCEPT, HeaderValue::from_str(accepted)?);
            }
            if let Ok(call) = route(&Method::from_bytes(method.as_bytes())?, path, &headers) {
                routed.push(Operation::of_call(&call));
            }
        }
        for operation in Operation::ALL {
            let is_of_rest = !GRPC_ONLY.contains(&operation);
            assert_eq!(routed.contains(&operation), is_of_rest, "{operation:?}");
        }
        routed.retain(|operation| !Operation::ALL.contains(operation));
        assert!(routed.is_empty(), "not in the list of all: {routed:?}");
        Ok(())
    }

    #[test]
    fn every_method_of_every_service_has_one_operation() -> anyhow::Result<()> {
        let mut found = 0;
        for set in [
            FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            for file in &FileDescriptorSet::decode(set)?.file {
                for service in &file.service {
                    for method in &service.method {
                        let path =
                            format!("/{}.{}/{}", file.package(), service.name(), method.name());
                        assert!(
                            Operation::of_method(&path).is_some(),
                            "{path} has no operation"
                        );
                        found += 1;
                    }
                }
            }
        }
        // None has two operations, and no operation has one that does not exist.
        let methods = Operation::ALL.map(|operation| operation.grpc_methods().len());
        assert_eq!(found, methods.into_iter().sum::<usize>());
        Ok(())
    }

    #[test]
    fn a_method_that_does_not_exist_has_no_operation() {
        for path in [
            "/nothing.Service/Method",
            "/inference.GRPCInferenceService/RepositoryModelDelete",
            "/inference.GRPCInferenceService/",
            "",
        ] {
            assert_eq!(Operation::of_method(path), None, "{path}");
        }
    }
}
