//! Tests of bundles with each of the engines, whose answers are those of the native backends.
//!
//! The examples get the small module of rten.

use super::wasmtime_server::WasmtimeServer;
use super::{TOLERANCE, bundle, send};
use crate::cli;
use crate::harness::fixture::matches;
use crate::harness::onnx::{Attribute, FLOAT, Graph, Value as OnnxValue};
use crate::harness::{Repository, TestOptions, TestServer, output};
use crate::sklearn;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use wisp_backend::rten::Rten;

/// Bundles the model `m`, whose bundle has this engine. Returns a host that serves it.
fn host_of(repository: &Repository, engine: &str) -> Result<WasmtimeServer> {
    host_with(repository, engine, Path::new(wisp_artifacts::EDGE_MODULES))
}

/// The same with the modules in this directory.
fn host_with(repository: &Repository, engine: &str, modules: &Path) -> Result<WasmtimeServer> {
    let path = repository.path().join("m.wasm");
    let mut command = bundle(&repository.path().join("m"), &path);
    command.env("WISP_EDGE_MODULES", modules);
    let text = cli::stdout(&cli::run(&mut command)?)?;
    ensure!(text.contains(&format!("  engine   {engine}\n")), "{text}");
    ensure!(text.contains("a sample request"), "{text}");
    WasmtimeServer::start(&path).map_err(anyhow::Error::msg)
}

/// Sends a request to the bundle and to the server, which must give the same outputs. Returns those of the server.
fn compare(host: &WasmtimeServer, server: &TestServer, request: &Value) -> Result<Value> {
    let native = server.infer("m", request)?.ok()?;
    let body = serde_json::to_vec(request)?;
    let found = send(host.address(), "POST /v2/models/m/infer", &body)?.ok()?;
    ensure!(
        matches(&native["outputs"], &found["outputs"], TOLERANCE),
        "the server answers {native}, the bundle {found}"
    );
    Ok(native)
}

/// Returns a request for the only input of the model `m`, with this number of rows where that is variable.
fn request_of(server: &TestServer, rows: i64) -> Result<Value> {
    let metadata = server.get("/v2/models/m")?.json()?;
    let input = &metadata["inputs"][0];
    let sizes = input["shape"].as_array().context("no shape")?.iter();
    let sizes: Vec<i64> = sizes
        .map(|size| size.as_i64().filter(|size| *size > 0).unwrap_or(rows))
        .collect();
    let elements: i64 = sizes.iter().product();
    let data: Vec<f64> = (0..elements)
        .map(|index| (index % 17) as f64 / 16.0)
        .collect();
    Ok(json!({ "inputs": [
        { "name": input["name"], "datatype": input["datatype"], "shape": sizes, "data": data }
    ] }))
}

#[test]
fn a_model_without_a_handler_is_bundled_after_a_sample_request() -> Result<()> {
    let repository = Repository::empty()?.with_model("m", "digits", None)?;
    let host = host_of(&repository, "rten")?;
    let server = TestServer::start(repository)?;
    compare(&host, &server, &request_of(&server, 1)?)?;
    Ok(())
}

#[test]
fn a_decision_tree_of_scikit_learn_is_computed_by_tract() -> Result<()> {
    let graph = std::fs::read(sklearn::models()?.join("dtree 3.onnx"))?;
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph)?;
    let host = host_of(&repository, "tract")?;
    let server = TestServer::start(repository)?;
    for rows in [1, 5] {
        let native = compare(&host, &server, &request_of(&server, rows)?)?;
        ensure!(
            output(&native, "label")?["shape"] == json!([rows]),
            "{native}"
        );
    }
    Ok(())
}

/// Returns a graph of `2 x` if the first number is greater than a half, and of `-x` otherwise.
fn choice() -> Graph {
    let axes = [Some(3)];
    let branch = |name: &str| Graph {
        name: name.to_owned(),
        output: vec![OnnxValue::of(name, FLOAT, &axes)],
        ..Graph::default()
    };
    Graph::from_x_to_y(&axes)
        .integers("zero", &[], &[0])
        .floats("half", &[], &[0.5])
        .floats("two", &[1], &[2.0])
        .node("Gather", &["x", "zero"], &["first"])
        .node("Greater", &["first", "half"], &["is_greater"])
        .node("If", &["is_greater"], &["y"])
        .with(Attribute::graph(
            "then_branch",
            branch("double").node("Mul", &["x", "two"], &["double"]),
        ))
        .with(Attribute::graph(
            "else_branch",
            branch("negative").node("Neg", &["x"], &["negative"]),
        ))
}

#[test]
fn a_graph_with_branches_is_computed_by_the_module_with_all_operators() -> Result<()> {
    // Without the small module, whose absence would be an error.
    let modules = tempfile::tempdir()?;
    for file in ["http-adapter.wasm", "nn-rten.wasm"] {
        let built = Path::new(wisp_artifacts::EDGE_MODULES).join(file);
        std::fs::copy(built, modules.path().join(file))?;
    }
    let repository = Repository::empty()?
        .with_file("m/1/model.onnx", choice().bytes())?
        .with_file("m/model.toml", "backend = \"rten\"\n")?;
    let host = host_with(&repository, "rten", modules.path())?;
    let server = TestServer::with_options(
        repository,
        TestOptions {
            backends: vec![Arc::new(Rten::new())],
            ..TestOptions::default()
        },
    )?;
    for (x, y) in [
        ([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]),
        ([0.25, 2.0, 3.0], [-0.25, -2.0, -3.0]),
    ] {
        let request = json!({ "inputs": [
            { "name": "x", "datatype": "FP32", "shape": [3], "data": x }
        ] });
        let native = compare(&host, &server, &request)?;
        let found = &output(&native, "y")?["data"];
        ensure!(matches(&json!(y), found, TOLERANCE), "{native}");
    }
    Ok(())
}
