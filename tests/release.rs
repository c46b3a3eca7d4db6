//! Tests of releases: the split of requests, copies to the candidate, rollbacks, and loads under load.

use crate::harness::metric::sample;
use crate::harness::onnx::Graph;
use crate::harness::wat_handler::WatHandler;
use crate::harness::{Connection, Repository, Response, TestOptions, TestServer, scale, wait_for};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use wisp_serving::ServingOptions;
use wisp_serving::model_control::ControlMode;

const INFER: &str = "POST /v2/models/m/infer";

/// Returns a graph that adds these numbers to its input.
fn graph(offsets: [f32; 3]) -> Vec<u8> {
    let graph = Graph::from_x_to_y(&[None, Some(3)]);
    let graph = graph.floats("w", &[3], &offsets);
    graph.node("Add", &["x", "w"], &["y"]).bytes()
}

/// Returns a handler whose `infer` has these instructions.
fn handler(infer: &str) -> Result<Vec<u8>> {
    let handler = WatHandler {
        infer,
        ..WatHandler::BARE
    };
    handler.component()
}

fn row() -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": [1, 3], "data": [3, 2, 1] }] })
}

fn number() -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "UINT32", "shape": [1], "data": [5] }] })
}

/// Writes a file of version 2, which a server that runs has not loaded.
fn add_second(server: &TestServer, file: &str, content: &[u8]) -> Result<()> {
    let directory = server.repository().join("m/2");
    std::fs::create_dir_all(&directory)?;
    Ok(std::fs::write(directory.join(file), content)?)
}

/// Starts a server with version 1 of a model, and adds version 2.
fn two_graphs(second: [f32; 3]) -> Result<TestServer> {
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph([0.0; 3]))?;
    let server = TestServer::start(repository)?;
    add_second(&server, "model.onnx", &graph(second))?;
    Ok(server)
}

fn release(server: &TestServer, verb: &str, body: &Value) -> Result<Response> {
    let path = format!("POST /v2/repository/models/m/release/{verb}");
    let body = match body {
        Value::Null => Vec::new(),
        body => serde_json::to_vec(body)?,
    };
    server.request(&path, &[], &body)
}

fn start(server: &TestServer, settings: Value) -> Result<Value> {
    let body = json!({ "candidate": "2", "settings": settings });
    release(server, "start", &body)?.ok()
}

fn status(server: &TestServer) -> Result<Value> {
    server.get("/v2/repository/models/m/release")?.ok()
}

/// Returns the version that answers a request with this key.
fn served(server: &TestServer, request: &Value, key: Option<&str>) -> Result<String> {
    let headers = key.map(|key| ("x-wisp-release-key", key));
    let headers: Vec<(&str, &str)> = headers.into_iter().collect();
    let body = serde_json::to_vec(request)?;
    let answer = server.request(INFER, &headers, &body)?.ok()?;
    let version = answer["model_version"].as_str();
    Ok(version.context("no version")?.to_owned())
}

/// Returns the keys of the first 100 that get version 2.
fn keys_of_candidate(server: &TestServer) -> Result<Vec<usize>> {
    let mut keys = Vec::new();
    for key in 0..100 {
        if served(server, &row(), Some(&format!("user {key}")))? == "2" {
            keys.push(key);
        }
    }
    Ok(keys)
}

#[test]
fn a_client_keeps_its_version_and_a_larger_weight_moves_clients_to_the_candidate_only() -> Result<()>
{
    let server = two_graphs([0.0; 3])?;
    ensure!(served(&server, &row(), None)? == "1");
    start(&server, json!({ "weight_percent": 30 }))?;
    let first = keys_of_candidate(&server)?;
    ensure!((15..45).contains(&first.len()), "{first:?}");
    ensure!(keys_of_candidate(&server)? == first);
    start(&server, json!({ "weight_percent": 60 }))?;
    let second = keys_of_candidate(&server)?;
    ensure!(
        second.len() > first.len() && first.iter().all(|key| second.contains(key)),
        "{first:?} {second:?}"
    );
    // Without a key, the weight alone decides.
    let mut candidates = 0;
    for _ in 0..50 {
        candidates += usize::from(served(&server, &row(), None)? == "2");
    }
    ensure!((25..=35).contains(&candidates), "{candidates}");
    // A request that names a version gets it.
    for version in ["1", "2"] {
        let path = format!("POST /v2/models/m/versions/{version}/infer");
        let answer = server.request(&path, &[], row().to_string().as_bytes())?;
        ensure!(answer.ok()?["model_version"] == version);
    }
    let status = status(&server)?;
    let requests = |arm: &str| status[arm]["requests"].as_u64().unwrap_or_default();
    let counted = requests("stable_requests") + requests("candidate_requests");
    ensure!(counted == 350, "{status}");
    Ok(())
}

