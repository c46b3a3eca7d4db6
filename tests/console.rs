//! Tests of the console at `/`, in a real browser.
//!
//! The screenshots are in `target/console-screenshots`, for people to look at.

use crate::chromium;
use crate::cli::{run, stdout, wisp};
use crate::harness::onnx::Graph;
use crate::harness::wat_handler::WatHandler;
use crate::harness::{Repository, TestOptions, TestServer};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wisp_serving::registry::repository_loader::Start;
use wisp_serving::residency::ResidencyOptions;

const HTML: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];

/// The name of a directory that would change the title of a page that does not escape it.
const HOSTILE: &str = "<img src=x onerror=document.title=name>";

/// The settings of the model with releases, a cache and a baseline. A feature has a hostile name.
const SETTINGS: &str = "[cache]\nenabled = true\n\
                        [inputs.x]\nfeature_names = ['<b>many</b>', 'few', 'moved']\n";

fn graph() -> Vec<u8> {
    let graph = Graph::from_x_to_y(&[None, Some(3)]);
    graph.node("Identity", &["x"], &["y"]).bytes()
}

/// Returns a handler that traps.
fn failing_handler() -> Result<Vec<u8>> {
    let handler = WatHandler {
        infer: "unreachable",
        ..WatHandler::BARE
    };
    handler.component()
}

/// Returns a request for the graph with these values.
fn row(values: &[u32]) -> Value {
    equal_rows(1, values)
}

/// Returns a request with this many equal rows.
fn equal_rows(count: usize, values: &[u32]) -> Value {
    let shape = [count, values.len()];
    let data = values.repeat(count);
    let input = json!({ "name": "x", "datatype": "FP32", "shape": shape, "data": data });
    json!({ "inputs": [input] })
}

fn number() -> Value {
    json!({ "inputs": [{ "name": "x", "datatype": "UINT32", "shape": [1], "data": [5] }] })
}

/// Returns the page at a path, for a browser.
fn page(server: &TestServer, path: &str) -> Result<String> {
    let page = server.request(&format!("GET {path}"), &HTML, b"")?;
    ensure!(page.status == 200, "{}", page.status);
    Ok(String::from_utf8(page.body)?)
}

#[test]
fn a_browser_gets_the_console_and_kserve_its_liveness() -> Result<()> {
    let server = TestServer::start(Repository::empty()?.with_model("m", "progression", None)?)?;
    let page = server.request("GET /", &HTML, b"")?;
    ensure!(page.status == 200);
    ensure!(page.header("content-type") == Some("text/html; charset=utf-8"));
    let policy = page
        .header("content-security-policy")
        .context("no policy")?;
    ensure!(policy.contains("script-src 'self';"), "{policy}");
    ensure!(!policy.contains("unsafe"), "{policy}");
    ensure!(server.get("/")?.ok()?["status"] == "alive");
    let any = server.request("GET /", &[("accept", "*/*")], b"")?;
    ensure!(any.ok()?["status"] == "alive");
    let html = String::from_utf8(page.body)?;
    let inline = ["<script>", "<style", " style=", " onclick"];
    for other in ["http://", "https://", "//cdn"].into_iter().chain(inline) {
        ensure!(!html.contains(other), "{other}");
    }
    for (file, content_type) in [
        ("console.css", "text/css; charset=utf-8"),
        ("console.js", "text/javascript; charset=utf-8"),
        ("key.js", "text/javascript; charset=utf-8"),
    ] {
        ensure!(html.contains(&format!("\"/docs/{file}\"")), "{html}");
        let file = server.get(&format!("/docs/{file}"))?;
        ensure!(file.status == 200 && file.header("content-type") == Some(content_type));
    }
    Ok(())
}

#[test]
fn a_model_that_is_not_loaded_is_shown_as_such_until_a_request_loads_it() -> Result<()> {
    let options = TestOptions {
        start: Start::Dormant,
        residency: ResidencyOptions {
            load_on_demand: true,
            max_model_memory_bytes: Some(64 << 20),
        },
        ..TestOptions::default()
    };
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph())?;
    let server = TestServer::with_options(repository, options)?;
    let before = page(&server, "/")?;
    ensure!(before.contains("state dormant\">READY"), "{before}");
    ensure!(before.contains("<td>not loaded</td>"), "{before}");
    ensure!(before.contains(" of 64.0 MiB</dd>"), "{before}");
    ensure!(!before.contains("<form class=\"example\""), "{before}");
    server.infer("m", &row(&[1, 2, 3]))?.ok()?;
    let after = page(&server, "/?model=m")?;
    ensure!(after.contains("state ready\">READY"), "{after}");
    ensure!(
        after.contains("Loads while the server runs: 1, "),
        "{after}"
    );
    ensure!(after.contains("<form class=\"example\""), "{after}");
    Ok(())
}

