//! Tests of `wisp release`, and of releases of a process that is killed.

use super::serve::{Serve, serve};
use super::{failure, run, stdout, wisp};
use crate::harness::onnx::Graph;
use crate::harness::{Repository, exchange, scale, wait_until};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

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

/// The state of a release as far as the changes of a test determine it: its phase and its weight, or none.
type State = Option<(String, f64)>;

fn state(server: &Serve) -> Result<State> {
    let response = server.get("/v2/repository/models/m/release")?;
    if response.status == 404 {
        return Ok(None);
    }
    let status = response.ok()?;
    let phase = status["phase"].as_str().context("no phase")?;
    let weight = status["settings"]["weight_percent"].as_f64();
    Ok(Some((phase.to_owned(), weight.context("no weight")?)))
}

/// Makes the change with this number, and returns whether the server has confirmed it. Of three changes, the first one
/// starts a release, or changes the weight of the running one.
fn change(address: SocketAddr, number: u64) -> bool {
    let (verb, body) = match number % 3 {
        0 => {
            let settings = json!({ "weight_percent": number % 100 });
            let start = json!({ "candidate": "1", "stable": "2", "settings": settings });
            ("start", start.to_string())
        }
        1 => ("promote", String::new()),
        _ => ("abort", String::new()),
    };
    let request = format!(
        "POST /v2/repository/models/m/release/{verb} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(address, request.as_bytes()).is_ok_and(|response| response.status == 200)
}

/// Returns the state after this many changes, beginning with the one of number 0. Without any, it is `before`.
fn expected(before: &State, changes: u64) -> State {
    let Some(last) = changes.checked_sub(1) else {
        return before.clone();
    };
    let phase = ["running", "promoted", "aborted"];
    let phase = phase.get(usize::try_from(last % 3).ok()?)?;
    let weight = u32::try_from((last - last % 3) % 100).ok()?;
    Some(((*phase).to_owned(), f64::from(weight)))
}

#[test]
fn a_server_that_is_killed_at_any_moment_has_the_last_confirmed_change_or_the_one_after_it()
-> Result<()> {
    let repository = repository()?;
    let states = tempfile::tempdir()?;
    let mut server = Serve::spawn(served_with_state(&repository, states.path()))?;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..5 * scale() {
        let before = state(&server)?;
        // Xorshift: the same moments in each run, as far as the scheduler permits.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (least, spins) = (random % 7, (random >> 32) % 300_000);
        let confirmed = AtomicU64::new(0);
        let address: SocketAddr = server.address().parse()?;
        std::thread::scope(|scope| -> Result<()> {
            let changes = scope.spawn(|| {
                while change(address, confirmed.load(SeqCst)) {
                    confirmed.fetch_add(1, SeqCst);
                }
            });
            let waited = wait_until("the changes before the kill are confirmed", || {
                confirmed.load(SeqCst) >= least || changes.is_finished()
            });
            for _ in 0..spins {
                std::hint::spin_loop();
            }
            server.child.kill()?;
            server.child.wait()?;
            waited
        })?;
        let confirmed = confirmed.into_inner();
        ensure!(confirmed >= least, "a change was refused: {confirmed}");
        server = Serve::spawn(served_with_state(&repository, states.path()))?;
        let after = state(&server)?;
        let possible = [confirmed, confirmed + 1].map(|changes| expected(&before, changes));
        ensure!(
            possible.contains(&after),
            "round {round}, {confirmed} changes: {after:?}, expected one of {possible:?}"
        );
        for version in ["1", "2"] {
            let metadata = server.get(&format!("/v2/models/m/versions/{version}"))?;
            let is_pinned = version == "2" || after.is_some();
            ensure!(
                (metadata.status == 200) == is_pinned,
                "version {version}: {metadata:?}"
            );
        }
    }
    Ok(())
}
