//! Tests of control calls with the same outcome in REST and in gRPC.

use super::grpc::{one, request, status};
use super::harness::{TestServer, options};
use super::http2::connect;
use prost::Message;
use wisp_protocol::grpc::message::inference::{
    ModelConfigRequest, ModelMetadataRequest, ModelStatisticsRequest, RepositoryModelLoadRequest,
    TraceSettingRequest,
};

#[tokio::test]
async fn a_load_that_is_not_allowed_is_refused_before_it_is_decoded() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    // The body does not come.
    let head = "POST /v2/repository/models/m/load HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";
    let refused = server.ask(head).await?;
    refused.check_refusal(400)?;
    // A field that is not supported.
    let message = RepositoryModelLoadRequest {
        repository_name: "r".to_owned(),
        model_name: "m".to_owned(),
        ..RepositoryModelLoadRequest::default()
    };
    let (mut client, _connection) = connect(&server).await?;
    let path = "/inference.GRPCInferenceService/RepositoryModelLoad";
    let load = request(path, &[], one(0, &message.encode_to_vec())?)?;
    let (code, text) = status(&mut client, load).await?;
    assert_eq!(code, "3", "{text}");
    for text in [&refused.body, &text] {
        assert!(text.contains("--model-control-mode"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_reported_with_the_same_text() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let (mut client, _connection) = connect(&server).await?;
    let name = || "m".to_owned();
    let metadata = ModelMetadataRequest {
        name: name(),
        ..ModelMetadataRequest::default()
    };
    let config = ModelConfigRequest {
        name: name(),
        ..ModelConfigRequest::default()
    };
    let statistics = ModelStatisticsRequest {
        name: name(),
        ..ModelStatisticsRequest::default()
    };
    let traces = TraceSettingRequest {
        model_name: name(),
        ..TraceSettingRequest::default()
    };
    for (path, method, message) in [
        ("/v2/models/m", "ModelMetadata", metadata.encode_to_vec()),
        ("/v2/models/m/config", "ModelConfig", config.encode_to_vec()),
        (
            "/v2/models/m/stats",
            "ModelStatistics",
            statistics.encode_to_vec(),
        ),
        (
            "/v2/models/m/trace/setting",
            "TraceSetting",
            traces.encode_to_vec(),
        ),
    ] {
        let get = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let refused = server.ask(&get).await?;
        refused.check_refusal(404)?;
        let method = format!("/inference.GRPCInferenceService/{method}");
        let call = request(&method, &[], one(0, &message)?)?;
        let (code, text) = status(&mut client, call).await?;
        assert_eq!(code, "5", "{method}: {text}");
        // Messages in headers are percent-encoded.
        let text = text.replace("%20", " ");
        assert_eq!(refused.body, format!(r#"{{"error":"{text}"}}"#), "{method}");
    }
    Ok(())
}