#[test]
fn the_console_of_many_models_has_pages_and_a_search() -> Result<()> {
    let mut repository = Repository::empty()?;
    for number in 0..120 {
        let file = format!("m{number:03}/1/model.onnx");
        repository = repository.with_file(&file, graph())?;
    }
    let options = TestOptions {
        start: Start::Dormant,
        residency: ResidencyOptions {
            load_on_demand: true,
            max_model_memory_bytes: None,
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    let rows = |html: &str| html.matches("<tr data-model").count();
    let last = page(&server, "/?page=3")?;
    ensure!(rows(&last) == 20 && last.contains("Models 101 to 120 of 120"));
    ensure!(last.contains("rel=\"prev\"") && !last.contains("rel=\"next\""));
    let found = page(&server, "/?search=M00")?;
    ensure!(rows(&found) == 10, "{found}");
    ensure!(found.contains("<article data-model=\"m009\""), "{found}");
    let named = page(&server, "/?model=m117")?;
    ensure!(rows(&named) == 1 && named.contains("<article data-model=\"m117\""));
    let none = page(&server, "/?model=%3Cscript%3E")?;
    ensure!(
        none.contains("no model <bdi>&lt;script&gt;</bdi>"),
        "{none}"
    );
    Ok(())
}

/// Starts a server with a release, failures of several parties, drift, and names that a page must escape.
fn busy_server() -> Result<TestServer> {
    let mut training = "<b>many</b>,few,moved\n".to_owned();
    for number in 0..200 {
        training.push_str(&format!("{},{},{number}\n", number % 50, number % 3));
    }
    let repository = Repository::empty()?
        .with_file("m/1/model.onnx", graph())?
        .with_file("m/model.toml", SETTINGS)?
        .with_file("train.csv", training)?;
    let mut command = wisp();
    command.current_dir(repository.path());
    command.args(["baseline", "m", "--backend", "tract", "--from", "train.csv"]);
    stdout(&run(&mut command)?)?;
    let repository = repository
        .with_file("h/1/handler.wasm", failing_handler()?)?
        .with_file(&format!("{HOSTILE}/1/model.onnx"), "no model")?
        .with_broken_model()?;
    let server = TestServer::start(repository)?;
    let second = server.repository().join("m/2");
    std::fs::create_dir_all(&second)?;
    std::fs::write(second.join("model.onnx"), graph())?;
    let start = json!({ "candidate": "2", "settings": { "weight_percent": 25 } });
    let path = "POST /v2/repository/models/m/release/start";
    server
        .request(path, &[], &serde_json::to_vec(&start)?)?
        .ok()?;
    for number in 0..20 {
        // So many rows that both versions have observations enough to be compared.
        let request = equal_rows(64, &[number, number % 3, 900]);
        server.infer("m", &request)?.ok()?;
    }
    let path = "POST /v2/models/m/versions/1/infer";
    let wrong = server.request(path, &[], &serde_json::to_vec(&row(&[1, 2]))?)?;
    ensure!(wrong.status == 400, "{}", wrong.status);
    ensure!(server.infer("h", &number())?.status != 200);
    Ok(server)
}

/// Opens the console in a browser and returns the page after each step.
fn browse(server: &TestServer) -> Result<BTreeMap<String, Value>> {
    let address = server.address().to_string();
    chromium::browse("console_page.py", &address, |command| command)
}

#[test]
fn a_person_sees_every_model_and_sends_an_example_in_chromium() -> Result<()> {
    let server = busy_server()?;
    let steps = browse(&server)?;
    let step = |name: &str| steps.get(name).with_context(|| format!("no {name}"));
    check_before(step("before")?)?;
    let sent = step("sent")?;
    ensure!(sent["status"] == "200", "{sent}");
    let response = sent["response"].as_str().context("no response")?;
    ensure!(response.contains("\"model_name\":\"m\""), "{sent}");
    let after = step("after")?;
    let counts = &after["versions"]["m 2"]["counts"];
    ensure!(counts["cache hits"] == "1", "{after}");
    ensure!(after["violations"] == json!([]), "{after}");
    let searched = step("searched")?;
    ensure!(searched["search"] == "M", "{searched}");
    let rows = searched["rows"].as_object().context("no rows")?;
    ensure!(rows.keys().eq(["m"]), "{searched}");
    let without = &step("without")?["versions"]["m 2"];
    ensure!(without["state"] == "READY", "{without}");
    ensure!(without["button"] == false, "sending needs the script");
    let looks = step("looks")?.as_array().context("no looks")?;
    ensure!(looks.len() == 4, "{looks:?}");
    for look in looks {
        check_look(look)?;
    }
    Ok(())
}

/// Checks the page before the example request.
fn check_before(shown: &Value) -> Result<()> {
    ensure!(shown["readiness"] == "ready", "{shown}");
    ensure!(shown["title"] == "Wisp", "a name became markup: {shown}");
    ensure!(shown["images"] == 0, "a name became markup: {shown}");
    ensure!(shown["skipped"] == json!([HOSTILE]), "{shown}");
    let model = &shown["models"]["m"];
    let split = json!(["version 1: 75 %", "version 2: 25 %"]);
    ensure!(model["split"] == split, "{model}");
    ensure!(model["phase"] == "running", "{model}");
    let residency = model["residency"].as_str().context("no residency")?;
    ensure!(residency.starts_with("In memory: "), "{model}");
    let broken = &shown["versions"]["broken 1"];
    ensure!(broken["state"] == "UNAVAILABLE", "{broken}");
    let reason = broken["reason"].as_str().context("no reason")?;
    ensure!(!reason.is_empty(), "{broken}");
    let first = &shown["versions"]["m 1"];
    ensure!(first["state"] == "READY", "{first}");
    ensure!(first["backend"] == "tract_onnx", "{first}");
    ensure!(first["button"] == true, "{first}");
    ensure!(first["counts"]["failed requests"] == "1", "{first}");
    ensure!(first["counts"]["cache hits"] == "0", "{first}");
    ensure!(first["failures"]["client"][0] == "1", "{first}");
    ensure!(first["failures"]["host"][0] == "0", "{first}");
    let phases = first["phases"].as_object().context("no phases")?;
    ensure!(phases.len() == 5, "{first}");
    ensure!(phases["compute_infer"][0] != "none", "{first}");
    let batches = first["batches"].as_object().context("no batches")?;
    ensure!(batches.len() == 1, "{first}");
    let drift = first["drift"].as_object().context("no drift")?;
    ensure!(drift.contains_key("x: <b>many</b>"), "{first}");
    ensure!(first["levels"][0] == "large", "the most drift is first");
    let failing = &shown["versions"]["h 1"]["failures"];
    ensure!(failing["handler"][0] == "1", "{failing}");
    Ok(())
}

/// Checks that a screenshot has the size and the colors of its screen, and that every plot is drawn.
fn check_look(look: &Value) -> Result<()> {
    let number = |value: &Value| value.as_u64().with_context(|| format!("{look}"));
    let (screen, width) = (number(&look["screen"])?, number(&look["width"])?);
    ensure!(width <= screen, "the page is wider than the screen: {look}");
    ensure!(
        look["image"] == json!([look["width"], look["height"]]),
        "{look}"
    );
    ensure!(number(&look["height"])? > 800, "{look}");
    ensure!(number(&look["colors"])? > 30, "nothing is drawn: {look}");
    let background = look["background"].as_array().context("no background")?;
    ensure!(look["corner"] == look["background"], "{look}");
    let mut light = 0;
    for part in background {
        light += number(part)?;
    }
    match look["scheme"] == "dark" {
        true => ensure!(light < 3 * 64, "{look}"),
        false => ensure!(light > 3 * 192, "{look}"),
    }
    for plot in ["phases", "batches", "failures", "drift", "split"] {
        let drawn = number(&look["plots"][plot])?;
        ensure!(drawn > 30, "{plot}: {look}");
    }
    Ok(())
}
