//! Tests of `wisp serve --allow-upload` as a process: what a server that is killed leaves, and what the next one finds.

use super::serve::{Serve, serve};
use super::{failure, run};
use crate::harness::{Repository, Response, exchange, root, wait_until};
use anyhow::{Result, ensure};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

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
    let graph = std::fs::read(root().join("examples/progression/1/model.onnx"))?;
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
    let count = |part: &str| std::fs::read_dir(uploads.join(part)).map_or(0, Iterator::count);
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
