//! Tests of servers that load models with their first requests: the start, and the memory of the process.

use super::serve::{Serve, serve};
use crate::harness::onnx::Graph;
use crate::harness::{Repository, Response, scale, wait_until};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

/// The number of inputs of each model, whose weights take 4 bytes for each of their squares.
const SIZE: u16 = 256;

/// The memory of the process besides its models that may grow while it answers: threads, connections, and blocks that
/// the allocator keeps for a moment.
const OTHER_BYTES: u64 = 64 << 20;

/// Returns the file of a model with weights of 256 KiB, which differ for each number.
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

#[test]
fn the_memory_of_the_process_stays_within_the_budget() -> Result<()> {
    let count = u16::try_from(60 * scale().clamp(1, 50))?;
    let mut repository = Repository::empty()?;
    for number in 0..count {
        repository = repository.with_file(&format!("m{number}/1/model.onnx"), weights(number))?;
    }
    // About a tenth of the models: their weights, and a second copy of them.
    let budget = u64::from(count / 10) * (600 << 10);
    let mut command = serve(repository.path());
    command
        .arg("--load-on-demand")
        .args(["--max-model-memory-bytes", &budget.to_string()])
        .stderr(Stdio::null());
    let server = Serve::spawn(command)?;
    let expected = format!("{count} of {count} models ready ({count} on demand)");
    ensure!(server.banner.contains(&expected), "{}", server.banner);
    ensure!(!server.banner.contains("m0 1"), "{}", server.banner);
    let before = resident(&server)?;
    for number in 0..count {
        call(&server, number)?;
    }
    let limit = before + budget + budget / 10 + OTHER_BYTES;
    wait_until("the models leave the memory of the process", || {
        resident(&server).is_ok_and(|bytes| bytes <= limit)
    })
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
