//! Tests of the cage of `wisp serve`: what a locked process cannot do, and that the server still does its work.
//!
//! Nothing can be injected into a locked server, so a hidden subcommand locks itself in by the very same rules and
//! tries. The other tests of servers are tests of the cage too, since all of them run in it.

use super::serve::{Serve, read_up_to, serve};
use super::{run, stdout, wisp};
use crate::harness::{Repository, Response, root};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;

/// The attempts of a locked server that succeed.
const WORK: [&str; 3] = ["compute in a thread", "read inside", "write inside"];

/// Returns the outcome of each attempt of a process that is locked in as one of this kind.
fn attempts(kind: &str, arguments: &[&str]) -> Result<BTreeMap<String, String>> {
    let directory = tempfile::tempdir()?;
    let place = |name: &str| directory.path().join(name);
    for name in ["read", "write"] {
        fs::create_dir(place(name))?;
    }
    fs::write(place("read").join("file"), "a model")?;
    fs::write(place("outside"), "a secret")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let mut command = wisp();
    command
        .args(["child-process", "attempt", kind, "--port", &port])
        .args(["--process", &std::process::id().to_string()])
        .arg("--read")
        .arg(place("read"))
        .arg("--write")
        .arg(place("write"))
        .arg("--outside")
        .arg(place("outside"))
        .args(arguments);
    let text = stdout(&run(&mut command)?)?;
    let outcomes = text.lines().filter_map(|line| line.split_once(": "));
    let outcomes = outcomes.map(|(name, outcome)| (name.to_owned(), outcome.to_owned()));
    let mut outcomes: BTreeMap<String, String> = outcomes.collect();
    let gaps = outcomes.remove("gaps");
    ensure!(gaps.as_deref().unwrap_or_default().is_empty(), "{gaps:?}");
    ensure!(fs::read_to_string(place("outside"))? == "a secret");
    Ok(outcomes)
}

/// Checks that exactly these attempts succeed, of all that there are.
fn expect(outcomes: &BTreeMap<String, String>, allowed: &[&str]) -> Result<()> {
    for name in allowed {
        ensure!(outcomes.contains_key(*name), "{name} was not tried");
    }
    for (name, outcome) in outcomes {
        let is_allowed = allowed.contains(&name.as_str());
        ensure!((outcome == "done") == is_allowed, "{name}: {outcome}");
    }
    for name in [
        "read outside",
        "start a program",
        "become a program",
        "open the memory of a process",
        "connect over TCP",
        "mount",
    ] {
        ensure!(outcomes.contains_key(name), "{name} was not tried");
    }
    Ok(())
}

#[test]
fn a_locked_server_can_do_its_work_and_nothing_else() -> Result<()> {
    expect(&attempts("server", &[])?, &WORK)
}

#[test]
fn a_locked_server_connects_to_the_ports_of_its_settings() -> Result<()> {
    let outcomes = attempts("server", &["--connects"])?;
    expect(&outcomes, &[&WORK[..], &["connect over TCP"]].concat())
}

#[test]
fn a_child_that_loads_models_reads_and_one_that_compiles_does_not_even_that() -> Result<()> {
    expect(
        &attempts("loader", &[])?,
        &["compute in a thread", "read inside"],
    )?;
    expect(&attempts("compiler", &[])?, &["compute in a thread"])
}

/// Returns the values of a field in the status of every thread of a process.
fn of_threads(process: u32, field: &str) -> Result<Vec<String>> {
    let mut values = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        values.push(value.context("no such field")?.trim().to_owned());
    }
    Ok(values)
}

/// Returns the ids of the child processes of a process.
fn children(process: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("children"))?;
        children.extend(
            text.split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
    }
    Ok(children)
}

#[test]
fn every_thread_of_a_server_and_its_spawner_is_locked_in() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let server = Serve::start(repository.path())?;
    let spawner = children(server.id())?;
    ensure!(spawner.len() == 1, "{spawner:?}");
    for process in [&[server.id()][..], &spawner].concat() {
        for (field, expected) in [("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
            let values = of_threads(process, field)?;
            ensure!(
                values.iter().all(|value| value == expected),
                "{process}: {field} {values:?}"
            );
        }
    }
    // Two filters at the start, and one that takes what only the start needs.
    let filters = of_threads(server.id(), "Seccomp_filters:")?;
    ensure!(filters.iter().all(|count| count == "3"), "{filters:?}");
    Ok(())
}

