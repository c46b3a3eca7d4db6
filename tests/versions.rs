//! Tests of the versions that a name resolves to, and of loading and unloading them while the server
//! runs.

use crate::harness::onnx::Graph;
use crate::harness::{
    Connection, Repository, Response, TestOptions, TestServer, component, root, scale,
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use wisp_serving::model_control::ControlMode;

/// Returns a row for `wine` or `progression` without a handler.
fn rows(columns: usize) -> Value {
    json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, columns], "data": vec![1.0; columns],
    }] })
}

fn graph(example: &str) -> Result<Vec<u8>> {
    let path = root().join("examples").join(example).join("1/model.onnx");
    Ok(std::fs::read(path)?)
}

/// Creates a model of three versions; the first and the last take other inputs than the second.
fn three_versions(model_file: &str) -> Result<Repository> {
    let (wine, progression) = (graph("wine")?, graph("progression")?);
    Repository::empty()?
        .with_file("m/2/model.onnx", &wine)?
        .with_file("m/9/model.onnx", &progression)?
        .with_file("m/10/model.onnx", &wine)?
        .with_file("m/model.toml", model_file)
}

fn served(server: &TestServer, path: &str, columns: usize) -> Result<String> {
    let body = rows(columns).to_string();
    let answer = server
        .request(&format!("POST {path}"), &[], body.as_bytes())?
        .ok()?;
    Ok(answer["model_version"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

fn control(server: &TestServer, model: &str, verb: &str) -> Result<Response> {
    server.request(
        &format!("POST /v2/repository/models/{model}/{verb}"),
        &[],
        b"",
    )
}

#[test]
fn the_highest_number_is_served_unless_the_model_file_selects_others() -> Result<()> {
    let server = TestServer::start(three_versions("")?)?;
    ensure!(served(&server, "/v2/models/m/infer", 13)? == "10");
    for path in ["", "/trace/setting"] {
        let path = format!("/v2/models/m/versions/9{path}");
        let refusal = server.get(&path)?.error(404)?;
        let expected = "Request for unknown model: 'm' version 9 is not found";
        ensure!(refusal == expected, "{path}: {refusal}");
    }

    let server = TestServer::start(three_versions("versions = 'all'")?)?;
    ensure!(served(&server, "/v2/models/m/infer", 13)? == "10");
    ensure!(served(&server, "/v2/models/m/versions/9/infer", 10)? == "9");
    let metadata = server.get("/v2/models/m/versions/9")?.ok()?;
    ensure!(
        metadata["versions"] == json!(["2", "9", "10"]),
        "{metadata}"
    );
    ensure!(
        metadata["inputs"][0]["shape"] == json!([-1, 10]),
        "{metadata}"
    );
    let status = server.get("/v1/models/m")?.ok()?;
    let states = status["model_version_status"].as_array().map(Vec::len);
    ensure!(states == Some(3) && status["ready"] == true, "{status}");
    Ok(())
}

#[test]
fn a_label_is_a_name_for_a_version() -> Result<()> {
    let labels = "versions = 'all'\nlabels = { stable = 9, canary = 10 }";
    let server = TestServer::start(three_versions(labels)?)?;
    let status = server.get("/v1/models/m/labels/stable")?.ok()?;
    ensure!(
        status["model_version_status"][0]["version"] == "9",
        "{status}"
    );
    let body = json!({ "instances": [vec![1.0; 10]] }).to_string();
    let path = "/v1/models/m/labels/stable:predict";
    server
        .request(&format!("POST {path}"), &[], body.as_bytes())?
        .ok()?;
    let refusal = server
        .get("/v1/models/m/labels/beta/metadata")?
        .error(404)?;
    ensure!(
        refusal == "unknown version label: `m` has no label `beta`",
        "{refusal}"
    );
    Ok(())
}

#[test]
fn requests_without_a_version_get_the_one_labelled_stable() -> Result<()> {
    let labels = "versions = 'all'\nlabels = { stable = 9, canary = 10 }";
    let server = TestServer::start(three_versions(labels)?)?;
    ensure!(served(&server, "/v2/models/m/infer", 10)? == "9");
    let metadata = server.get("/v2/models/m")?.ok()?;
    ensure!(
        metadata["inputs"][0]["shape"] == json!([-1, 10]),
        "{metadata}"
    );
    let instances = json!({ "instances": [vec![1.0; 10]] }).to_string();
    let predict = "POST /v1/models/m:predict";
    server.request(predict, &[], instances.as_bytes())?.ok()?;
    let features = json!({ "features": vec![1.0; 10] }).to_string();
    for path in ["/predict", "/predict/m"] {
        let answer = server.request(&format!("POST {path}"), &[], features.as_bytes())?;
        ensure!(answer.ok()?["model_version"] == "9", "{path}");
    }
    // The statistics are those of all versions.
    let statistics = server.get("/v2/models/m/stats")?.ok()?;
    let versions = statistics["model_stats"].as_array().map(Vec::len);
    ensure!(versions == Some(3), "{statistics}");

    let canary = "versions = 'all'\nlabels = { canary = 9 }";
    let server = TestServer::start(three_versions(canary)?)?;
    ensure!(served(&server, "/v2/models/m/infer", 13)? == "10");
    Ok(())
}

#[test]
fn a_stable_version_that_fails_is_not_replaced_by_the_canary() -> Result<()> {
    let labels = "versions = 'all'\nlabels = { stable = 1, canary = 2 }";
    let repository = Repository::empty()?
        .with_file("m/1/model.onnx", "no model")?
        .with_file("m/2/model.onnx", graph("wine")?)?
        .with_file("m/model.toml", labels)?;
    let server = TestServer::start(repository)?;
    server.infer("m", &rows(13))?.error(503)?;
    ensure!(served(&server, "/v2/models/m/versions/2/infer", 13)? == "2");
    Ok(())
}

#[test]
fn versions_may_have_leading_zeros() -> Result<()> {
    let repository = Repository::empty()?
        .with_file("m/00001/model.onnx", graph("wine")?)?
        .with_file("twice/1/model.onnx", graph("wine")?)?
        .with_file("twice/00001/model.onnx", graph("wine")?)?;
    let server = TestServer::start(repository)?;
    ensure!(served(&server, "/v2/models/m/versions/1/infer", 13)? == "1");
    let refusal = control(&server, "twice", "load")?.error(400)?;
    let expected = "failed to load `twice`: version 1 has two directories, `00001` and `1`: remove or \
                    rename one of them";
    ensure!(refusal == expected, "{refusal}");
    Ok(())
}

fn index(server: &TestServer) -> Result<Vec<String>> {
    let index = server
        .request("POST /v2/repository/index", &[], b"")?
        .ok()?;
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or("-").to_owned();
    let entries = index.as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = entries.iter().map(|entry| {
        let [name, version, state, reason] =
            ["name", "version", "state", "reason"].map(|key| text(entry, key));
        format!("{name} {version} {state} {reason}")
    });
    Ok(lines.collect())
}

#[test]
fn skipped_entries_are_in_the_index_with_the_reason() -> Result<()> {
    let repository = Repository::empty()?
        .with_file("good/1/model.onnx", graph("wine")?)?
        .with_file("good/v2/model.onnx", graph("wine")?)?
        .with_file("my model/1/model.onnx", graph("wine")?)?
        .with_file("notes/data.bin", "")?
        .with_file("wine.onnx", graph("wine")?)?;
    let server = TestServer::start(repository)?;
    let expected = [
        "good 1 READY -",
        "good - UNAVAILABLE `v2` is not a version: its name is not a decimal number",
        "my model - UNAVAILABLE `my model` is not a valid model name: a model name is 1 to 128 letters, digits, `_`, \
         `.` or `-`, and starts with a letter, a digit or `_`",
        "notes - UNAVAILABLE it contains no version, such as `1/model.onnx`, and no model.toml",
        "wine.onnx - UNAVAILABLE it is a model file outside of a version: move it to `<model>/1/model.onnx`",
    ];
    ensure!(index(&server)? == expected, "{:#?}", index(&server)?);
    let ready = br#"{"ready":true}"#;
    let ready = server
        .request("POST /v2/repository/index", &[], ready)?
        .ok()?;
    ensure!(ready.as_array().map(Vec::len) == Some(1), "{ready}");
    server.get("/v2/health/ready")?.ok()?;
    // A directory that has become a model is served.
    let version = server.repository().join("notes/1");
    std::fs::create_dir_all(&version)?;
    std::fs::write(version.join("model.onnx"), graph("wine")?)?;
    control(&server, "notes", "load")?.ok()?;
    let now = index(&server)?;
    ensure!(now.contains(&"notes 1 READY -".to_owned()), "{now:#?}");
    ensure!(now.len() == expected.len(), "{now:#?}");
    // The load of a model that has not changed finds what looks like a version since.
    std::fs::create_dir(server.repository().join("notes/v10"))?;
    control(&server, "notes", "load")?.ok()?;
    let now = index(&server)?;
    let line = "notes - UNAVAILABLE `v10` is not a version: its name is not a decimal number";
    ensure!(now.contains(&line.to_owned()), "{now:#?}");
    Ok(())
}

#[test]
fn a_polled_repository_shows_what_is_skipped_now() -> Result<()> {
    let options = TestOptions {
        control: ControlMode::Poll,
        ..TestOptions::default()
    };
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph("wine")?)?;
    let server = TestServer::with_options(repository, options)?;
    let skipped = server.repository().join("my model");
    std::fs::create_dir(&skipped)?;
    server.look()?;
    ensure!(index(&server)?.len() == 2, "{:?}", index(&server)?);
    std::fs::remove_dir(&skipped)?;
    // So is what looks like a version of a model that is served, which is not loaded again because of it.
    let version = server.repository().join("m/v9");
    std::fs::create_dir(&version)?;
    let expected = [
        "m 1 READY -",
        "m - UNAVAILABLE `v9` is not a version: its name is not a decimal number",
    ];
    for _ in 0..2 {
        let changes = server.look()?;
        ensure!(changes.is_empty(), "{changes:?}");
        ensure!(index(&server)? == expected, "{:?}", index(&server)?);
    }
    std::fs::remove_dir(&version)?;
    server.look()?;
    ensure!(index(&server)? == ["m 1 READY -"]);
    // The labels of a class are files of the model too.
    let toml = "[outputs.probabilities]\nlabels = 'labels.txt'\n";
    std::fs::write(server.repository().join("m/labels.txt"), "red")?;
    std::fs::write(server.repository().join("m/model.toml"), toml)?;
    server.look()?;
    ensure!(server.look()?.len() == 1, "the model file is new");
    std::fs::write(server.repository().join("m/labels.txt"), "crimson")?;
    server.look()?;
    let changes = server.look()?;
    ensure!(
        changes.len() == 1 && changes[0].outcome.is_ok(),
        "{changes:?}"
    );
    Ok(())
}

#[test]
fn the_predict_api_selects_versions_by_number_and_by_label() -> Result<()> {
    let labels = "versions = 'all'\nlabels = { stable = 9, canary = 10 }";
    let server = TestServer::start(three_versions(labels)?)?;
    let one = json!({ "features": vec![1.0; 10] }).to_string();
    let rows = json!({ "features": [vec![1.0; 10]] }).to_string();
    for path in [
        "m/versions/9",
        "m/labels/stable",
        "m?version=9",
        "m?label=stable",
    ] {
        for (verb, body) in [("predict", &one), ("batch_predict", &rows)] {
            let path = format!("/{verb}/{path}");
            let answer = server.request(&format!("POST {path}"), &[], body.as_bytes())?;
            ensure!(answer.ok()?["model_version"] == "9", "{path}");
        }
    }
    // Without a name, the query selects a version of the only model.
    let answer = server.request("POST /predict?version=9", &[], one.as_bytes())?;
    ensure!(answer.ok()?["model_version"] == "9");
    for (path, text) in [
        (
            "m/labels/beta",
            "unknown version label: `m` has no label `beta`",
        ),
        (
            "m?label=beta",
            "unknown version label: `m` has no label `beta`",
        ),
        ("m/versions/3", "unknown version: `m` has no version 3"),
        ("m?version=3", "unknown version: `m` has no version 3"),
    ] {
        let path = format!("POST /predict/{path}");
        let refusal = server.request(&path, &[], one.as_bytes())?.error(404)?;
        ensure!(refusal == text, "{path}: {refusal}");
    }
    Ok(())
}

#[test]
fn a_model_is_loaded_while_the_server_runs_and_again_when_it_has_changed() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    let refusal = control(&server, "m", "load")?.error(404)?;
    let expected = "failed to load 'm', failed to poll from model repository";
    ensure!(refusal.starts_with(expected), "{refusal}");
    let directory = server.repository().join("m");
    for (version, example, columns) in [("1", "wine", 13), ("2", "progression", 10)] {
        std::fs::create_dir_all(directory.join(version))?;
        std::fs::write(directory.join(version).join("model.onnx"), graph(example)?)?;
        let loaded = control(&server, "m", "load")?.ok()?;
        ensure!(loaded == json!({ "name": "m", "load": true }), "{loaded}");
        ensure!(served(&server, "/v2/models/m/infer", columns)? == version);
    }
    Ok(())
}

#[test]
fn a_failed_load_keeps_the_served_version() -> Result<()> {
    let repository = Repository::empty()?.with_model("m", "wine", None)?;
    let server = TestServer::start(repository)?;
    let broken = server.repository().join("m/2");
    std::fs::create_dir_all(&broken)?;
    std::fs::write(broken.join("model.onnx"), b"not a model")?;
    let refusal = control(&server, "m", "load")?.error(400)?;
    ensure!(
        refusal.starts_with("failed to load `m`: graph `model` cannot be loaded"),
        "{refusal}"
    );
    ensure!(!refusal.contains('/'), "a path: {refusal}");
    ensure!(served(&server, "/v2/models/m/infer", 13)? == "1");
    let failed = "m 2 UNAVAILABLE graph `model` cannot be loaded: tract refuses: it is a text file, not an ONNX model";
    ensure!(
        index(&server)? == ["m 1 READY -", failed],
        "{:?}",
        index(&server)?
    );
    std::fs::remove_dir_all(&broken)?;
    control(&server, "m", "load")?.ok()?;
    ensure!(index(&server)? == ["m 1 READY -"], "{:?}", index(&server)?);
    Ok(())
}

#[test]
fn a_failed_load_is_answered_with_its_reason() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    let unknown_operator = Graph::from_x_to_y(&[None, Some(3)])
        .node("Magic", &["x"], &["y"])
        .bytes();
    let foreign = r#"(component (import "wasi:sockets/tcp@0.2.0" (instance)))"#;
    for (model, file, content, expected) in [
        (
            "settings",
            "model.toml",
            b"threads = 1\nmax_batchsize = 2\n".to_vec(),
            "its model.toml is not valid: line 2, column 1: unknown field `max_batchsize`, expected one of ",
        ),
        (
            "operator",
            "1/model.onnx",
            unknown_operator,
            "graph `model` cannot be loaded: tract refuses: operators not implemented: Magic",
        ),
        (
            "import",
            "1/handler.wasm",
            wat::parse_str(foreign)?,
            "the handler is rejected: the component imports `wasi:sockets/tcp@0.2.0`, which handlers are not granted",
        ),
    ] {
        let directory = server.repository().join(model);
        std::fs::create_dir_all(directory.join("1"))?;
        std::fs::write(directory.join("1/model.onnx"), graph("wine")?)?;
        std::fs::write(directory.join(file), content)?;
        let refusal = control(&server, model, "load")?.error(400)?;
        let expected = format!("failed to load `{model}`: {expected}");
        ensure!(refusal.starts_with(&expected), "{refusal}");
        let index = index(&server)?;
        let is_listed = |line: &String| line.starts_with(&format!("{model} 1 UNAVAILABLE "));
        ensure!(index.iter().any(is_listed), "{index:#?}");
    }
    Ok(())
}

