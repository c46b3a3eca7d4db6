//! Tests of a server's start and readiness with a model that cannot be loaded, as the probes of Kubernetes see
//! it.

use super::serve::{Serve, serve};
use super::{failure, run};
use crate::harness::{Repository, Response, TIMEOUT};
use anyhow::{Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

/// The number of times that each probe is sent.
const PROBES: usize = 5;

/// Returns a repository of a good model and of one whose graph is not a model.
fn broken() -> Result<Repository> {
    Repository::of(&["progression"])?.with_file("broken/1/model.onnx", "not a model")
}

/// Starts a server of this repository in spite of its broken model.
fn start(repository: &Path, arguments: &[&str]) -> Result<Serve> {
    let mut command = serve(repository);
    command.arg("--no-exit-on-error").args(arguments);
    Serve::spawn(command)
}

/// Sends the probes of a rollout one after the other, and checks the status of each.
fn probe(server: &Serve, ready: u16) -> Result<()> {
    for _ in 0..PROBES {
        for (path, expected) in [
            ("/v2/health/live", 200),
            ("/v2/health/ready", ready),
            ("/health", ready),
            ("/v2/models/progression/ready", 200),
        ] {
            let status = server.get(path)?.status;
            ensure!(status == expected, "{path}: {status}");
        }
    }
    Ok(())
}

/// Loads or unloads a model.
fn control(server: &Serve, model: &str, verb: &str) -> Result<Response> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "POST /v2/repository/models/{model}/{verb} HTTP/1.1\r\nhost: localhost\r\n\
         connection: close\r\ncontent-length: 0\r\n\r\n"
    )?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)
}

/// Replaces the graph of the model `broken` by a good one.
fn mend(repository: &Repository) -> Result<()> {
    let graph = repository.path().join("progression/1/model.onnx");
    std::fs::copy(graph, repository.path().join("broken/1/model.onnx"))?;
    Ok(())
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_start_with_its_name_and_reason() -> Result<()> {
    let repository = broken()?.with_file("empty/2/notes.txt", "")?;
    let mut command = serve(repository.path());
    let (text, code) = failure(&run(&mut command)?)?;
    ensure!(code == 1, "{code}: {text}");
    for part in [
        "not every model can be loaded",
        "`broken`: graph `model` cannot be loaded",
        "not an ONNX model",
        "`empty`: version 2 contains neither a .onnx file nor a handler.wasm",
        "--no-exit-on-error",
        "optional = true",
    ] {
        ensure!(text.contains(part), "no `{part}`: {text}");
    }
    ensure!(!text.contains("`progression`:"), "{text}");
    Ok(())
}

#[test]
fn a_rollout_with_a_broken_model_never_becomes_ready() -> Result<()> {
    let repository = broken()?;
    let server = start(repository.path(), &[])?;
    probe(&server, 503)?;
    control(&server, "broken", "load")?.error(400)?;
    probe(&server, 503)?;
    // It does once the model can be loaded.
    mend(&repository)?;
    control(&server, "broken", "load")?.ok()?;
    probe(&server, 200)
}

#[test]
fn a_broken_model_does_not_matter_if_it_is_optional_or_readiness_is_not_strict() -> Result<()> {
    let repository = broken()?;
    probe(
        &start(repository.path(), &["--strict-readiness=false"])?,
        200,
    )?;
    let mut command = serve(repository.path());
    command
        .env("WISP_EXIT_ON_ERROR", "false")
        .env("WISP_STRICT_READINESS", "false");
    probe(&Serve::spawn(command)?, 200)?;
    let repository = repository.with_file("broken/model.toml", "optional = true")?;
    probe(&Serve::start(repository.path())?, 200)
}

#[test]
fn a_running_server_stays_ready_whatever_fails_to_load() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let server = Serve::start(repository.path())?;
    probe(&server, 200)?;
    // A reload that fails keeps the old version.
    let graph = repository.path().join("progression/1/model.onnx");
    let good = std::fs::read(&graph)?;
    std::fs::write(&graph, "not a model")?;
    control(&server, "progression", "load")?.error(400)?;
    probe(&server, 200)?;
    std::fs::write(&graph, good)?;
    // A new model that fails has not been served before.
    let repository = repository.with_file("broken/1/model.onnx", "not a model")?;
    control(&server, "broken", "load")?.error(400)?;
    probe(&server, 200)?;
    // A server without any model to call is not ready.
    control(&server, "progression", "unload")?.ok()?;
    ensure!(server.get("/v2/health/ready")?.status == 503);
    ensure!(server.get("/v2/health/live")?.status == 200);
    control(&server, "progression", "load")?.ok()?;
    probe(&server, 200)?;
    drop(repository);
    Ok(())
}

#[test]
fn a_negated_argument_precedes_the_variable() -> Result<()> {
    let repository = broken()?;
    let mut command = serve(repository.path());
    command
        .args(["--no-exit-on-error", "--check-config"])
        .env("WISP_EXIT_ON_ERROR", "true");
    let text = super::stdout(&run(&mut command)?)?;
    let line = text.lines().find(|line| line.starts_with("exit_on_error"));
    let line = line.unwrap_or_default();
    ensure!(
        line.starts_with("exit_on_error = false") && line.contains("argument"),
        "{text}"
    );
    Ok(())
}
