//! Tests of bundles with each of the engines, whose answers are those of the native backends.
//!
//! The examples get the small module of rten. The models here have no handler, except for one with two graphs.

use super::wasmtime_server::WasmtimeServer;
use super::{TOLERANCE, bundle, send};
use crate::cli;
use crate::harness::fixture::matches;
use crate::harness::onnx::{Attribute, FLOAT, Graph, Value as OnnxValue};
use crate::harness::wat_handler::{ANSWER, WatHandler};
use crate::harness::{Repository, TestOptions, TestServer, output};
use crate::sklearn;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use wisp_backend::rten::Rten;

/// Bundles the model `m`, whose bundle has this engine. Returns a host that serves it.
fn host_of(repository: &Repository, engine: &str) -> Result<WasmtimeServer> {
    host_with(repository, engine, Path::new(wisp_artifacts::EDGE_MODULES))
}

/// The same with the modules in this directory.
fn host_with(repository: &Repository, engine: &str, modules: &Path) -> Result<WasmtimeServer> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("m.wasm");
    write_bundle(repository, &path, (engine, modules))?;
    WasmtimeServer::start(&path).map_err(anyhow::Error::msg)
}

/// Bundles the model `m`, whose bundle has this engine of those in a directory, and answers a sample request as the native
/// backend does.
fn write_bundle(
    repository: &Repository,
    path: &Path,
    (engine, modules): (&str, &Path),
) -> Result<()> {
    let mut command = bundle(&repository.path().join("m"), path);
    command.env("WISP_EDGE_MODULES", modules);
    let text = cli::stdout(&cli::run(&mut command)?)?;
    ensure!(text.contains(&format!("  backend  {engine}\n")), "{text}");
    ensure!(text.contains("a sample request"), "{text}");
    Ok(())
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
    let directory = tempfile::tempdir()?;
    let modules = Path::new(wisp_artifacts::EDGE_MODULES);
    // Compiling tract takes most of a minute in a debug build, so that no other host does it again.
    write_bundle(
        &repository,
        &directory.path().join("m.wasm"),
        ("tract", modules),
    )
}

/// Returns a directory without the small module, whose absence is an error if a model gets it.
pub(super) fn modules_for_speed() -> Result<TempDir> {
    let modules = tempfile::tempdir()?;
    for file in ["http-adapter.wasm", "nn-rten.wasm"] {
        let built = Path::new(wisp_artifacts::EDGE_MODULES).join(file);
        std::fs::copy(built, modules.path().join(file))?;
    }
    Ok(modules)
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
    let modules = modules_for_speed()?;
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

#[test]
fn a_graph_of_half_precision_answers_a_sample_request_too() -> Result<()> {
    const FLOAT16: i32 = 10;
    let axes = [None, Some(3)];
    let graph = Graph {
        name: "halves".to_owned(),
        input: vec![OnnxValue::of("x", FLOAT16, &axes)],
        output: vec![OnnxValue::of("y", FLOAT16, &axes)],
        ..Graph::default()
    };
    let graph = graph.node("Relu", &["x"], &["y"]);
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph.bytes())?;
    host_of(&repository, "rten")?;
    Ok(())
}

/// Returns a handler that computes the graphs `model` and `other` with three numbers `x` each, and returns the first
/// number of both results.
fn handler_of_two_graphs() -> Result<Vec<u8>> {
    let answer = |offset: u32, name: u32| {
        format!(
            "(i32.store offset={offset} (i32.const {ANSWER})
                (i32.trunc_f32_u (f32.load (call $compute (i32.const {name})))))"
        )
    };
    let infer = format!(
        "(f32.store (i32.const 3300) (f32.convert_i32_u (local.get $x)))
        (f32.store (i32.const 3304) (f32.convert_i32_u (local.get $x)))
        (f32.store (i32.const 3308) (f32.convert_i32_u (local.get $x)))
        {}{}",
        answer(0, 3072),
        answer(4, 3080)
    );
    WatHandler {
        pages: 1,
        imports: r#"
            (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name"
                (func $load_by_name (param i32 i32 i32)))
            (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context"
                (func $init (param i32 i32)))
            (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor"
                (func $tensor (param i32 i32 i32 i32 i32) (result i32)))
            (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.data"
                (func $data (param i32 i32)))
            (import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute"
                (func $infer (param i32 i32 i32 i32)))"#,
        // The names of the graphs, the shape, and the input: its name at 3232 and, at 3112, its tensor.
        fields: r#"
            (data (i32.const 3072) "model")
            (data (i32.const 3080) "other")
            (data (i32.const 3088) "\03\00\00\00")
            (data (i32.const 3104) "\a0\0c\00\00\01\00\00\00")
            (data (i32.const 3232) "x")
            (func $compute (param $name i32) (result i32)
                (call $load_by_name (local.get $name) (i32.const 5) (i32.const 3200))
                (call $init (i32.load (i32.const 3204)) (i32.const 3200))
                (i32.store (i32.const 3112) (call $tensor
                    (i32.const 3088) (i32.const 1) (i32.const 1) (i32.const 3300) (i32.const 12)))
                (call $infer
                    (i32.load (i32.const 3204)) (i32.const 3104) (i32.const 1) (i32.const 3216))
                (call $data (i32.load offset=8 (i32.load (i32.const 3220))) (i32.const 3240))
                (i32.load (i32.const 3240)))"#,
        infer: &infer,
    }
    .component()
}

#[test]
fn two_graphs_of_a_version_are_in_one_bundle() -> Result<()> {
    let graph = |operator: &str, number: f32| {
        Graph::from_x_to_y(&[Some(3)])
            .floats("number", &[1], &[number])
            .node(operator, &["x", "number"], &["y"])
            .bytes()
    };
    let repository = Repository::empty()?
        .with_file("m/1/model.onnx", graph("Add", 1.0))?
        .with_file("m/1/other.onnx", graph("Mul", 3.0))?
        .with_file("m/1/handler.wasm", handler_of_two_graphs()?)?;
    let host = host_of(&repository, "rten")?;
    let server = TestServer::start(repository)?;
    for x in [7, 0, 1000] {
        let request = json!({ "inputs": [
            { "name": "x", "datatype": "UINT32", "shape": [1], "data": [x] }
        ] });
        let native = compare(&host, &server, &request)?;
        let expected = json!([x + 1, x * 3, 0]);
        ensure!(output(&native, "y")?["data"] == expected, "{native}");
    }
    Ok(())
}
