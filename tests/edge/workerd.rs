//! Tests of the target `cloudflare` in workerd, the runtime of Cloudflare's Workers.

use super::server_process::ServerProcess;
use super::worker_runtime::{configuration, port, workerd};
use super::{EXAMPLES, bundle, compare_answers, send};
use crate::cli;
use crate::node;
use anyhow::{Context, Result, ensure};
use std::env::{join_paths, split_paths};
use std::ffi::OsString;
use std::process::Command;
use tempfile::TempDir;

/// A Worker in a process of workerd.
#[derive(Debug)]
struct Worker {
    // Dropped before the directory.
    host: ServerProcess,
    directory: TempDir,
}

impl Worker {
    /// Bundles an example with these arguments, and serves the Worker.
    fn start(example: &str, arguments: &[&str]) -> Result<Worker> {
        let repository = cli::example(example)?;
        let directory = tempfile::tempdir()?;
        let output = directory.path().join("worker");
        let mut command = bundle(&repository.path().join(example), &output);
        command
            .args(["--target", "cloudflare"])
            .args(arguments)
            .env("PATH", path_with_jco()?);
        cli::stdout(&cli::run(&mut command)?)?;
        let config = output.join("config.capnp");
        std::fs::write(&config, configuration(&output)?)?;
        let mut command = Command::new(workerd(node::edge_packages()?)?);
        command.arg("serve").arg(&config).arg("--control-fd=1");
        Ok(Worker {
            host: ServerProcess::start(&mut command, port)?,
            directory,
        })
    }
}

/// Returns the search path with jco and Node.js in front.
fn path_with_jco() -> Result<OsString> {
    let first = [node::edge_packages()?.join(".bin"), node::directory()?];
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(join_paths(first.into_iter().chain(split_paths(&path)))?)
}

#[test]
fn workers_answer_as_the_server_does() -> Result<()> {
    for example in EXAMPLES {
        let worker = Worker::start(example, &[]).context(example)?;
        compare_answers(example, worker.host.address()).context(example)?;
    }
    Ok(())
}

#[test]
fn a_worker_that_keeps_its_instance_answers_the_same() -> Result<()> {
    let worker = Worker::start("digits", &["--keep-instance"])?;
    let settings = worker.directory.path().join("worker/bundle.js");
    let settings = std::fs::read_to_string(settings)?;
    ensure!(settings.contains("keepInstance = true"), "{settings}");
    for _ in 0..2 {
        compare_answers("digits", worker.host.address())?;
    }
    Ok(())
}

#[test]
fn a_worker_refuses_a_body_above_the_limit_of_its_bundle() -> Result<()> {
    let worker = Worker::start("digits", &["--max-body-bytes", "60000"])?;
    let target = "POST /v2/models/digits/infer";
    for length in [60_001, 100_000] {
        let response = send(worker.host.address(), target, &vec![b' '; length])?;
        ensure!(
            response.status == 413,
            "{length} bytes: {}",
            response.status
        );
    }
    Ok(())
}

#[test]
fn without_node_a_worker_is_refused_with_the_way_to_install_it() -> Result<()> {
    let repository = cli::example("wine")?;
    let output = repository.path().join("worker");
    let mut command = bundle(&repository.path().join("wine"), &output);
    command
        .args(["--target", "cloudflare"])
        .env("PATH", repository.path());
    let (text, code) = cli::failure(&cli::run(&mut command)?)?;
    ensure!(
        code == 64 && text.contains("npm install -g"),
        "{code}: {text}"
    );
    ensure!(!output.exists(), "a Worker was written");
    Ok(())
}
