//! Tests of models with a `config.pbtxt`, beside a `model.toml` or without one.

use crate::harness::{Repository, TestServer};
use crate::python;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A configuration as people publish it, for the graph of `wine`.
const WINE: &str = r#"
name: "m"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "features" data_type: TYPE_FP32 dims: [ 13 ] } ]
output [ { name: "probabilities" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]
instance_group [ { count: 2 kind: KIND_CPU } ]
version_policy: { latest { num_versions: 1 } }
parameters { key: "author" value { string_value: "someone" } }
dynamic_batching {
  preferred_batch_size: [ 4 ]
  max_queue_delay_microseconds: 100
  priority_levels: 2
  default_priority_level: 1
  default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 500000 max_queue_size: 100 }
  priority_queue_policy { key: 2 value { allow_timeout_override: true } }
}
response_cache { enable: true }
optimization { graph { level: 1 } }
"#;

/// Serves the graph of `wine` as `m`, with this configuration and no `model.toml`.
fn serve(config: &str) -> Result<TestServer> {
    TestServer::start(repository(config)?)
}

fn repository(config: &str) -> Result<Repository> {
    Repository::empty()?
        .with_model("m", "wine", None)?
        .with_file("m/labels.txt", "red\ngreen\nblue\n")?
        .with_file("m/config.pbtxt", config)
}

fn configuration(server: &TestServer) -> Result<Value> {
    server.get("/v2/models/m/config")?.ok()
}

/// Returns the reason in the index for which `m` cannot be served.
fn refusal(config: &str) -> Result<String> {
    let server = serve(config)?;
    let index = server.request("POST /v2/repository/index", &[], b"")?;
    let index = index.ok()?;
    let reason = index[0]["reason"].as_str();
    let reason = reason.with_context(|| format!("it is served: {index}"))?;
    Ok(reason.to_owned())
}

#[test]
fn a_published_configuration_sets_what_the_server_has() -> Result<()> {
    let server = serve(WINE)?;
    let config = configuration(&server)?;
    assert_eq!(config["max_batch_size"], 8);
    assert_eq!(config["input"][0]["dims"], json!([13]));
    assert_eq!(config["output"][0]["dims"], json!([3]));
    assert_eq!(config["output"][0]["label_filename"], "labels.txt");
    assert_eq!(config["instance_group"][0]["count"], 2);
    assert_eq!(config["parameters"]["author"]["string_value"], "someone");
    let infer = |rows: usize| {
        let features = vec![1.0; rows * 13];
        let input =
            json!({"name": "features", "datatype": "FP32", "shape": [rows, 13], "data": features});
        let body = json!({ "inputs": [input] }).to_string();
        server.request("POST /v2/models/m/infer", &[], body.as_bytes())
    };
    let response = infer(8)?.ok()?;
    assert_eq!(response["outputs"][0]["shape"], json!([8, 3]));
    ensure!(infer(9)?.ok().is_err(), "9 rows are more than 8");
    Ok(())
}

#[test]
fn the_configuration_is_the_one_that_protobuf_reads() -> Result<()> {
    let server = serve(WINE)?;
    let file = server.repository().join("m/config.pbtxt");
    let file = file.to_str().context("a path that is not Unicode")?;
    let address = server.grpc_address().to_string();
    python::run("triton_config.py", &[&address, "m", file])?;
    Ok(())
}

#[test]
fn the_response_to_a_load_names_the_fields_without_an_effect() -> Result<()> {
    let server = serve(WINE)?;
    let load = || {
        let response = server.request("POST /v2/repository/models/m/load", &[], b"{}")?;
        response.ok()
    };
    let loaded = load()?;
    let expected = json!({ "name": "m", "load": true, "ignored_fields": ["optimization"] });
    ensure!(loaded == expected, "{loaded}");
    let path = server.repository().join("m/config.pbtxt");
    std::fs::write(&path, "max_batch_size: 8\n")?;
    let loaded = load()?;
    ensure!(loaded == json!({ "name": "m", "load": true }), "{loaded}");
    Ok(())
}

#[test]
fn the_model_file_takes_precedence() -> Result<()> {
    let own = "max_batch_size = 4\ninstances = 1\nparameters = { author = 'we' }";
    let server = TestServer::start(repository(WINE)?.with_file("m/model.toml", own)?)?;
    let config = configuration(&server)?;
    assert_eq!(config["max_batch_size"], 4);
    assert_eq!(config["instance_group"][0]["count"], 1);
    assert_eq!(config["parameters"]["author"]["string_value"], "we");
    assert_eq!(config["output"][0]["label_filename"], "labels.txt");
    Ok(())
}

#[test]
fn a_changed_configuration_is_loaded_and_that_of_a_client_takes_precedence() -> Result<()> {
    let server = serve(WINE)?;
    let path = server.repository().join("m/config.pbtxt");
    let load = |body: &Value| {
        let body = body.to_string();
        let route = "POST /v2/repository/models/m/load";
        server.request(route, &[], body.as_bytes())
    };
    std::fs::write(
        &path,
        WINE.replace("max_batch_size: 8", "max_batch_size: 16"),
    )?;
    load(&json!({}))?.ok()?;
    assert_eq!(configuration(&server)?["max_batch_size"], 16);
    let config = json!({"max_batch_size": 2}).to_string();
    load(&json!({"parameters": {"config": config}}))?.ok()?;
    let loaded = configuration(&server)?;
    assert_eq!(loaded["max_batch_size"], 2);
    assert_eq!(loaded["instance_group"][0]["count"], 2);
    std::fs::remove_file(&path)?;
    load(&json!({}))?.ok()?;
    let loaded = configuration(&server)?;
    ensure!(loaded["parameters"].get("author").is_none(), "{loaded}");
    Ok(())
}

#[test]
fn a_configuration_that_cannot_be_used_is_the_reason_that_the_model_is_unavailable() -> Result<()> {
    for (config, reason) in [
        (
            "name: \"m\"\nmax_batchsize: 8\n",
            "its config.pbtxt is not valid: line 2: ModelConfig has no field `max_batchsize`",
        ),
        (
            "sequence_batching { max_sequence_idle_microseconds: 5 }",
            "its config.pbtxt is not valid: line 1: `sequence_batching` is not supported by this server",
        ),
        (
            "backend: \"python\"",
            "its config.pbtxt is not valid: line 1: backend `python` is not supported: write a handler",
        ),
        ("name: \"n\"", "`config.pbtxt` is for model `n`"),
        (
            "max_batch_size: 8 input { name: \"features\" data_type: TYPE_FP32 dims: [ 12 ] }",
            "`config.pbtxt` declares input `features` with dims [12], and the model's are [13]",
        ),
        (
            "max_batch_size: 8 output { name: \"classes\" data_type: TYPE_FP32 dims: [ 3 ] }",
            "`config.pbtxt` declares output `classes`, which the model does not have",
        ),
    ] {
        let refused = refusal(config)?;
        ensure!(refused.starts_with(reason), "{config}: {refused}");
    }
    Ok(())
}
