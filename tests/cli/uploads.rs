//! Tests of `wisp serve --allow-upload` as a process: what a server that is killed leaves, and what the next one finds.

use super::serve::{Serve, serve};
use super::{failure, run};
use crate::harness::numbers::Numbers;
use crate::harness::{Repository, Response, exchange, root, scale, wait_until};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::{scope, yield_now};

/// The kills at scale 1.
const KILLS: usize = 4;

/// The most requests of an upload that are answered before a kill, and the most turns of other threads after the last one.
const ANSWERED: u64 = 7;
const TURNS: u64 = 20_000;

fn with_uploads(repository: &Path) -> Command {
    let mut command = serve(repository);
    command.arg("--allow-upload");
    command
}

fn request(server: &Serve, head: &str, body: &[u8]) -> Result<Response> {
    let head = format!(
        "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    exchange(server.address().parse()?, &[head.as_bytes(), body].concat())
}

#[test]
fn a_killed_server_leaves_whole_versions_only() -> Result<()> {
    let repository = Repository::empty()?.with_model("other", "progression", None)?;
    let graph = fs::read(root().join("examples/progression/1/model.onnx"))?;
    let mut server = Serve::spawn(with_uploads(repository.path()))?;
    let file =
        |version: u32| format!("/v2/repository/models/m/versions/{version}/files/model.onnx");
    request(&server, &format!("PUT {}", file(1)), &graph)?.ok()?;
    let commit = "POST /v2/repository/models/m/versions/1/commit";
    request(&server, commit, b"")?.ok()?;
    // One version is not committed, and a file of another is on its way.
    request(&server, &format!("PUT {}", file(2)), &graph)?.ok()?;
    let mut stream = TcpStream::connect(server.address())?;
    let head = format!("PUT {} HTTP/1.1\r\nhost: localhost\r\n", file(3));
    write!(stream, "{head}content-length: 9000000\r\n\r\n")?;
    stream.write_all(&vec![0; 3_000_000])?;
    let uploads = repository.path().join(".wisp-uploads");
    let count = |part: &str| fs::read_dir(uploads.join(part)).map_or(0, Iterator::count);
    wait_until("a file arrives", || count("incoming") == 1)?;
    server.child.kill()?;
    server.child.wait()?;
    ensure!(count("incoming") == 1 && count("staged") == 1);

    let server = Serve::spawn(with_uploads(repository.path()))?;
    server.get("/v2/models/m/versions/1/ready")?.ok()?;
    ensure!(count("incoming") == 0 && count("staged") == 0);
    for version in [2, 3] {
        ensure!(!repository.path().join(format!("m/{version}")).exists());
        request(&server, &format!("PUT {}", file(version)), &graph)?.ok()?;
    }
    Ok(())
}

/// Uploads one version of `m` after another until the server does not answer. Returns the number of the last one whose
/// commit was answered.
fn upload_until_the_end(server: &Serve, graph: &[u8], answered: &AtomicU64) -> u64 {
    let mut committed = 0;
    loop {
        let version = format!("/v2/repository/models/m/versions/{}", committed + 1);
        let steps: [(String, &[u8]); 3] = [
            (format!("PUT {version}/files/model.onnx"), graph),
            (format!("PUT {version}/files/notes.txt"), b"a note"),
            (format!("POST {version}/commit"), b""),
        ];
        for (step, body) in steps {
            let response = request(server, &step, body);
            if !response.is_ok_and(|response| response.status == 200) {
                return committed;
            }
            answered.fetch_add(1, Relaxed);
        }
        committed += 1;
    }
}

/// Checks that all versions of `m` up to this one are there, and that each that is there is whole.
fn check_versions(model: &Path, committed: u64, graph: &[u8]) -> Result<u64> {
    let mut found = 0;
    for entry in fs::read_dir(model).into_iter().flatten() {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(version) = name.and_then(|name| name.parse::<u64>().ok()) else {
            continue;
        };
        let content = fs::read(path.join("model.onnx"))?;
        ensure!(content == graph, "version {version} has another graph");
        ensure!(fs::read(path.join("notes.txt"))? == b"a note");
        found = found.max(version);
    }
    // One more may have been committed without an answer.
    ensure!(
        (committed..=committed + 1).contains(&found),
        "{found} versions, {committed} answers"
    );
    Ok(found)
}

#[test]
fn a_server_that_is_killed_at_any_moment_of_an_upload_starts_with_whole_versions() -> Result<()> {
    let graph = fs::read(root().join("examples/progression/1/model.onnx"))?;
    for kill in 0..KILLS * scale() {
        let repository = Repository::empty()?.with_model("other", "progression", None)?;
        let mut server = Serve::spawn(with_uploads(repository.path()))?;
        let mut numbers = Numbers::of(kill);
        let (requests, turns) = (numbers.next() % ANSWERED, numbers.next() % TURNS);
        let answered = AtomicU64::new(0);
        let committed: Result<u64> = scope(|scope| {
            let (running, graph, answered) = (&server, &graph, &answered);
            let client = scope.spawn(move || upload_until_the_end(running, graph, answered));
            let waited = wait_until("the upload has come so far", || {
                answered.load(Relaxed) >= requests || client.is_finished()
            });
            for _ in 0..turns {
                yield_now();
            }
            // The client ends with it, also after an error.
            running.signal("-KILL")?;
            waited?;
            match client.join() {
                Ok(committed) => Ok(committed),
                Err(_) => bail!("a client has panicked"),
            }
        });
        let committed = committed.with_context(|| format!("kill {kill}"))?;
        server.child.wait()?;
        ensure!(answered.load(Relaxed) >= requests, "an upload was refused");

        let server = Serve::spawn(with_uploads(repository.path()))?;
        let model = repository.path().join("m");
        let last = check_versions(&model, committed, &graph)?;
        server.get("/v2/models/other/ready")?.ok()?;
        if last > 0 {
            server
                .get(&format!("/v2/models/m/versions/{last}/ready"))?
                .ok()?;
        }
        for part in ["incoming", "staged", "trials", "trash"] {
            let place = repository.path().join(".wisp-uploads").join(part);
            let left = fs::read_dir(place).map_or(0, Iterator::count);
            ensure!(left == 0, "kill {kill}: {left} {part}");
        }
        // An interrupted upload can be sent again.
        let next = last + 1;
        let file = format!("PUT /v2/repository/models/m/versions/{next}/files/model.onnx");
        request(&server, &file, &graph)?.ok()?;
    }
    Ok(())
}

#[test]
fn settings_that_contradict_each_other_end_the_start() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let graph = repository.path().join("progression/1/model.onnx");
    for (mut command, expected) in [
        (with_uploads(&graph), "not a directory of models"),
        (serve(repository.path()), "give --trusted-key"),
        (with_uploads(repository.path()), "--model-control-mode none"),
    ] {
        match expected {
            "give --trusted-key" => command.arg("--require-signature"),
            "--model-control-mode none" => command.args(["--model-control-mode", "none"]),
            _ => &mut command,
        };
        let (text, code) = failure(&run(&mut command)?)?;
        ensure!(text.contains(expected) && code == 64, "{code}: {text}");
    }
    Ok(())
}