#[test]
fn a_batch_size_without_a_batch_axis_is_refused() -> Result<()> {
    let fixed = || {
        let graph = Graph::from_x_to_y(&[Some(4)]);
        graph.node("Identity", &["x"], &["y"]).bytes()
    };
    let repository = Repository::empty()?
        .with_file("m/1/model.onnx", fixed())?
        .with_file("n/1/model.onnx", fixed())?
        .with_file("n/model.toml", "max_batch_size = 8\noptional = true\n")?;
    let server = TestServer::start(repository)?;
    let expected = "`max_batch_size` is 8, and the first axis of input `x` is fixed";
    let config = br#"{"parameters":{"config":"{\"max_batch_size\":8}"}}"#;
    let load = "POST /v2/repository/models/m/load";
    let refusal = server.request(load, &[], config)?.error(400)?;
    ensure!(refusal.contains(expected), "{refusal}");
    let config = server.get("/v2/models/m/config")?.ok()?;
    ensure!(config["max_batch_size"] == 0, "{config}");
    let index = index(&server)?;
    let failed = format!("n 1 UNAVAILABLE {expected}");
    let is_listed = |line: &String| line.starts_with(&failed);
    ensure!(index.iter().any(is_listed), "{index:#?}");
    Ok(())
}

#[test]
fn an_unchanged_model_is_not_loaded_again() -> Result<()> {
    let repository = Repository::empty()?.with_model("m", "wine", None)?;
    let server = TestServer::start(repository)?;
    let successes = || -> Result<Value> {
        let statistics = server.get("/v2/models/m/stats")?.ok()?;
        Ok(statistics["model_stats"][0]["inference_stats"]["success"]["count"].clone())
    };
    served(&server, "/v2/models/m/infer", 13)?;
    control(&server, "m", "load")?.ok()?;
    ensure!(successes()? == 1, "the same version goes on counting");
    std::fs::write(
        server.repository().join("m/model.toml"),
        "max_batch_size = 4",
    )?;
    control(&server, "m", "load")?.ok()?;
    ensure!(successes()? == 0, "the model has changed");
    served(&server, "/v2/models/m/infer", 13)?;
    let config = br#"{"parameters":{"config":"{}"}}"#;
    let load = "POST /v2/repository/models/m/load";
    server.request(load, &[], config)?.ok()?;
    ensure!(successes()? == 0, "a configuration is always applied");
    served(&server, "/v2/models/m/infer", 13)?;
    control(&server, "m", "load")?.ok()?;
    ensure!(
        successes()? == 0,
        "the settings are those of the repository again"
    );
    Ok(())
}