#[test]
fn without_a_cage_there_is_a_warning_and_no_spawner() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut command = serve(repository.path());
    command.arg("--no-cage").stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let line = server.log_line("not caged")?;
    ensure!(
        line.contains("WARN") && line.contains("--no-cage"),
        "{line}"
    );
    ensure!(children(server.id())?.is_empty());
    ensure!(
        of_threads(server.id(), "Seccomp:")?
            .iter()
            .all(|mode| mode == "0")
    );
    Ok(())
}

/// Asks a server to load a model.
fn load(server: &Serve, model: &str) -> Result<Response> {
    let mut stream = TcpStream::connect(server.address())?;
    write!(
        stream,
        "POST /v2/repository/models/{model}/load HTTP/1.1\r\nhost: localhost\r\n\
         connection: close\r\ncontent-length: 0\r\n\r\n"
    )?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)
}

/// Starts a server with an empty cache, so that every handler is compiled and every model file tried.
fn with_empty_cache(repository: &Path, cache: &Path) -> Result<Serve> {
    let mut command = serve(repository);
    command.arg("--cache-dir").arg(cache).stderr(Stdio::piped());
    Serve::spawn(command)
}

#[test]
fn a_caged_server_compiles_new_handlers_and_tries_new_model_files() -> Result<()> {
    let (repository, cache) = (Repository::of(&["progression"])?, tempfile::tempdir()?);
    let server = with_empty_cache(repository.path(), cache.path())?;
    let compiled = || -> Result<usize> { Ok(fs::read_dir(cache.path().join("aot"))?.count()) };
    let passed =
        || -> Result<usize> { Ok(fs::read_dir(cache.path().join("backends/passed"))?.count()) };
    let (handlers, files) = (compiled()?, passed()?);
    let _repository = repository.with_example("wine", "later")?;
    load(&server, "later")?.ok()?;
    server.get("/v2/models/later")?.ok()?;
    ensure!(compiled()? > handlers, "{}", compiled()?);
    ensure!(passed()? > files, "{}", passed()?);
    Ok(())
}

#[test]
fn without_its_spawner_a_server_serves_on_and_names_the_host() -> Result<()> {
    let (repository, cache) = (Repository::of(&["progression"])?, tempfile::tempdir()?);
    let mut server = with_empty_cache(repository.path(), cache.path())?;
    for spawner in children(server.id())? {
        let killed = std::process::Command::new("kill")
            .args(["-KILL", &spawner.to_string()])
            .status()?;
        ensure!(killed.success());
    }
    let mut log = server.log_up_to("the process that starts child processes has ended")?;
    let _repository = repository.with_example("wine", "later")?;
    let refused = load(&server, "later")?;
    ensure!(refused.status >= 400, "{}", refused.status);
    let line = read_up_to(&mut log, "not loaded")?;
    ensure!(line.contains("restart the server"), "{line}");
    server.get("/v2/models/progression")?.ok()?;
    Ok(())
}

#[test]
fn links_that_lead_out_of_a_repository_are_followed_if_they_are_there_at_the_start() -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    let graph = elsewhere.path().join("graph.onnx");
    fs::copy(root().join("examples/progression/1/model.onnx"), &graph)?;
    let repository = Repository::empty()?;
    fs::create_dir_all(repository.path().join("linked/1"))?;
    std::os::unix::fs::symlink(&graph, repository.path().join("linked/1/model.onnx"))?;
    let server = Serve::start(repository.path())?;
    server.get("/v2/models/linked")?.ok()?;
    // One that is added leads nowhere until the next start, unless its target may be read anyway.
    let other = tempfile::tempdir()?;
    let later = other.path().join("graph.onnx");
    fs::copy(&graph, &later)?;
    let add_link = |repository: &Repository| -> Result<()> {
        fs::create_dir_all(repository.path().join("later/1"))?;
        let link = repository.path().join("later/1/model.onnx");
        Ok(std::os::unix::fs::symlink(&later, link)?)
    };
    add_link(&repository)?;
    ensure!(load(&server, "later")?.status >= 400);
    let repository = Repository::of(&["progression"])?;
    let mut command = serve(repository.path());
    command.arg("--cage-read").arg(other.path());
    let server = Serve::spawn(command)?;
    add_link(&repository)?;
    load(&server, "later")?.ok()?;
    Ok(())
}
