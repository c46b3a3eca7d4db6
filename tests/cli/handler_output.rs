//! Tests of what the commands show of a handler: what it logs, and how it failed.

use super::serve::{Serve, read_up_to, serve};
use super::{failure, run, wisp};
use crate::harness::{Repository, component};
use anyhow::{Context, Result, ensure};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// The beginning of the message of a panic, whose rest is on the following lines.
const PANIC: &str = "because: the handler failed: panicked at ";

/// Creates a repository with the hostile handler, and a case for one of its behaviors.
fn repository(behaviour: &str) -> Result<Repository> {
    let case = format!(
        r#"{{"request":{{"inputs":[{{"name":"behaviour","datatype":"BYTES","shape":[1],"data":["{behaviour}"]}}]}},
        "expect":{{"failure":"client"}}}}"#
    );
    Repository::empty()?
        .with_model("hostile", "progression", Some(component("hostile_guest")?))?
        .with_file("hostile/cases/case.json", case)
}

fn infer(repository: &Repository, behaviour: &str) -> Command {
    let mut command = wisp();
    command
        .arg("infer")
        .arg(repository.path().join("hostile"))
        .arg("--input")
        .arg(format!("behaviour=[\"{behaviour}\"]"));
    command
}

#[test]
fn infer_shows_a_panic_with_its_place_and_its_functions() -> Result<()> {
    let repository = repository("panic")?;
    let (text, code) = failure(&run(&mut infer(&repository, "panic"))?)?;
    ensure!(code == 1, "{code}");
    for part in [
        PANIC,
        "behaviour.rs:",
        "because: backtrace, innermost function first:\n    0: hostile_guest::behaviour::panic_with\n",
    ] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    ensure!(!text.contains('\x1b'), "{text}");
    Ok(())
}

#[test]
fn check_shows_a_panic_with_its_place_and_its_functions() -> Result<()> {
    let repository = repository("panic")?;
    let output = run(wisp().arg("check").arg(repository.path().join("hostile")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{text}");
    for part in [
        "FAIL  case.json\n        expected a failure of the client, got one of the handler\n",
        "        the handler failed: panicked at ",
        "        0: hostile_guest::behaviour::panic_with\n",
    ] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    Ok(())
}

#[test]
fn infer_and_check_show_what_a_handler_logs_on_standard_error() -> Result<()> {
    let repository = repository("log")?;
    let inferred = run(&mut infer(&repository, "log"))?;
    ensure!(inferred.status.success());
    let checked = run(wisp().arg("check").arg(repository.path().join("hostile")))?;
    for output in [inferred, checked] {
        let text = String::from_utf8_lossy(&output.stderr);
        for line in [
            " INFO handler: a line\n",
            " INFO handler: and\\u{1b}[2J another\n",
            " WARN handler: a warning\n",
            "ERROR handler: an event of `tracing` rows=3\n",
        ] {
            ensure!(text.contains(line), "{line}: {text}");
        }
        ensure!(!text.contains('\x1b'), "{text}");
        let out = String::from_utf8_lossy(&output.stdout);
        ensure!(!out.contains("a warning"), "{out}");
    }
    Ok(())
}

#[test]
fn infer_shows_the_number_of_lines_that_were_dropped() -> Result<()> {
    let repository = repository("log_flood")?;
    let output = run(&mut infer(&repository, "log_flood"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let last = text.lines().last().context("no lines")?;
    ensure!(
        last.contains("lines of the handler were dropped") && last.contains("limits.log_bytes"),
        "{last}"
    );
    Ok(())
}

/// Sends a request with an id to a server.
fn post(server: &Serve, behaviour: &str) -> Result<String> {
    let body = format!(
        r#"{{"inputs":[{{"name":"behaviour","datatype":"BYTES","shape":[1],"data":["{behaviour}"]}}]}}"#
    );
    let mut stream = TcpStream::connect(server.address())?;
    write!(
        stream,
        "POST /v2/models/hostile/infer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         x-request-id: r1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

#[test]
fn the_log_of_a_server_names_the_model_and_the_request() -> Result<()> {
    let repository = repository("log")?;
    let mut command = serve(repository.path());
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    post(&server, "log")?;
    let line = server.log_line(" INFO handler: a line ")?;
    for field in ["model=hostile", "version=1", "request_id=r1"] {
        ensure!(line.contains(field), "{field}: {line}");
    }
    Ok(())
}

#[test]
fn a_panic_is_in_the_log_of_a_server_and_not_in_its_response() -> Result<()> {
    let repository = repository("panic")?;
    let mut command = serve(repository.path());
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let reply = post(&server, "panic")?;
    ensure!(reply.starts_with("HTTP/1.1 502 "), "{reply}");
    for secret in ["panicked", "behaviour", "backtrace"] {
        ensure!(!reply.contains(secret), "{secret}: {reply}");
    }
    let stderr = server.child.stderr.take().context("it is not piped")?;
    let line = read_up_to(&mut BufReader::new(stderr), "panicked at ")?;
    for part in [
        "request_id=r1",
        "behaviour.rs:",
        "hostile_guest::behaviour::panic_with",
    ] {
        ensure!(line.contains(part), "{part}: {line}");
    }
    Ok(())
}