#[test]
fn an_unloaded_model_is_not_found_until_it_is_loaded_again() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine", "progression"])?)?;
    let unloaded = control(&server, "wine", "unload")?.ok()?;
    ensure!(
        unloaded == json!({ "name": "wine", "unload": true }),
        "{unloaded}"
    );
    let refusal = server.infer("wine", &rows(13))?.error(404)?;
    ensure!(
        refusal == "Request for unknown model: 'wine' has no available versions",
        "{refusal}"
    );
    server.get("/v2/models/wine/ready")?.error(400)?;
    let index = server
        .request("POST /v2/repository/index", &[], b"")?
        .ok()?;
    ensure!(
        index[1]["state"] == "UNAVAILABLE" && index[1]["reason"] == "unloaded",
        "{index}"
    );
    server.infer("progression", &rows(10))?.ok()?;
    // Like Triton: a model that does not exist counts as unloaded.
    control(&server, "nope", "unload")?.ok()?;
    control(&server, "wine", "load")?.ok()?;
    server.get("/v2/models/wine/ready")?.ok()?;
    Ok(())
}

#[test]
fn a_page_of_another_origin_can_neither_load_nor_unload() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    for origin in ["https://elsewhere.example", "http://test:81", "null", ""] {
        for verb in ["load", "unload"] {
            let path = format!("POST /v2/repository/models/wine/{verb}");
            let refusal = server.request(&path, &[("origin", origin)], b"")?;
            refusal.error(403)?;
        }
    }
    server.get("/v2/models/wine/ready")?.ok()?;
    // The page at /docs has the server's own origin.
    let own = [("origin", "http://test")];
    server
        .request("POST /v2/repository/models/wine/load", &own, b"")?
        .ok()?;
    Ok(())
}

