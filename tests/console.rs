//! Tests of the console at `/`, in a real browser.

use crate::harness::{Repository, TestServer, root};
use crate::{chromium, python};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Command;

const HTML: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];

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
    ensure!(server.get("/")?.ok()?["status"] == "alive");
    let any = server.request("GET /", &[("accept", "*/*")], b"")?;
    ensure!(any.ok()?["status"] == "alive");
    let html = String::from_utf8(page.body)?;
    for other in ["http://", "https://", "//cdn", "<script>", " onclick"] {
        ensure!(!html.contains(other), "{other}");
    }
    Ok(())
}

#[test]
fn the_console_shows_each_model_and_sends_an_example_in_chromium() -> Result<()> {
    let repository = Repository::empty()?
        .with_model("m", "progression", None)?
        .with_file("m/model.toml", "[cache]\nenabled = true\n")?
        .with_broken_model()?;
    let server = TestServer::start(repository)?;
    let chromium = chromium::executable()?;
    let mut browse = Command::new("python3");
    browse
        .arg("-B")
        .arg(root().join("tests/clients/console_page.py"))
        .arg(server.address().to_string())
        .arg(chromium)
        .env("LD_LIBRARY_PATH", chromium::library_path()?);
    let printed = String::from_utf8(python::succeed(&mut browse)?.stdout)?;
    let pages: Vec<Value> = printed
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let [before, sent, after] = &pages[..] else {
        anyhow::bail!("{printed}");
    };
    ensure!(before["readiness"] == "ready", "{before}");
    let models = &before["models"];
    ensure!(models["m 1"]["state"] == "READY", "{before}");
    ensure!(models["m 1"]["backend"] == "tract_onnx", "{before}");
    ensure!(models["broken 1"]["state"] == "UNAVAILABLE", "{before}");
    let reason = models["broken 1"]["reason"].as_str().context("no reason")?;
    ensure!(!reason.is_empty(), "{before}");
    ensure!(models["broken 1"]["form"] == false, "{before}");
    ensure!(sent["status"] == "200", "{sent}");
    let response = sent["response"].as_str().context("no response")?;
    ensure!(response.contains("\"model_name\":\"m\""), "{sent}");
    let counts = &after["models"]["m 1"]["counts"];
    ensure!(counts["successful requests"] == "2", "{after}");
    ensure!(counts["cache hits"] == "1", "{after}");
    ensure!(counts["executions"] == "1", "{after}");
    ensure!(after["models"]["m 1"]["bars"] == 4, "{after}");
    ensure!(after["models"]["m 1"]["batches"] == 1, "{after}");
    ensure!(
        after["errors"] == 0,
        "the policy blocked something: {after}"
    );
    Ok(())
}
