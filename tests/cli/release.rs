//! Tests of `wisp release`, and of releases of a process that is killed.

use super::serve::{Serve, serve};
use super::{failure, run, stdout, wisp};
use crate::harness::Repository;
use crate::harness::onnx::Graph;
use anyhow::{Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

fn graph() -> Vec<u8> {
    let graph = Graph::from_x_to_y(&[None, Some(3)]);
    graph.node("Relu", &["x"], &["y"]).bytes()
}

/// Creates a model of two versions, the second of which is the highest.
fn repository() -> Result<Repository> {
    Repository::empty()?
        .with_file("m/1/model.onnx", graph())?
        .with_file("m/2/model.onnx", graph())
}

fn served_with_state(repository: &Repository, state: &Path) -> Command {
    let mut command = serve(repository.path());
    command.arg("--state-dir").arg(state);
    command
}

fn release(server: &Serve, arguments: &[&str]) -> Command {
    let mut command = wisp();
    command.arg("release").args(arguments);
    command.args(["--url", &format!("http://{}", server.address())]);
    command
}

#[test]
fn a_release_is_started_shown_promoted_and_aborted() -> Result<()> {
    let repository = repository()?;
    let state = tempfile::tempdir()?;
    let server = Serve::spawn(served_with_state(&repository, state.path()))?;
    let (text, code) = failure(&run(&mut release(&server, &["status", "m"]))?)?;
    ensure!(text.contains("has no release") && code == 1, "{text}");
    // The highest version is served, and so the release goes back to the first one.
    let start = ["start", "m", "--candidate", "1", "--weight", "25"];
    let started = stdout(&run(&mut release(&server, &start))?)?;
    ensure!(
        started.starts_with("m: running, 25.0 % to version 1\n"),
        "{started}"
    );
    let promoted = stdout(&run(&mut release(&server, &["promote", "m"]))?)?;
    ensure!(
        promoted.contains("promoted, 100 % to version 1"),
        "{promoted}"
    );
    let aborted = stdout(&run(&mut release(&server, &["abort", "m"]))?)?;
    ensure!(aborted.contains("aborted, 0 % to version 1"), "{aborted}");
    let json = stdout(&run(&mut release(&server, &["status", "m", "--json"]))?)?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    ensure!(json["default_version"] == "2", "{json}");
    let closed = stdout(&run(&mut release(&server, &["close", "m"]))?)?;
    ensure!(closed.contains("aborted"), "{closed}");
    ensure!(std::fs::read_dir(state.path())?.next().is_none());
    Ok(())
}

#[test]
fn a_killed_server_continues_its_release_and_ignores_a_damaged_record() -> Result<()> {
    let repository = repository()?;
    let state = tempfile::tempdir()?;
    let mut server = Serve::spawn(served_with_state(&repository, state.path()))?;
    let start = ["start", "m", "--candidate", "1"];
    stdout(&run(&mut release(&server, &start))?)?;
    stdout(&run(&mut release(&server, &["promote", "m"]))?)?;
    server.child.kill()?;
    server.child.wait()?;
    drop(server);

    let server = Serve::spawn(served_with_state(&repository, state.path()))?;
    let status = stdout(&run(&mut release(&server, &["status", "m"]))?)?;
    ensure!(
        status.contains("promoted, 100 % to version 1") && status.contains("restored"),
        "{status}"
    );
    server.get("/v2/models/m/versions/1")?.ok()?;
    server.get("/v2/models/m/versions/2")?.ok()?;
    drop(server);

    std::fs::write(state.path().join("m.json"), "{\"format\":")?;
    let mut command = served_with_state(&repository, state.path());
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let _log = server.log_up_to("the record of a release is damaged and ignored")?;
    server.get("/v2/models/m/versions/2")?.ok()?;
    ensure!(server.get("/v2/models/m/versions/1")?.status == 404);
    Ok(())
}