#[test]
fn a_request_that_runs_when_its_model_is_unloaded_is_answered() -> Result<()> {
    let repository = Repository::empty()?.with_model(
        "hostile",
        "progression",
        Some(component("hostile_guest")?),
    )?;
    let server = TestServer::start(repository)?;
    let request = json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": ["honest"],
    }] });
    let body = request.to_string();
    let mut held = TcpStream::connect(server.address())?;
    let length = body.len();
    let head = "POST /v2/models/hostile/infer HTTP/1.1\r\nhost: t\r\nconnection: close\r\nexpect: 100-continue";
    write!(held, "{head}\r\ncontent-length: {length}\r\n\r\n")?;
    // The body is requested after the version has been found, and so before the model is unloaded.
    let mut asked = [0; 25];
    held.read_exact(&mut asked)?;
    ensure!(
        asked.starts_with(b"HTTP/1.1 100"),
        "{}",
        asked.escape_ascii()
    );
    control(&server, "hostile", "unload")?.ok()?;
    held.write_all(body.as_bytes())?;
    let mut reply = Vec::new();
    held.read_to_end(&mut reply)?;
    Response::parse(&reply)?.ok()?;
    server.infer("hostile", &request)?.error(404)?;
    Ok(())
}

#[test]
fn a_load_with_files_that_fails_changes_nothing() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    let load = |model: &str, file: &str| {
        let body = format!(r#"{{"parameters":{{"config":"{{}}","{file}":"AA=="}}}}"#);
        let path = format!("POST /v2/repository/models/{model}/load");
        server.request(&path, &[], body.as_bytes())?.error(400)
    };
    let before = index(&server)?;
    for model in ["wine", "new"] {
        let refusal = load(model, "file:1/model.onnx")?;
        let expected = format!("failed to load `{model}`: graph `model` cannot be loaded");
        ensure!(refusal.starts_with(&expected), "{refusal}");
    }
    let refusal = load("wine", "file:1/../../model.onnx")?;
    ensure!(
        refusal.contains("does not name a file of a version"),
        "{refusal}"
    );
    ensure!(index(&server)? == before, "{:?}", index(&server)?);
    server.get("/v2/models/wine/ready")?.ok()?;
    Ok(())
}

