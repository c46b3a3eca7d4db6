//! Tests of the API's description of itself: the document, checked by third-party tools, and the page.

use crate::harness::onnx::{self, Graph};
use crate::harness::{Repository, Response, TestServer, root, scale};
use crate::python::{self, OPENAPI};
use crate::{chromium, triton};
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};
use std::process::Command;

/// The number of random requests for each operation, in addition to those at the bounds of its schemas.
const EXAMPLES: usize = 8;

/// Starts a server of these examples, of a model without a handler, and of one that cannot be served.
fn server_of(examples: &[&str]) -> Result<TestServer> {
    let repository = Repository::of(examples)?
        .with_model("bare", "progression", None)?
        .with_file("bare/model.toml", "labels = { stable = 1 }")?
        .with_broken_model()?;
    TestServer::start(repository)
}

/// Starts a server with a handler whose inputs are optional.
fn server() -> Result<TestServer> {
    server_of(&["wine"])
}

fn document(server: &TestServer) -> Result<Value> {
    server.get("/openapi.json")?.ok()
}

/// Returns every operation with its path and method.
fn operations(document: &Value) -> Result<Vec<(&String, &String, &Value)>> {
    let paths = document["paths"].as_object().context("no paths")?;
    let operations = paths.iter().map(|(path, item)| {
        let methods: &Map<String, Value> = item.as_object().context("no methods")?;
        ensure!(methods.len() == 1, "{path}");
        let (method, operation) = methods.iter().next().context("no method")?;
        Ok((path, method, operation))
    });
    operations.collect()
}

#[test]
fn the_document_is_valid_openapi_3_1() -> Result<()> {
    let server = server()?;
    let address = server.address().to_string();
    python::run_in(&OPENAPI, "openapi.py", &["validate", &address])?;
    let empty = TestServer::start(Repository::empty()?)?;
    let address = empty.address().to_string();
    python::run_in(&OPENAPI, "openapi.py", &["validate", &address])?;
    Ok(())
}

#[test]
fn schemathesis_finds_no_failure_and_no_undocumented_response() -> Result<()> {
    let server = match scale() {
        // Handlers with their long signatures take some minutes, so they are tested at larger scales
        // only.
        1 => server_of(&[])?,
        _ => server_of(&["digits", "wine"])?,
    };
    let address = server.address().to_string();
    let examples = (EXAMPLES * scale()).to_string();
    let arguments = ["conform", &address, &examples];
    let said = python::run_in(&OPENAPI, "openapi.py", &arguments)?;
    ensure!(said.contains("No issues found"), "{said}");
    server.get("/v2/health/ready")?.ok()?;
    Ok(())
}

/// Creates a repository of these examples with their golden cases, of a model without a handler, and of one that
/// cannot be served.
fn repository_with_cases(examples: &[&str]) -> Result<Repository> {
    let mut repository = Repository::of(examples)?
        .with_model("bare", "progression", None)?
        .with_file("bare/model.toml", "labels = { stable = 1 }")?
        .with_file("broken/1/model.onnx", b"not a model")?
        .with_file("broken/model.toml", "optional = true")?;
    for example in examples {
        let cases = root().join("examples").join(example).join("cases");
        for entry in std::fs::read_dir(&cases)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let file = format!("{example}/cases/{}", name.context("not Unicode")?);
            repository = repository.with_file(&file, std::fs::read(&path)?)?;
        }
    }
    Ok(repository)
}

/// Returns the path of an operation with its parameters filled in as the page does, from their examples.
fn prefilled_path(path: &str, operation: &Value) -> Result<String> {
    let mut prefilled = path.to_owned();
    let parameters = operation["parameters"].as_array();
    for parameter in parameters.into_iter().flatten() {
        if parameter["in"] == "path" {
            let name = parameter["name"].as_str().context("no name")?;
            let example = parameter["example"].as_str().context("no example")?;
            prefilled = prefilled.replace(&format!("{{{name}}}"), example);
        }
    }
    Ok(prefilled)
}

