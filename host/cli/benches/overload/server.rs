//! Starts `wisp serve` on a free loopback port, on all processors or on one.

use crate::process::{self, Server};
use crate::repository::Repository;
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Returns the program that is measured.
pub(crate) fn program() -> OsString {
    std::env::var_os("WISP").unwrap_or_else(|| env!("CARGO_BIN_EXE_wisp").into())
}

/// Starts a server of `models` with additional options on all processors, and waits until all models are loaded.
pub(crate) fn start(repository: &Repository, models: &Path, options: &[&str]) -> Result<Server> {
    let spawn = |command: &mut Command| {
        let child = command.spawn();
        child.with_context(|| format!("{command:?}"))
    };
    wait_for(repository, models, options, spawn)
}

/// Does the same on cpu 0, and keeps this process on cpu 1 from then on.
pub(crate) fn start_apart(
    repository: &Repository,
    models: &Path,
    options: &[&str],
) -> Result<Server> {
    wait_for(repository, models, options, process::spawn)
}

fn wait_for(
    repository: &Repository,
    models: &Path,
    options: &[&str],
    spawn: impl FnOnce(&mut Command) -> Result<Child>,
) -> Result<Server> {
    let program = program();
    let mut command = Command::new(&program);
    command
        .args(["serve", "--http", "127.0.0.1:0", "--grpc", "none"])
        .arg("--cache-dir")
        .arg(repository.cache())
        .args(options)
        .arg(models)
        .env("WISP_METRICS", "none")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = spawn(&mut command)?;
    let stdout = child.stdout.take();
    // The addresses come with the first line. The process is killed on drop from here on.
    let mut server = Server::new(child, ([127, 0, 0, 1], 0).into());
    let mut line = String::new();
    BufReader::new(stdout.context("no output")?).read_line(&mut line)?;
    let address = address_after(&line, "http://");
    server.address = address.with_context(|| format!("no address in `{line}`"))?;
    server.metrics = address_after(&line, "metrics on ");
    Ok(server)
}

/// Returns the address that follows this text in the line.
fn address_after(line: &str, text: &str) -> Option<SocketAddr> {
    let address = line.split(text).nth(1)?.split_whitespace().next()?;
    address.trim_end_matches([':', ',']).parse().ok()
}