#[test]
fn files_of_a_load_are_limited_like_every_body() -> Result<()> {
    let mut options = TestOptions::default();
    options.serving.max_body_bytes = 1000;
    let server = TestServer::with_options(Repository::of(&["wine"])?, options)?;
    let load = "POST /v2/repository/models/m/load";
    server.request(load, &[], &[b' '; 1001])?.error(413)?;
    server.request(load, &[], &[b' '; 1000])?.error(400)?;
    Ok(())
}

#[test]
fn a_polled_repository_is_followed_and_refuses_loads_by_clients() -> Result<()> {
    let options = TestOptions {
        control: ControlMode::Poll,
        ..TestOptions::default()
    };
    let repository = Repository::empty()?.with_model("m", "wine", None)?;
    let server = TestServer::with_options(repository, options)?;
    // Triton's own message and status.
    for verb in ["load", "unload"] {
        let refusal = control(&server, "m", verb)?.error(503)?;
        let expected = "explicit model load / unload is not allowed if polling is enabled";
        ensure!(refusal == expected, "{refusal}");
    }
    let version = server.repository().join("m/2");
    std::fs::create_dir_all(&version)?;
    std::fs::write(version.join("model.onnx"), b"half of it")?;
    ensure!(server.look()?.is_empty(), "one look is not enough");
    std::fs::write(version.join("model.onnx"), graph("progression")?)?;
    ensure!(server.look()?.is_empty(), "it has changed since");
    ensure!(served(&server, "/v2/models/m/infer", 13)? == "1");
    ensure!(server.look()?.len() == 1);
    ensure!(served(&server, "/v2/models/m/infer", 10)? == "2");
    std::fs::write(version.join("model.onnx"), b"no graph")?;
    ensure!(server.look()?.is_empty());
    let failed = server.look()?;
    ensure!(
        failed.len() == 1 && failed[0].outcome.is_err(),
        "{failed:?}"
    );
    ensure!(served(&server, "/v2/models/m/infer", 10)? == "2");
    std::fs::remove_dir_all(server.repository().join("m"))?;
    ensure!(server.look()?.is_empty() && server.look()?.len() == 1);
    let refusal = server.infer("m", &rows(10))?.error(404)?;
    ensure!(
        refusal == "Request for unknown model: 'm' is not found",
        "{refusal}"
    );
    Ok(())
}