/// Sends the request of every operation as the page prefills it, and returns the paths of those that have none.
fn send_prefilled(server: &TestServer) -> Result<Vec<String>> {
    let document = document(server)?;
    let mut operations = operations(&document)?;
    // The model that is unloaded serves other operations.
    operations.sort_by_key(|(path, ..)| path.ends_with("/unload"));
    let mut without = Vec::new();
    for (path, method, operation) in operations {
        if operation["x-no-example"] == true {
            without.push(path.clone());
            continue;
        }
        let body = match &operation["requestBody"]["content"]["application/json"]["example"] {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body)?,
        };
        let line = format!(
            "{} {}",
            method.to_uppercase(),
            prefilled_path(path, operation)?
        );
        let response = server.request(&line, &[], &body)?;
        ensure!(
            response.status == 200,
            "{line} {}: {} {}",
            String::from_utf8_lossy(&body),
            response.status,
            String::from_utf8_lossy(&response.body)
        );
    }
    Ok(without)
}

#[test]
fn every_prefilled_request_of_the_examples_succeeds() -> Result<()> {
    let server = TestServer::start(repository_with_cases(&["digits", "progression", "wine"])?)?;
    let mut without = send_prefilled(&server)?;
    // `digits` has as many scores as the request asks for, and one of them would be a number.
    without.retain(|path| !(path.starts_with("/v1/models/digits") && path.ends_with(":regress")));
    ensure!(without.is_empty(), "{without:?}");
    Ok(())
}

#[test]
fn every_prefilled_request_of_models_without_a_handler_succeeds() -> Result<()> {
    let server = TestServer::start(triton::models::repository()?)?;
    let without = send_prefilled(&server)?;
    ensure!(without.is_empty(), "{without:?}");
    Ok(())
}

#[test]
fn head_is_served_wherever_get_is() -> Result<()> {
    let server = TestServer::start(repository_with_cases(&["wine"])?)?;
    let document = document(&server)?;
    let mut paths = vec!["/docs".to_owned(), "/openapi.json".to_owned()];
    for (path, method, operation) in operations(&document)? {
        if method == "get" {
            paths.push(prefilled_path(path, operation)?);
        }
    }
    for (start, end) in [
        ("/v2/", "/ready"),
        ("/v2/models/", "/config"),
        ("/v1/models/", ""),
    ] {
        let is_one = |path: &String| path.starts_with(start) && path.ends_with(end);
        ensure!(paths.iter().any(is_one), "{paths:#?}");
    }
    for path in &paths {
        let get = server.get(path)?;
        let head = server.request(&format!("HEAD {path}"), &[], b"")?;
        ensure!(
            get.status == 200 && head.status == 200,
            "{path}: GET {}, HEAD {}",
            get.status,
            head.status
        );
        ensure!(head.body.is_empty(), "HEAD {path} has a body");
        let content_types = [&get, &head].map(|response| response.header("content-type"));
        ensure!(
            content_types[0] == content_types[1],
            "{path}: {content_types:?}"
        );
    }
    Ok(())
}

#[test]
fn a_request_that_is_too_long_to_be_shown_is_not_prefilled() -> Result<()> {
    let shape = [Some(1), Some(3), Some(64), Some(64)];
    let graph = Graph {
        name: "g".to_owned(),
        input: vec![onnx::Value::of("x", onnx::FLOAT, &shape)],
        output: vec![onnx::Value::of("y", onnx::FLOAT, &shape)],
        ..Graph::default()
    };
    let graph = graph.node("Identity", &["x"], &["y"]).bytes();
    let repository = Repository::empty()?.with_file("image/1/model.onnx", graph)?;
    let server = TestServer::start(repository)?;
    let without = send_prefilled(&server)?;
    for path in ["/v2/models/image/infer", "/predict/image", "/predict"] {
        ensure!(without.iter().any(|other| other == path), "{without:?}");
    }
    ensure!(
        without
            .iter()
            .all(|path| path.contains("image") || path.contains("predict")),
        "{without:?}"
    );
    Ok(())
}

/// Clicks every Execute button of the page in Chromium. Operations without an example have none.
fn click_all(server: &TestServer) -> Result<()> {
    // The model that is unloaded last is no longer described afterwards.
    let document = document(server)?;
    let chromium = chromium::executable()?;
    let mut clicks = Command::new("python3");
    clicks
        .arg("-B")
        .arg(root().join("tests/clients/docs_page.py"))
        .arg(server.address().to_string())
        .arg(chromium)
        .env("LD_LIBRARY_PATH", chromium::library_path()?);
    let printed = String::from_utf8(python::succeed(&mut clicks)?.stdout)?;
    let mut shown = 0;
    for line in printed.lines() {
        let operation: Value = serde_json::from_str(line)?;
        let path = operation["path"].as_str().context("no path")?;
        let method = operation["method"].as_str().context("no method")?;
        let described = &document["paths"][path][method.to_lowercase()];
        let expected = match described["x-no-example"] == true {
            true => Value::Null,
            false => Value::from("200"),
        };
        ensure!(operation["status"] == expected, "{line}");
        shown += 1;
    }
    let described = operations(&document)?.len();
    ensure!(shown == described, "{shown} of {described} operations");
    Ok(())
}

