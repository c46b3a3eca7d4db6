//! The right that each gRPC method requires.
//!
//! A method that is in no list has no requirement and is never called: one that is added to a service has to be put into a
//! list before it answers. REST calls have a match without a wildcard for the same purpose.

use wisp_serving::tenants::role::Role;

/// The methods that need no key: they report the state of the server and nothing of its models.
const OPEN: [&str; 5] = [
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/prediction.PredictionService/HealthCheck",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

/// The methods that call models, and that read data of their tenant.
const INFER: [&str; 26] = [
    "/inference.GRPCInferenceService/ModelReady",
    "/inference.GRPCInferenceService/ServerMetadata",
    "/inference.GRPCInferenceService/ModelMetadata",
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelStreamInfer",
    "/inference.GRPCInferenceService/ModelConfig",
    "/inference.GRPCInferenceService/ModelStatistics",
    "/inference.GRPCInferenceService/RepositoryIndex",
    "/inference.GRPCInferenceService/SystemSharedMemoryStatus",
    "/inference.GRPCInferenceService/SystemSharedMemoryRegister",
    "/inference.GRPCInferenceService/SystemSharedMemoryUnregister",
    "/inference.GRPCInferenceService/CudaSharedMemoryStatus",
    "/inference.GRPCInferenceService/CudaSharedMemoryRegister",
    "/inference.GRPCInferenceService/CudaSharedMemoryUnregister",
    "/inference.GRPCInferenceService/TraceSetting",
    "/inference.GRPCInferenceService/LogSettings",
    "/tensorflow.serving.PredictionService/Classify",
    "/tensorflow.serving.PredictionService/Regress",
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/MultiInference",
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    "/tensorflow.serving.ModelService/GetModelStatus",
    "/prediction.PredictionService/Predict",
    "/prediction.PredictionService/BatchPredict",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The methods that change models.
const DEPLOY: [&str; 3] = [
    "/inference.GRPCInferenceService/RepositoryModelLoad",
    "/inference.GRPCInferenceService/RepositoryModelUnload",
    "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
];

/// The right that a method requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MethodRight {
    /// None.
    Open,
    Role(Role),
}

/// Returns the right that the method at this path requires, or `None` if it is in no list.
pub(super) fn required(path: &str) -> Option<MethodRight> {
    let lists: [(&[&str], MethodRight); 3] = [
        (&OPEN, MethodRight::Open),
        (&INFER, MethodRight::Role(Role::Infer)),
        (&DEPLOY, MethodRight::Role(Role::Deploy)),
    ];
    let found = lists.iter().find(|(methods, _)| methods.contains(&path));
    found.map(|(_, right)| *right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use wisp_protocol::grpc::FILE_DESCRIPTOR_SET;

    #[test]
    fn every_method_of_every_service_is_in_one_list() -> anyhow::Result<()> {
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
                        assert!(required(&path).is_some(), "{path} is in no list");
                        found += 1;
                    }
                }
            }
        }
        // None is in two lists, and none that does not exist is in one.
        assert_eq!(found, OPEN.len() + INFER.len() + DEPLOY.len());
        Ok(())
    }

    #[test]
    fn a_method_in_no_list_has_no_right() {
        for path in [
            "/nothing.Service/Method",
            "/inference.GRPCInferenceService/RepositoryModelDelete",
            "/inference.GRPCInferenceService/",
            "",
        ] {
            assert_eq!(required(path), None, "{path}");
        }
    }
}
