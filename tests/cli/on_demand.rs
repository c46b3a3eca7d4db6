//! Tests of servers that load models with their first requests: the start, and the memory of the process.

use super::serve::{Serve, serve};
use crate::harness::onnx::Graph;
use crate::harness::{Repository, Response, scale};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

/// The number of inputs and outputs of each model.
const SIZE: u16 = 512;

/// The memory of the process besides its models that may grow while it answers: code, threads, connections and one load.
const OTHER_BYTES: u64 = 32 << 20;

/// Returns the file of a model with weights of 1 MiB, which differ for each number.
fn weights(number: u16) -> Vec<u8> {
    let size = i64::from(SIZE);
    let values = (0..usize::from(SIZE) * usize::from(SIZE)).map(|_| f32::from(number));
    let values: Vec<f32> = values.collect();
    Graph::from_x_to_y(&[None, Some(size)])
        .floats("w", &[size, size], &values)
        .node("MatMul", &["x", "w"], &["y"])
        .bytes()
}

/// Returns the resident memory of the process in bytes.
fn resident(server: &Serve) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next());
    let kibibytes: u64 = kibibytes.context("no VmRSS")?.parse()?;
    Ok(kibibytes * 1024)
}

fn call(server: &Serve, number: u16) -> Result<()> {
    let shape = [1, SIZE];
    let data = vec![1.0; usize::from(SIZE)];
    let request = json!({ "inputs": [{
        "name": "x", "datatype": "FP32", "shape": shape, "data": data,
    }] })
    .to_string();
    let mut stream = TcpStream::connect(server.address())?;
    write!(
        stream,
        "POST /v2/models/m{number}/infer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{request}",
        request.len()
    )?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let answer = Response::parse(&reply)?.ok()?;
    let first = answer["outputs"][0]["data"][0].as_f64();
    let expected = f64::from(SIZE) * f64::from(number);
    ensure!(first == Some(expected), "m{number}: {first:?}");
    Ok(())
}

/// Returns the memory that a loaded model takes in the budget, according to the metrics.
fn model_bytes(server: &Serve) -> Result<u64> {
    let address = server.banner.split("metrics on ").nth(1);
    let address = address.and_then(|rest| rest.split_whitespace().next());
    let mut stream = TcpStream::connect(address.context("no address of the metrics")?)?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let sample = page.split("wisp_model_bytes{model=\"m0\"} ").nth(1);
    let bytes = sample.and_then(|sample| sample.split_whitespace().next());
    Ok(bytes.context("no memory of m0")?.parse()?)
}

#[test]
fn the_memory_of_the_process_stays_within_the_budget() -> Result<()> {
    let count = u16::try_from(60 * scale().clamp(1, 50))?;
    let mut repository = Repository::empty()?;
    for number in 0..count {
        repository = repository.with_file(&format!("m{number}/1/model.onnx"), weights(number))?;
    }
    let mut command = serve(repository.path());
    command
        .arg("--load-on-demand")
        .args(["--metrics", "127.0.0.1:0"])
        .stderr(Stdio::null());
    let server = Serve::spawn(command)?;
    call(&server, 0)?;
    // A tenth of the models.
    let budget = u64::from(count / 10) * model_bytes(&server)?;
    drop(server);
    let mut command = serve(repository.path());
    command
        .arg("--load-on-demand")
        .args(["--max-model-memory-bytes", &budget.to_string()])
        .stderr(Stdio::null());
    let server = Serve::spawn(command)?;
    let expected = format!("{count} of {count} models ready ({count} on demand)");
    ensure!(server.banner.contains(&expected), "{}", server.banner);
    ensure!(!server.banner.contains("m0 1"), "{}", server.banner);
    // For large budgets, all of the process is within 10 %. For small ones, what it needs besides models is more.
    let limit = (budget + budget / 10).max(resident(&server)? + budget + OTHER_BYTES);
    let mut peak = 0;
    for number in 0..count {
        call(&server, number)?;
        peak = peak.max(resident(&server)?);
    }
    ensure!(
        peak <= limit,
        "{peak} bytes with a budget of {budget}, and the limit {limit}"
    );
    Ok(())
}

#[test]
fn a_model_that_cannot_be_loaded_does_not_end_a_server_that_loads_on_demand() -> Result<()> {
    let repository = Repository::empty()?
        .with_file("bad/1/model.onnx", "not a model")?
        .with_file("m1/1/model.onnx", weights(1))?;
    let mut command = serve(repository.path());
    command.arg("--load-on-demand").stderr(Stdio::null());
    let server = Serve::spawn(command)?;
    ensure!(server.get("/v2/health/ready")?.status == 200);
    call(&server, 1)?;
    ensure!(server.get("/v2/models/bad")?.status == 503);
    ensure!(server.get("/v2/health/ready")?.status == 200);
    Ok(())
}
