//! Tests of the number of threads and descriptors of a server with many models.

use super::serve::{Serve, serve};
use crate::harness::Repository;
use anyhow::{Result, ensure};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::process::Stdio;
use std::thread::available_parallelism;

const MODELS: usize = 100;

/// The number of threads and descriptors by which two servers may differ for reasons other than their models, such
/// as a thread that ends a little later.
const TOLERANCE: usize = 8;

/// Returns a server of this many tables without handlers.
fn server(models: usize) -> Result<(Repository, Serve)> {
    let mut repository = Repository::empty()?;
    for model in 0..models {
        repository = repository.with_model(&format!("table{model}"), "progression", None)?;
    }
    let mut command = serve(repository.path());
    command.stderr(Stdio::null());
    let server = Serve::spawn(command)?;
    Ok((repository, server))
}

/// Returns the numbers of threads and of open descriptors.
fn threads_and_descriptors(server: &Serve) -> Result<[usize; 2]> {
    let count = |what: &str| -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/{what}", server.id()))?.count())
    };
    Ok([count("task")?, count("fd")?])
}

/// Calls every model once, on a new connection each.
fn call_all(server: &Serve) -> Result<()> {
    let data = vec![1.0; 10];
    let body = json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data,
    }] })
    .to_string();
    for model in 0..MODELS {
        let mut stream = TcpStream::connect(server.address())?;
        write!(
            stream,
            "POST /v2/models/table{model}/infer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        ensure!(reply.starts_with("HTTP/1.1 200"), "table{model}: {reply}");
    }
    Ok(())
}

#[test]
fn threads_and_descriptors_do_not_grow_with_the_number_of_models() -> Result<()> {
    let (_one, few) = server(1)?;
    let [threads, descriptors] = threads_and_descriptors(&few)?;
    drop(few);
    let (_many, server) = server(MODELS)?;
    let [before, open] = threads_and_descriptors(&server)?;
    ensure!(
        before <= threads + TOLERANCE && open <= descriptors + TOLERANCE,
        "{threads} threads and {descriptors} descriptors with one model, {before} and {open} with {MODELS}"
    );
    call_all(&server)?;
    let [after, open] = threads_and_descriptors(&server)?;
    // The most computations of all graphs together.
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let graphs = 16.max(4 * cores);
    ensure!(
        after <= threads + graphs + TOLERANCE && open <= descriptors + TOLERANCE,
        "{after} threads and {open} descriptors after {MODELS} models were called; before, {before} threads"
    );
    Ok(())
}