#[test]
fn no_load_begins_while_the_server_is_short_of_memory_and_versions_stay() -> Result<()> {
    let default = TestOptions::default();
    let options = TestOptions {
        serving: ServingOptions {
            memory_limit_bytes: Some(100),
            ..default.serving
        },
        ..TestOptions::default()
    };
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph([0.0; 3]))?;
    let server = TestServer::with_options(repository, options)?;
    add_second(&server, "model.onnx", &graph([0.0; 3]))?;
    let load = || server.request("POST /v2/repository/models/m/load", &[], b"");
    let candidate = json!({ "candidate": "2", "settings": { "weight_percent": 0 } });
    let pressure = server.serving().memory_pressure();
    pressure.observe(90);
    for refused in [load()?, release(&server, "start", &candidate)?] {
        ensure!(refused.header("retry-after").is_some(), "{refused:?}");
        let reason = refused.error(503)?;
        ensure!(reason.contains("short of memory"), "{reason}");
    }
    ensure!(served(&server, &row(), None)? == "1");
    pressure.observe(10);
    release(&server, "start", &candidate)?.ok()?;
    // Both versions are loaded, so a change of the settings loads nothing.
    pressure.observe(90);
    start(&server, json!({ "weight_percent": 100 }))?;
    ensure!(served(&server, &row(), None)? == "2");
    Ok(())
}

#[test]
fn copies_are_compared_by_output_and_change_no_response() -> Result<()> {
    let server = two_graphs([0.0, 0.0, 10.0])?;
    start(
        &server,
        json!({ "weight_percent": 0, "shadow_percent": 100 }),
    )?;
    for _ in 0..20 {
        let answer = server.infer("m", &row())?.ok()?;
        ensure!(answer["model_version"] == "1", "{answer}");
        let last = answer["outputs"][0]["data"][2].as_f64();
        ensure!(last == Some(1.0), "{answer}");
    }
    let shadow = wait_for("each copy is compared or dropped", || {
        let shadow = status(&server).ok()?["shadow"].clone();
        let count = |key: &str| shadow[key].as_u64().unwrap_or_default();
        (count("compared") + count("dropped") == 20).then_some(shadow)
    })?;
    let compared = shadow["compared"].as_u64().context("no count")?;
    ensure!(compared > 0, "{shadow}");
    ensure!(shadow["disagreed"] == compared, "{shadow}");
    let output = &shadow["outputs"]["y"];
    ensure!(output["compared"] == compared, "{shadow}");
    ensure!(output["labels"] == compared, "{shadow}");
    ensure!(output["labels_agreed"] == 0, "{shadow}");
    ensure!(output["max_absolute_difference"] == 10.0, "{shadow}");
    for (metric, expected) in [
        (
            "max_absolute_difference",
            &output["max_absolute_difference"],
        ),
        (
            "max_relative_difference",
            &output["max_relative_difference"],
        ),
        ("labels_total", &output["labels"]),
        ("labels_agreed_total", &output["labels_agreed"]),
        ("mismatches_total", &output["mismatched"]),
    ] {
        let labels = "{model=\"m\",version=\"2\",output=\"y\"}";
        let found = sample(&server, &format!("wisp_release_{metric}{labels}"))?;
        ensure!(Some(found) == expected.as_f64(), "{metric}: {found}");
    }
    Ok(())
}

