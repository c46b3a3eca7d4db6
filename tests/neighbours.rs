//! Tests of the cost of one model's requests for other models: at most the work that is already running,
//! and never a place in the queue.
//!
//! Timings are measured manually and are in docs/src/benchmarks.md; these tests check which requests get responses while
//! others do not.

use crate::harness::victim::{check_class, victim_is_well, wine};
use crate::harness::{
    Connection, Repository, TestOptions, TestServer, component, scale, wait_until,
};
use anyhow::{Result, ensure};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use wisp_sandbox::limits::Limits;
use wisp_serving::ServingOptions;

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(600);

/// The model file of the victim. It is called on a fiber, since it computes on other threads, two at a time.
const QUEUED: &str = "instances = 2\n";

/// Returns options under which no loop is ended.
fn endless(serving: ServingOptions) -> TestOptions {
    TestOptions {
        serving: ServingOptions {
            request_timeout: FOR_EVER,
            ..serving
        },
        limits: Limits {
            guest_time: FOR_EVER,
            ..Limits::default()
        },
        ..TestOptions::default()
    }
}

/// Begins a request that gets no response while the test runs.
fn begin(server: &TestServer, behaviour: &str) -> Result<TcpStream> {
    let body = json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour],
    }] })
    .to_string();
    let length = body.len();
    let mut stream = TcpStream::connect(server.address())?;
    let head = format!(
        "POST /v2/models/hostile/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all([head, body].concat().as_bytes())?;
    Ok(stream)
}

#[test]
fn endless_loops_of_one_model_leave_instances_and_threads_to_others() -> Result<()> {
    let repository = Repository::of(&["wine"])?
        .with_example("wine", "queued")?
        .with_file("queued/model.toml", QUEUED)?
        .with_model("hostile", "progression", Some(component("hostile_guest")?))?;
    let options = endless(TestOptions::default().serving);
    // More requests than instances.
    let loops = options.serving.max_instances * 4;
    let server = TestServer::with_options(repository, options)?;
    let mut looping = Vec::new();
    for _ in 0..loops {
        looping.push(begin(&server, "loop")?);
    }
    wait_until("all loops are admitted", || {
        server.serving().admitted_requests() == loops
    })?;
    let mut connection = Connection::open(server.address())?;
    for _ in 0..20 * scale() {
        for model in ["wine", "queued"] {
            check_class(&connection.infer(model, &wine())?)?;
        }
    }
    ensure!(
        server.serving().admitted_requests() == loops,
        "none of the loops has ended meanwhile"
    );
    Ok(())
}

#[test]
fn a_model_that_fills_the_server_leaves_requests_to_the_others() -> Result<()> {
    let repository = Repository::of(&["wine"])?.with_model(
        "hostile",
        "progression",
        Some(component("hostile_guest")?),
    )?;
    let options = endless(ServingOptions {
        max_requests: 16,
        ..TestOptions::default().serving
    });
    let server = TestServer::with_options(repository, options)?;
    let mut looping = Vec::new();
    for _ in 0..14 {
        looping.push(begin(&server, "loop")?);
    }
    wait_until("all loops are admitted", || {
        server.serving().admitted_requests() == 14
    })?;
    let request = json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": ["honest"],
    }] });
    for _ in 0..10 {
        let refusal = server.infer("hostile", &request)?.error(503)?;
        ensure!(refusal.contains("share"), "{refusal}");
        victim_is_well(&server)?;
    }
    ensure!(
        server.serving().admission_counts().share_used == 10,
        "{:?}",
        server.serving().admission_counts()
    );
    ensure!(
        server.serving().admitted_requests() >= 14,
        "a loop has ended"
    );
    Ok(())
}
