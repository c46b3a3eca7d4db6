//! Tests of broken models beside a good one: the server reports the problem of each and serves the good
//! one.

use crate::harness::onnx::{FLOAT, Graph, Tensor};
use crate::harness::{Repository, TestServer, output};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::process::Command;

#[test]
fn broken_models_do_not_affect_a_good_one() -> Result<()> {
    let whole = Graph::from_x_to_y(&[None, Some(3)])
        .node("Relu", &["x"], &["y"])
        .bytes();
    let endless = Graph::from_x_to_y(&[None, Some(3)])
        .node("Relu", &["y"], &["y"])
        .bytes();
    let huge = Graph::from_x_to_y(&[None, Some(3)])
        .integers("shape", &[1], &[1 << 40])
        .node("ConstantOfShape", &["shape"], &["huge"])
        .node("ReduceSum", &["huge"], &["sum"])
        .node("Add", &["x", "sum"], &["y"])
        .bytes();
    let foreign = Graph::from_x_to_y(&[None, Some(3)])
        .initializer(Tensor::of("w", FLOAT, &[3]).external(&[("location", "/etc/passwd")]))
        .node("Add", &["x", "w"], &["y"])
        .bytes();
    let repository = Repository::of(&["wine"])?
        .with_file("cut/1/model.onnx", &whole[..whole.len() - 5])?
        .with_file("endless/1/model.onnx", endless)?
        .with_file("huge/1/model.onnx", huge)?
        .with_file("foreign/1/model.onnx", foreign)?
        .with_file("sparse/1/model.onnx", b"")?
        .with_file("pipe/1/notes.txt", b"")?;
    let path = |file: &str| repository.path().join(file);
    std::fs::File::create(path("sparse/1/model.onnx"))?.set_len(3 << 30)?;
    let made = Command::new("mkfifo")
        .arg(path("pipe/1/model.onnx"))
        .status()?;
    ensure!(made.success(), "mkfifo ended with {made}");
    let server = TestServer::start(repository)?;
    let broken = ["cut", "endless", "huge", "foreign", "sparse", "pipe"];
    is_well(&server)?;
    for model in broken {
        let request = json!({ "inputs": [{
            "name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3],
        }] });
        let error = server.infer(model, &request)?.error(503);
        let error = error.with_context(|| model.to_owned())?;
        // The error may repeat the path in the model's file, but not the contents of that path.
        ensure!(!error.contains("root:"), "{model}: {error}");
        // A second request to load it fails again.
        let load = format!("POST /v2/repository/models/{model}/load");
        let loaded = server.request(&load, &[], b"")?;
        ensure!(loaded.status != 200, "{model} loads");
        is_well(&server)?;
    }
    let index = server
        .request("POST /v2/repository/index", &[], b"")?
        .ok()?;
    let index = index.as_array().context("no index")?;
    for model in broken {
        let entry = index.iter().find(|entry| entry["name"] == model);
        let unavailable = entry.is_some_and(|entry| entry["state"] == "UNAVAILABLE");
        ensure!(unavailable, "{model}: {entry:?}");
    }
    Ok(())
}

#[test]
fn a_path_without_a_regular_file_fails_its_model_only() -> Result<()> {
    let whole = Graph::from_x_to_y(&[None, Some(3)])
        .node("Relu", &["x"], &["y"])
        .bytes();
    let mut repository = Repository::of(&["wine"])?
        .with_file("threads/model.toml", "threads = 100000")?
        .with_file("zeros/model.toml", "")?
        .with_file("directory/1/handler.wasm/file", "")?;
    // The path of the unreadable file in each model, and the reason in the index.
    let odd = [
        ("link", "1/handler.wasm", "handler.wasm cannot be read"),
        ("loop", "1/handler.wasm", "handler.wasm cannot be read"),
        ("device", "1/handler.wasm", "handler.wasm cannot be read"),
        ("pipe", "1/handler.wasm", "handler.wasm cannot be read"),
        ("huge", "1/handler.wasm", "handler.wasm cannot be read"),
        ("directory", "1/handler.wasm", "handler.wasm cannot be read"),
        (
            "threads",
            "model.toml",
            "its model.toml is not valid: threads is 100000, the limit on this machine is ",
        ),
        ("zeros", "model.toml", "model.toml is not valid"),
        (
            "piped_file",
            "model.toml",
            "its model.toml is not valid: it cannot be read: it is not a regular file",
        ),
        ("linked_file", "model.toml", "model.toml is not valid"),
    ];
    for (model, ..) in odd {
        repository = repository.with_file(&format!("{model}/1/model.onnx"), &whole)?;
    }
    let path = |model: &str| {
        let found = odd.iter().find(|(name, ..)| *name == model);
        let file = found.map_or("", |(_, file, _)| file);
        repository.path().join(model).join(file)
    };
    for (model, target) in [
        ("link", "/nowhere/handler.wasm"),
        ("loop", "handler.wasm"),
        ("device", "/dev/zero"),
        ("linked_file", "/nowhere/model.toml"),
    ] {
        std::os::unix::fs::symlink(target, path(model))?;
    }
    for model in ["pipe", "piped_file"] {
        let made = Command::new("mkfifo").arg(path(model)).status()?;
        ensure!(made.success(), "mkfifo ended with {made}");
    }
    for model in ["huge", "zeros"] {
        std::fs::File::create(path(model))?.set_len(3 << 30)?;
    }
    let server = TestServer::start(repository)?;
    is_well(&server)?;
    let index = server
        .request("POST /v2/repository/index", &[], b"")?
        .ok()?;
    let index = index.as_array().context("no index")?;
    for (model, _, expected) in odd {
        let entry = index.iter().find(|entry| entry["name"] == model);
        let reason = entry.and_then(|entry| entry["reason"].as_str());
        let reason = reason.unwrap_or_default();
        ensure!(reason.contains(expected), "{model}: {entry:?}");
        ensure!(!reason.contains('/'), "{model}: {reason}");
        // A second request to load it fails at once, and blocks no other request.
        let load = format!("POST /v2/repository/models/{model}/load");
        ensure!(
            server.request(&load, &[], b"")?.status != 200,
            "{model} loads"
        );
    }
    is_well(&server)
}

/// Checks that a wine is classified correctly.
fn is_well(server: &TestServer) -> Result<()> {
    let request = json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, 13],
        "data": [12.37, 0.94, 1.36, 10.6, 88.0, 1.98, 0.57, 0.28, 0.42, 1.95, 1.05, 1.82, 520.0],
    }] });
    let response = server.infer("wine", &request)?.ok()?;
    let class = &output(&response, "class")?["data"][0];
    ensure!(class == "class_1", "{response}");
    Ok(())
}