#[test]
fn a_candidate_that_disagrees_is_rolled_back_with_the_reason() -> Result<()> {
    let server = two_graphs([0.0, 0.0, 10.0])?;
    let settings = json!({
        "weight_percent": 0, "shadow_percent": 100, "min_requests": 5, "max_disagreement_percent": 10,
    });
    start(&server, settings)?;
    let rolled_back = wait_for("a rollback", || {
        server.infer("m", &row()).ok()?;
        let status = status(&server).ok()?;
        (status["phase"] == "rolled_back").then_some(status)
    })?;
    let events = rolled_back["events"].as_array().context("no events")?;
    let reason = events.last().and_then(|event| event["reason"].as_str());
    let reason = reason.context("no reason")?;
    ensure!(reason.contains("compared responses disagree"), "{reason}");
    // The version before it responds to all requests, correctly.
    ensure!(rolled_back["default_version"] == "1", "{rolled_back}");
    for _ in 0..20 {
        let answer = server.infer("m", &row())?.ok()?;
        ensure!(answer["model_version"] == "1", "{answer}");
        let last = answer["outputs"][0]["data"][2].as_f64();
        ensure!(last == Some(1.0), "{answer}");
    }
    Ok(())
}

#[test]
fn a_candidate_whose_handler_fails_is_rolled_back_and_can_be_promoted_again() -> Result<()> {
    let repository = Repository::empty()?.with_file("m/1/handler.wasm", handler("")?)?;
    let server = TestServer::start(repository)?;
    add_second(&server, "handler.wasm", &handler("unreachable")?)?;
    let settings = json!({ "weight_percent": 50, "min_requests": 5, "max_error_percent": 10 });
    start(&server, settings)?;
    let mut failed = 0;
    for _ in 0..20 {
        failed += usize::from(server.infer("m", &number())?.status != 200);
    }
    // The fifth failure ends the release.
    ensure!(failed == 5, "{failed}");
    let status = status(&server)?;
    ensure!(status["phase"] == "rolled_back", "{status}");
    ensure!(status["default_version"] == "1", "{status}");
    for _ in 0..20 {
        ensure!(served(&server, &number(), None)? == "1");
    }
    release(&server, "promote", &Value::Null)?.ok()?;
    ensure!(server.infer("m", &number())?.status != 200);
    release(&server, "abort", &Value::Null)?.ok()?;
    ensure!(served(&server, &number(), None)? == "1");
    // The reason outlives the release, and the count its close.
    let restarted = start(&server, json!({ "weight_percent": 0 }))?;
    let kept = restarted["events"].to_string();
    ensure!(
        kept.contains("5 of 5 requests of the candidate failed"),
        "{kept}"
    );
    release(&server, "abort", &Value::Null)?.ok()?;
    std::fs::remove_dir_all(server.repository().join("m/2"))?;
    release(&server, "close", &Value::Null)?.ok()?;
    let rollbacks = sample(&server, "wisp_release_rollbacks_total{model=\"m\"}")?;
    ensure!(rollbacks == 1.0, "{rollbacks}");
    Ok(())
}

#[test]
fn a_candidate_that_accepts_no_request_is_rolled_back_and_mistakes_of_clients_are_not() -> Result<()>
{
    let first = Graph::from_x_to_y(&[None, None]).node("Relu", &["x"], &["y"]);
    let repository = Repository::empty()?.with_file("m/1/model.onnx", first.bytes())?;
    let server = TestServer::start(repository)?;
    // Accepts rows of four numbers only, and the clients have three.
    let second = Graph::from_x_to_y(&[None, Some(4)]).node("Relu", &["x"], &["y"]);
    add_second(&server, "model.onnx", &second.bytes())?;
    let settings = json!({ "weight_percent": 50, "min_requests": 5 });
    start(&server, settings)?;
    for _ in 0..20 {
        // A request that neither version accepts.
        server.infer("m", &json!({ "inputs": [] }))?.error(400)?;
    }
    let phase = status(&server)?["phase"].clone();
    ensure!(phase == "running", "{phase}");
    let rolled_back = wait_for("a rollback", || {
        server.infer("m", &row()).ok()?;
        let status = status(&server).ok()?;
        (status["phase"] == "rolled_back").then_some(status)
    })?;
    let events = rolled_back["events"].to_string();
    ensure!(
        events.contains("requests were invalid for the candidate"),
        "{events}"
    );
    ensure!(served(&server, &row(), None)? == "1");
    Ok(())
}

