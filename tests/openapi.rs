//! Tests of the API's description of itself: the document, checked by third-party tools, and the page.

use crate::harness::{Repository, Response, TestServer, scale};
use crate::python::{self, OPENAPI};
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

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

#[test]
fn every_example_request_succeeds_unless_the_handler_refuses_zeros() -> Result<()> {
    let server = server_of(&["digits", "progression", "wine"])?;
    let document = document(&server)?;
    let (mut answered, mut refused) = (0, 0);
    for (path, method, operation) in operations(&document)? {
        let body = &operation["requestBody"]["content"]["application/json"]["example"];
        if body.is_null() {
            continue;
        }
        ensure!(method == "post", "{method} {path}");
        let response = server.request(&format!("POST {path}"), &[], body.to_string().as_bytes())?;
        // The handler of `wine` refuses a wine that is all zeros: a request can fit the signature but
        // not the handler.
        match path.contains("wine") {
            true => {
                let text = response.error(400)?;
                ensure!(text.starts_with("feature `"), "{path}: {text}");
                refused += 1;
            }
            false => {
                response.ok().with_context(|| path.clone())?;
                answered += 1;
            }
        }
    }
    // V2 and the verbs of TF Serving, by default and by number, and the two verbs of the predict API.
    // `bare` also has a label, which V2 does not support; `wine` has no numeric output, and so no
    // `:regress`.
    ensure!(answered == 2 * (2 * (1 + 3) + 2) + 3, "{answered} answered");
    ensure!(refused == 2 * (1 + 2) + 2, "{refused} refused");
    Ok(())
}

#[test]
fn every_operation_without_a_body_is_answered() -> Result<()> {
    let server = server()?;
    let document = document(&server)?;
    for (path, method, _) in operations(&document)? {
        if method == "get" {
            let asked = path.replace("{model}", "bare").replace("{version}", "1");
            let asked = asked.replace("{label}", "stable");
            let response = server.get(&asked)?;
            ensure!(response.status == 200, "{asked}: {}", response.status);
        }
    }
    Ok(())
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
    ensure!(named.len() == 4, "{named:?}");
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
    ensure!(String::from_utf8(initializer.body)?.contains("url: \"openapi.json\""));
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
