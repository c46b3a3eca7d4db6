//! Tests of the end of the process while a compilation, a computation or a client does not finish.

use super::serve::{Serve, read_up_to, serve};
use crate::harness::onnx::{FLOAT, Graph, Model, Tensor};
use crate::harness::{Repository, Response};
use anyhow::{Context, Result, ensure};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The time limit for an end that waits for neither a client nor a computation: a second of drain delay, the
/// last handshakes, and an allowance for a busy machine. The operations that it must not wait for take
/// far longer.
const SOON: Duration = Duration::from_secs(12);

/// Returns a component with nested loops, which takes minutes to compile.
fn slow_to_compile() -> Result<Vec<u8>> {
    let depth = 40_000;
    let (begin, end) = ("loop ".repeat(depth), "end ".repeat(depth));
    let text = format!(
        r#"(component (core module (func {begin} {end})) (instance $i)
           (export "wisp:handler/model@0.1.0" (instance $i)))"#
    );
    Ok(wat::parse_str(&text)?)
}

/// Returns a command with a cache of its own, so that nothing has been compiled before.
fn serve_fresh(repository: &Repository, arguments: &[&str]) -> Command {
    let mut command = serve(repository.path());
    let cache = repository.path().with_extension("cache");
    command.args(arguments).arg("--cache-dir").arg(cache);
    command.stderr(Stdio::piped());
    command
}

/// Checks that the process ends within [`SOON`], with this code.
fn ends_soon(child: &mut std::process::Child, code: i32) -> Result<()> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.code() == Some(code), "{status}");
            return Ok(());
        }
        ensure!(start.elapsed() < SOON, "it is still there");
        std::thread::yield_now();
    }
}

fn kill(child: &std::process::Child) -> Result<()> {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status()?;
    ensure!(sent.success());
    Ok(())
}

#[test]
fn a_signal_ends_the_server_while_a_handler_is_being_compiled() -> Result<()> {
    let repository =
        Repository::of(&["progression"])?.with_file("bomb/1/handler.wasm", slow_to_compile()?)?;
    let graph = repository.path().join("progression/1/model.onnx");
    std::fs::copy(graph, repository.path().join("bomb/1/model.onnx"))?;
    let mut child = serve_fresh(&repository, &[])
        .stdout(Stdio::null())
        .spawn()?;
    let mut log = BufReader::new(child.stderr.take().context("it is piped")?);
    // Logged after the signal handlers are installed, and before anything is loaded.
    let ended = read_up_to(&mut log, "limit on open connections")
        .and_then(|_| kill(&child))
        .and_then(|()| ends_soon(&mut child, 0));
    let _ = child.kill();
    ended
}

#[test]
fn sigterm_does_not_wait_for_an_abandoned_compilation() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut server = Serve::spawn(serve_fresh(&repository, &[]))?;
    let repository = repository
        .with_model("bomb", "progression", None)?
        .with_file("bomb/1/handler.wasm", slow_to_compile()?)?;
    let mut client = TcpStream::connect(&server.address)?;
    write!(
        client,
        "POST /v2/repository/models/bomb/load HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
    )?;
    // This response shows that the other request has begun.
    server.get("/v2/health/live")?.ok()?;
    drop(client);
    server.signal("-TERM")?;
    ends_soon(&mut server.child, 0)?;
    drop(repository);
    Ok(())
}

#[test]
fn sigterm_does_not_wait_for_a_computation_past_its_deadline() -> Result<()> {
    // Thirty multiplications by a matrix of 1,500 by 1,500: a moment for one row, a minute for 4,000
    // rows.
    let (rows, size) = (4000_usize, 1500_usize);
    let columns = i64::try_from(size)?;
    let mut graph = Graph::from_x_to_y(&[Some(1), None, Some(columns)]).initializer(Tensor {
        raw_data: vec![0; size * size * 4],
        ..Tensor::of("w", FLOAT, &[columns, columns])
    });
    let names: Vec<String> = (0..30).map(|step| format!("step{step}")).collect();
    let mut last = "x";
    for name in &names {
        graph = graph.node("MatMul", &[last, "w"], &[name]);
        last = name;
    }
    let graph = graph.node("Identity", &[last], &["y"]);
    let repository =
        Repository::empty()?.with_file("powers/1/model.onnx", Model::of(graph).bytes())?;
    let limit = ["--request-timeout-milliseconds", "100"];
    let mut server = Serve::spawn(serve_fresh(&repository, &limit))?;
    let length = rows * size * 4;
    let mut client = TcpStream::connect(&server.address)?;
    let json = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{rows},{size}],"parameters":{{"binary_data_size":{length}}}}}]}}"#
    );
    write!(
        client,
        "POST /v2/models/powers/infer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         inference-header-content-length: {}\r\ncontent-length: {}\r\n\r\n{json}",
        json.len(),
        json.len() + length
    )?;
    client.write_all(&vec![0; length])?;
    let mut reply = Vec::new();
    client.read_to_end(&mut reply)?;
    Response::parse(&reply)?.error(504)?;
    server.signal("-TERM")?;
    ends_soon(&mut server.child, 0)
}

#[test]
fn sigterm_ends_a_server_whose_log_is_not_read() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut command = serve_fresh(&repository, &[]);
    // One line for each request fills the pipe.
    command.env("RUST_LOG", "debug");
    let mut server = Serve::spawn(command)?;
    let mut client = TcpStream::connect(&server.address)?;
    let requests = "GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000);
    client.write_all(requests.as_bytes())?;
    server.signal("-TERM")?;
    server.signal("-TERM")?;
    let start = Instant::now();
    while server.child.try_wait()?.is_none() {
        ensure!(start.elapsed() < SOON, "it is still there");
        server.signal("-TERM").unwrap_or_default();
        std::thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_half_sent_body_does_not_hold_up_a_drain_whose_time_is_set() -> Result<()> {
    // With a second, the connection is closed before its request is rejected.
    for (seconds, code) in [("3600", 0), ("1", 1)] {
        let repository = Repository::of(&["progression"])?;
        let limit = ["--drain-timeout", seconds];
        let mut server = Serve::spawn(serve_fresh(&repository, &limit))?;
        let mut client = TcpStream::connect(&server.address)?;
        write!(
            client,
            "POST /v2/models/progression/infer HTTP/1.1\r\nhost: localhost\r\n\
             expect: 100-continue\r\ncontent-length: 100\r\n\r\n"
        )?;
        let mut go_on = [0; 25];
        client.read_exact(&mut go_on)?;
        client.write_all(b"{")?;
        server.signal("-TERM")?;
        let mut reply = Vec::new();
        // The connection may be reset.
        let _ = client.read_to_end(&mut reply);
        if code == 0 {
            let refused = Response::parse(&reply)?.error(503)?;
            ensure!(refused.contains("shutting down"), "{refused}");
        }
        drop(client);
        ends_soon(&mut server.child, code)?;
    }
    Ok(())
}