#[test]
fn a_candidate_that_is_too_slow_is_rolled_back_with_the_reason() -> Result<()> {
    let repository = Repository::empty()?.with_file("m/1/handler.wasm", handler("")?)?;
    let server = TestServer::start(repository)?;
    // Counts to twenty million, which takes several times as long as all the rest of a call.
    let slow = "(loop $again
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 20000000))))";
    add_second(&server, "handler.wasm", &handler(slow)?)?;
    let settings = json!({
        "weight_percent": 50, "min_requests": 5, "max_latency_ratio": 1.5, "latency": "mean",
    });
    start(&server, settings)?;
    let rolled_back = wait_for("a rollback", || {
        server.infer("m", &number()).ok()?.ok().ok()?;
        let status = status(&server).ok()?;
        (status["phase"] == "rolled_back").then_some(status)
    })?;
    let events = rolled_back["events"].to_string();
    ensure!(
        events.contains("the mean latency of the candidate is"),
        "{events}"
    );
    ensure!(served(&server, &number(), None)? == "1");
    Ok(())
}

#[test]
fn a_promotion_is_undone_by_an_abort_until_the_release_is_closed() -> Result<()> {
    let server = two_graphs([0.0; 3])?;
    server.get("/v2/repository/models/m/release")?.error(404)?;
    release(&server, "promote", &Value::Null)?.error(404)?;
    start(&server, json!({ "weight_percent": 0 }))?;
    let refusal = release(&server, "close", &Value::Null)?.error(400)?;
    ensure!(refusal.contains("it is running"), "{refusal}");
    for (verb, version) in [("promote", "2"), ("abort", "1"), ("promote", "2")] {
        release(&server, verb, &Value::Null)?.ok()?;
        ensure!(served(&server, &row(), None)? == version, "{verb}");
        let metadata = server.get("/v2/models/m/config")?.ok()?;
        ensure!(!metadata.is_null(), "{verb}");
    }
    // A load keeps both versions and the choice.
    release(&server, "abort", &Value::Null)?.ok()?;
    let load = "POST /v2/repository/models/m/load";
    server.request(load, &[], b"")?.ok()?;
    ensure!(served(&server, &row(), None)? == "1");
    let refusal = release(&server, "close", &Value::Null)?.error(400)?;
    ensure!(refusal.contains("model.toml"), "{refusal}");
    release(&server, "promote", &Value::Null)?.ok()?;
    release(&server, "close", &Value::Null)?.ok()?;
    ensure!(served(&server, &row(), None)? == "2");
    server.get("/v2/repository/models/m/release")?.error(404)?;
    server.get("/v2/models/m/versions/1")?.error(404)?;
    Ok(())
}

#[test]
fn a_model_is_not_unloaded_while_its_release_is_running() -> Result<()> {
    let server = two_graphs([0.0; 3])?;
    start(&server, json!({ "weight_percent": 0 }))?;
    let unload = "POST /v2/repository/models/m/unload";
    let refusal = server.request(unload, &[], b"")?.error(400)?;
    ensure!(refusal.contains("promote or abort it"), "{refusal}");
    ensure!(served(&server, &row(), None)? == "1");
    release(&server, "abort", &Value::Null)?.ok()?;
    let unloaded = server.request(unload, &[], b"")?;
    ensure!(unloaded.status == 200, "{unloaded:?}");
    server.infer("m", &row())?.error(404)?;
    // The release is there as it was, and applies again to the model when it is loaded.
    ensure!(status(&server)?["phase"] == "aborted");
    let load = "POST /v2/repository/models/m/load";
    server.request(load, &[], b"")?.ok()?;
    ensure!(served(&server, &row(), None)? == "1");
    Ok(())
}

#[test]
fn an_impossible_release_is_refused_with_the_reason() -> Result<()> {
    let server = two_graphs([0.0; 3])?;
    add_second(&server, "model.onnx", b"not a model")?;
    for (body, text) in [
        (json!({ "candidate": "3" }), "there is no version 3"),
        (json!({ "candidate": "1" }), "is the stable version already"),
        (
            json!({ "candidate": "2" }),
            "version 2: graph `model` cannot be loaded",
        ),
        (json!({ "candidate": "2", "weight": 5 }), "weight"),
    ] {
        let refusal = release(&server, "start", &body)?.error(400)?;
        ensure!(refusal.contains(text), "{body}: {refusal}");
    }
    let mut other = Graph::from_x_to_y(&[None, Some(3)]).node("Relu", &["x"], &["y"]);
    if let Some(input) = other.input.first_mut() {
        input.name = "z".to_owned();
    }
    if let Some(node) = other.node.first_mut() {
        node.input = vec!["z".to_owned()];
    }
    add_second(&server, "model.onnx", &other.bytes())?;
    let body = json!({ "candidate": "2" });
    let refusal = release(&server, "start", &body)?.error(400)?;
    ensure!(refusal.contains("other inputs"), "{refusal}");
    ensure!(served(&server, &row(), None)? == "1");
    let path = "POST /v2/repository/models/none/release/start";
    server
        .request(path, &[], body.to_string().as_bytes())?
        .error(404)?;
    Ok(())
}

