//! Tests of the log and the banner of `wisp serve` about models that clients load, and about what is skipped.

use super::serve::{Serve, read_up_to, serve};
use crate::harness::{Repository, Response};
use anyhow::{Context, Result, ensure};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStderr, Stdio};

/// Starts a server, and returns it with its log.
fn logged(repository: &Repository) -> Result<(Serve, BufReader<ChildStderr>)> {
    let mut command = serve(repository.path());
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let log = server.child.stderr.take().context("it is piped")?;
    Ok((server, BufReader::new(log)))
}

fn control(server: &Serve, verb: &str) -> Result<Response> {
    let mut stream = TcpStream::connect(server.address())?;
    write!(
        stream,
        "POST /v2/repository/models/progression/{verb} HTTP/1.1\r\nhost: localhost\r\n\
         connection: close\r\ncontent-length: 0\r\n\r\n"
    )?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)
}

#[test]
fn loads_and_unloads_by_clients_are_logged_with_versions_and_time() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let (server, mut log) = logged(&repository)?;
    for (verb, text) in [
        ("unload", "unloaded"),
        ("load", "loaded"),
        ("load", "unchanged, not loaded again"),
    ] {
        control(&server, verb)?.ok()?;
        let line = read_up_to(&mut log, text)?;
        for part in ["INFO", "progression", "versions", "1", "seconds"] {
            ensure!(line.contains(part), "{part}: {line}");
        }
    }
    Ok(())
}

#[test]
fn skipped_entries_are_counted_in_the_banner_and_logged() -> Result<()> {
    let repository = Repository::of(&["progression"])?
        .with_file("notes/data.bin", "")?
        .with_file("progression/v2/model.onnx", "")?
        .with_file(
            "progression/config.pbtxt",
            "optimization { graph { level: 1 } } metric_tags { key: \"a\" value: \"b\" }",
        )?;
    let (server, mut log) = logged(&repository)?;
    let counts = "1 of 1 models ready, 2 skipped";
    ensure!(server.banner.contains(counts), "{}", server.banner);
    for line in [
        "it contains no version, such as `1/model.onnx`, and no model.toml",
        "`v2` is not a version: its name is not a decimal number",
    ] {
        read_up_to(&mut log, line)?;
    }
    let ignored = read_up_to(&mut log, "config.pbtxt has fields that are ignored")?;
    for part in ["WARN", "progression", "metric_tags, optimization"] {
        ensure!(ignored.contains(part), "{part}: {ignored}");
    }
    Ok(())
}