#[test]
fn every_execute_button_of_the_page_succeeds_in_chromium() -> Result<()> {
    click_all(&TestServer::start(repository_with_cases(&[
        "digits", "wine",
    ])?)?)
}

#[test]
fn every_execute_button_of_models_without_a_handler_succeeds_in_chromium() -> Result<()> {
    click_all(&TestServer::start(triton::models::repository_of_kinds()?)?)
}

#[test]
fn the_document_describes_the_models_that_are_served() -> Result<()> {
    let server = server()?;
    let has = |path: &str| Ok::<_, anyhow::Error>(document(&server)?["paths"].get(path).is_some());
    ensure!(has("/v2/models/wine/infer")? && has("/v2/repository/models/{model}/unload")?);
    let unload = "POST /v2/repository/models/wine/unload";
    server.request(unload, &[], b"")?.ok()?;
    ensure!(!has("/v2/models/wine/infer")? && has("/v2/models/bare/infer")?);
    Ok(())
}

/// Returns the addresses that the page refers to.
fn named(page: &str) -> Vec<&str> {
    let mut named = Vec::new();
    for attribute in ["href=\"", "src=\""] {
        let after = page.split(attribute).skip(1);
        named.extend(after.filter_map(|rest| rest.split('"').next()));
    }
    named
}

/// Checks that the page may send requests to this server only, and that content types are not guessed.
fn check_policy(response: &Response) -> Result<()> {
    let policy = response
        .header("content-security-policy")
        .context("no policy")?;
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
    ] {
        ensure!(policy.split("; ").any(|found| found == part), "{policy}");
    }
    ensure!(response.header("x-content-type-options") == Some("nosniff"));
    Ok(())
}

#[test]
fn the_page_and_all_its_files_are_served_locally() -> Result<()> {
    let server = TestServer::start(Repository::empty()?)?;
    let page = server.get("/docs")?;
    check_policy(&page)?;
    ensure!(page.header("content-type") == Some("text/html; charset=utf-8"));
    let page = String::from_utf8(page.body)?;
    let named = named(&page);
    ensure!(named.len() == 5, "{named:?}");
    for name in named {
        ensure!(
            !name.contains(':') && !name.starts_with('/'),
            "{name} is not relative"
        );
        let file = server.get(&format!("/{name}"))?;
        ensure!(file.status == 200, "{name}: {}", file.status);
        check_policy(&file)?;
        let expected = match name.rsplit('.').next() {
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            _ => "image/png",
        };
        ensure!(file.header("content-type") == Some(expected), "{name}");
    }
    // The policy forbids inline scripts, so the page must have none.
    ensure!(page.matches("<script").count() == page.matches("<script src=").count());
    let initializer = server.get("/docs/initializer.js")?;
    ensure!(String::from_utf8(initializer.body)?.contains("const DOCUMENT = \"openapi.json\";"));
    Ok(())
}

#[test]
fn a_file_is_sent_compressed_or_not_and_cached() -> Result<()> {
    let server = TestServer::start(Repository::empty()?)?;
    let script = "GET /docs/swagger-ui-bundle.js";
    let plain = server.request(script, &[], b"")?;
    ensure!(plain.header("content-encoding").is_none());
    let compressed = server.request(script, &[("accept-encoding", "gzip")], b"")?;
    ensure!(compressed.header("content-encoding") == Some("gzip"));
    ensure!(compressed.header("vary") == Some("accept-encoding"));
    ensure!(compressed.body.starts_with(&[0x1f, 0x8b]));
    ensure!(compressed.body.len() * 2 < plain.body.len());
    let tag = plain.header("etag").context("no tag")?;
    ensure!(compressed.header("etag") == Some(tag));
    let again = server.request(script, &[("if-none-match", tag)], b"")?;
    ensure!(
        again.status == 304 && again.body.is_empty(),
        "{}",
        again.status
    );
    ensure!(again.header("etag") == Some(tag));
    let other = server.request(script, &[("if-none-match", "\"another\"")], b"")?;
    ensure!(other.status == 200 && other.body == plain.body);
    Ok(())
}