#[test]
fn only_clients_that_may_load_models_may_release_them() -> Result<()> {
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph([0.0; 3]))?;
    let options = TestOptions {
        control: ControlMode::Forbidden,
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    add_second(&server, "model.onnx", &graph([0.0; 3]))?;
    let body = json!({ "candidate": "2" });
    release(&server, "start", &body)?.error(403)?;
    release(&server, "promote", &Value::Null)?.error(403)?;
    let path = "POST /v2/repository/models/m/release/start";
    let page = [("origin", "http://hostile.example")];
    server
        .request(path, &page, body.to_string().as_bytes())?
        .error(403)?;
    Ok(())
}

#[test]
fn a_version_that_fails_a_golden_case_is_not_served() -> Result<()> {
    let case = json!({
        "request": row(),
        "expect": { "outputs": [{
            "name": "y", "datatype": "FP32", "shape": [1, 3], "data": [3, 2, 1],
        }] },
    });
    let server = two_graphs([0.0, 0.0, 10.0])?;
    let cases = server.repository().join("m/cases");
    std::fs::create_dir(&cases)?;
    std::fs::write(cases.join("a.json"), case.to_string())?;
    let load = "POST /v2/repository/models/m/load";
    let refusal = server.request(load, &[], b"")?.error(400)?;
    let expected = "golden case `a.json`: output `y` element 2 is 11, expected 1 within 0.0001";
    ensure!(refusal.contains(expected), "{refusal}");
    let refusal = release(&server, "start", &json!({ "candidate": "2" }))?.error(400)?;
    ensure!(refusal.contains(expected), "{refusal}");
    ensure!(served(&server, &row(), None)? == "1");
    add_second(&server, "model.onnx", &graph([0.0; 3]))?;
    server.request(load, &[], b"")?.ok()?;
    ensure!(served(&server, &row(), None)? == "2");
    Ok(())
}

/// Replaces the graph of version 1 in one step, so that no load reads a part of it.
fn replace_graph(repository: &Path, offsets: [f32; 3]) -> Result<()> {
    let directory = repository.join("m/1");
    let next = directory.join("next");
    std::fs::write(&next, graph(offsets))?;
    Ok(std::fs::rename(next, directory.join("model.onnx"))?)
}

#[test]
fn reloads_and_releases_under_load_cause_no_error() -> Result<()> {
    let server = two_graphs([0.0; 3])?;
    let changed = AtomicBool::new(false);
    let call = || -> Result<usize> {
        let mut connection = Connection::open(server.address())?;
        let mut answered = 0;
        while !changed.load(Relaxed) {
            connection.infer("m", &row())?.ok()?;
            answered += 1;
        }
        Ok(answered)
    };
    let change = || -> Result<()> {
        for round in 0..10 * scale() {
            let offset = if round % 2 == 0 { 0.0 } else { 1.0 };
            replace_graph(server.repository(), [offset; 3])?;
            let load = "POST /v2/repository/models/m/load";
            server.request(load, &[], b"")?.ok()?;
            let settings = json!({ "weight_percent": 50, "shadow_percent": 50 });
            let body = json!({ "candidate": "2", "stable": "1", "settings": settings });
            release(&server, "start", &body)?.ok()?;
            for verb in ["promote", "abort"] {
                release(&server, verb, &Value::Null)?.ok()?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let callers = [scope.spawn(call), scope.spawn(call)];
        let outcome = change();
        changed.store(true, Relaxed);
        for caller in callers {
            let answered = caller.join().expect("a client does not panic")?;
            ensure!(answered > 0, "no request was answered");
        }
        outcome
    })
}
