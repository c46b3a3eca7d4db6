//! Tests of the formats of the log, and of the model in the line for each request.

use super::serve::{Serve, serve};
use crate::harness::{Repository, Response, TIMEOUT, component};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStderr, Command, Stdio};

/// A request that makes the handler of the model `hostile` trap.
const TRAP: &str =
    r#"{"inputs":[{"name":"behaviour","datatype":"BYTES","shape":[1],"data":["trap"]}]}"#;

/// Starts a server of the models `progression` and `hostile`, with a line for each request in this format.
fn logging(format: &str) -> Result<(Serve, BufReader<ChildStderr>, Repository)> {
    let hostile = component("hostile_guest")?;
    let repository =
        Repository::of(&["progression"])?.with_model("hostile", "progression", Some(hostile))?;
    let mut command = serve(repository.path());
    command
        .args(["--log", "info,wisp_server=debug"])
        .env("WISP_LOG_FORMAT", format)
        .stderr(Stdio::piped());
    if format != "json" {
        let mut server = Serve::spawn(command)?;
        let log = server.child.stderr.take().context("it is piped")?;
        return Ok((server, BufReader::new(log), repository));
    }
    // There is no banner: the log has the address.
    let mut server = Serve {
        child: command.stdout(Stdio::piped()).spawn()?,
        address: String::new(),
        banner: String::new(),
    };
    let log = server.child.stderr.take().context("it is piped")?;
    let mut log = BufReader::new(log);
    let started = json_line_where(&mut log, |line| line["message"] == "serving")?;
    let url = started["http"].as_str().context("no address")?;
    let address = url.strip_prefix("http://").context("no URL")?;
    server.address = address.to_owned();
    Ok((server, log, repository))
}

/// Sends a request with the id `id`.
fn send(server: &Serve, id: &str, request: &str, body: &str) -> Result<Response> {
    let mut stream = TcpStream::connect(&server.address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-request-id: {id}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response)?;
    Response::parse(&response)
}

/// Returns the line for the request with this id. Every line up to it must be a JSON object.
fn json_line(log: &mut BufReader<ChildStderr>, id: &str) -> Result<Value> {
    let line = json_line_where(log, |line| line["request_id"] == id);
    line.with_context(|| format!("no line for {id}"))
}

/// Returns the first line that is wanted. Every line up to it must be a JSON object.
fn json_line_where(
    log: &mut BufReader<ChildStderr>,
    is_wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    loop {
        let mut line = String::new();
        ensure!(log.read_line(&mut line)? > 0, "the log has ended");
        let object: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        for key in ["timestamp", "level", "target", "message"] {
            ensure!(object[key].is_string(), "{key}: {line}");
        }
        if is_wanted(&object) {
            return Ok(object);
        }
    }
}

#[test]
fn with_a_log_in_json_nothing_is_written_to_standard_output() -> Result<()> {
    // The start has been logged, and a banner would have been printed before.
    let (mut server, _log, _repository) = logging("json")?;
    send(&server, "live", "GET /v2/health/live", "")?.ok()?;
    server.child.kill()?;
    let mut output = String::new();
    let mut stdout = server.child.stdout.take().context("it is piped")?;
    stdout.read_to_string(&mut output)?;
    assert_eq!(output, "");
    Ok(())
}

#[test]
fn a_line_about_a_request_names_its_model_in_every_outcome() -> Result<()> {
    let (server, mut log, _repository) = logging("json")?;
    for (id, request, body, expected) in [
        (
            "answered",
            "GET /v2/models/progression",
            "",
            ["DEBUG", "progression", "1"],
        ),
        (
            "refused",
            "POST /v2/models/progression/versions/1/infer",
            "{}",
            ["DEBUG", "progression", "1"],
        ),
        (
            "trapped",
            "POST /v2/models/hostile/infer",
            TRAP,
            ["WARN", "hostile", "1"],
        ),
        (
            "unloaded",
            "POST /v2/repository/models/hostile/unload",
            "",
            ["DEBUG", "hostile", "none"],
        ),
        (
            "unknown",
            "GET /v2/models/other",
            "",
            ["DEBUG", "other", "none"],
        ),
    ] {
        send(&server, id, request, body)?;
        let line = json_line(&mut log, id)?;
        let shown = |key: &str| line[key].as_str().unwrap_or("none");
        let found = [shown("level"), shown("model"), shown("model_version")];
        ensure!(found == expected, "{id}: {line}");
        ensure!(
            line["status"].is_u64() && line["microseconds"].is_u64(),
            "{line}"
        );
    }
    send(&server, "live", "GET /v2/health/live", "")?;
    let line = json_line(&mut log, "live")?;
    ensure!(line.get("model").is_none(), "{line}");
    Ok(())
}

#[test]
fn a_line_about_a_grpc_request_names_its_model() -> Result<()> {
    let (server, mut log, _repository) = logging("json")?;
    // A `ModelMetadataRequest`, whose first field is the name.
    let name = b"progression";
    let length = u8::try_from(name.len())?;
    let message = [&[0, 0, 0, 0, length + 2, 10, length][..], name].concat();
    let url = format!(
        "http://{}/inference.GRPCInferenceService/ModelMetadata",
        server.address
    );
    let mut curl = Command::new("curl")
        .args(["--silent", "--show-error", "--http2-prior-knowledge"])
        .args(["--header", "content-type: application/grpc"])
        .args(["--header", "te: trailers", "--header", "x-request-id: grpc"])
        .args(["--data-binary", "@-", "--output", "/dev/null", &url])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = curl.stdin.take().context("it is piped")?;
    input.write_all(&message)?;
    drop(input);
    ensure!(curl.wait()?.success(), "curl failed");
    let line = json_line(&mut log, "grpc")?;
    ensure!(
        line["model"] == "progression" && line["model_version"] == "1",
        "{line}"
    );
    Ok(())
}

#[test]
fn text_in_a_pipe_has_no_colours() -> Result<()> {
    for format in ["auto", "text"] {
        let (server, mut log, _repository) = logging(format)?;
        send(&server, "answered", "GET /v2/models/progression", "")?;
        let mut line = String::new();
        while !line.contains("request_id=answered") {
            line.clear();
            ensure!(log.read_line(&mut line)? > 0, "no line for the request");
            ensure!(!line.contains('\x1b'), "{line}");
        }
        ensure!(
            line.contains("model=progression model_version=1 status=200"),
            "{line}"
        );
    }
    Ok(())
}