#[test]
fn a_model_is_loaded_unloaded_and_called_at_the_same_time() -> Result<()> {
    let server = TestServer::start(Repository::empty()?.with_model("m", "wine", None)?)?;
    let controlled = AtomicBool::new(false);
    let call = || -> Result<()> {
        let mut connection = Connection::open(server.address())?;
        while !controlled.load(Relaxed) {
            let response = connection.infer("m", &rows(13))?;
            if response.status != 200 {
                response.error(404)?;
            }
        }
        Ok(())
    };
    let load_and_unload = || -> Result<()> {
        for _ in 0..10 * scale() {
            for verb in ["load", "load", "unload", "load"] {
                control(&server, "m", verb)?.ok()?;
            }
            // Calls succeed between the changes.
            served(&server, "/v2/models/m/infer", 13).map(drop)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let callers = [scope.spawn(call), scope.spawn(call)];
        let loaded = load_and_unload();
        controlled.store(true, Relaxed);
        for caller in callers {
            caller.join().expect("a client does not panic")?;
        }
        loaded
    })
}

#[test]
fn two_clients_load_a_model_at_the_same_time() -> Result<()> {
    let server = TestServer::start(Repository::empty()?.with_model("m", "wine", None)?)?;
    let load = || -> Result<()> {
        for _ in 0..10 * scale() {
            // Without a configuration, the model would be unchanged.
            let config = br#"{"parameters":{"config":"{}"}}"#;
            let path = "POST /v2/repository/models/m/load";
            server.request(path, &[], config)?.ok()?;
            served(&server, "/v2/models/m/infer", 13)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let clients = [scope.spawn(load), scope.spawn(load)];
        let mut clients = clients.into_iter();
        clients.try_for_each(|client| client.join().expect("a client does not panic"))
    })
}
