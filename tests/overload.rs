//! Tests of overload: excess requests are refused at once, with the protocol's own errors, and the
//! server continues.

use crate::harness::{Gate, Repository, Response, TIMEOUT, TestOptions, TestServer, wait_until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{ScopedJoinHandle, scope};
use std::time::Duration;
use wisp_serving::ServingOptions;

/// Returns a request with ten measurements of a patient.
fn patient() -> Value {
    let data = vec![1.0; 10];
    json!({ "inputs": [{ "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data }] })
}

/// Starts a server whose computations wait at a gate.
fn gated(gate: &Gate, serving: ServingOptions) -> Result<TestServer> {
    let repository = Repository::empty()?.with_model("bare", "progression", None)?;
    let options = TestOptions {
        gate: Some(gate.clone()),
        serving,
        ..TestOptions::default()
    };
    TestServer::with_options(repository, options)
}

fn answer(answering: ScopedJoinHandle<'_, Result<Response>>) -> Result<Response> {
    answering
        .join()
        .map_err(|_| anyhow::anyhow!("a client panicked"))?
}

#[test]
fn a_request_above_the_limit_is_refused_with_a_time_to_retry() -> Result<()> {
    const REFUSED: u64 = 10;
    let gate = Gate::default();
    let serving = ServingOptions {
        max_requests: 1,
        request_timeout: TIMEOUT,
        ..ServingOptions::default()
    };
    let server = gated(&gate, serving)?;
    scope(|scope| {
        let admitted = scope.spawn(|| server.infer("bare", &patient()));
        gate.wait_for(1)?;
        for _ in 0..REFUSED {
            let refusal = server.infer("bare", &patient())?;
            refusal.error(503)?;
            ensure!(refusal.header("retry-after").is_some(), "{refusal:?}");
        }
        ensure!(gate.computations() == 1, "nothing of them is computed");
        gate.open();
        answer(admitted)?.ok()?;
        anyhow::Ok(())
    })?;
    server.infer("bare", &patient())?.ok()?;
    let counts = server.serving().admission_counts();
    ensure!(
        (counts.admitted, counts.overloaded) == (2, REFUSED),
        "{counts:?}"
    );
    Ok(())
}

#[test]
fn a_server_short_of_memory_refuses_inferences_and_answers_questions() -> Result<()> {
    let repository = Repository::empty()?.with_model("bare", "progression", None)?;
    let options = TestOptions {
        serving: ServingOptions {
            memory_limit_bytes: Some(1000),
            ..ServingOptions::default()
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    let pressure = server.serving().memory_pressure();
    pressure.observe(949);
    server.infer("bare", &patient())?.ok()?;
    pressure.observe(950);
    let refusal = server.infer("bare", &patient())?;
    refusal.error(503)?;
    ensure!(refusal.header("retry-after").is_some(), "{refusal:?}");
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/bare"] {
        let answer = server.get(path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
    }
    ensure!(pressure.refused() == 1, "{pressure:?}");
    pressure.observe(0);
    server.infer("bare", &patient())?.ok()?;
    Ok(())
}

#[test]
fn an_incomplete_body_does_not_count_as_an_admitted_request() -> Result<()> {
    let gate = Gate::default();
    gate.open();
    let serving = ServingOptions {
        max_requests: 1,
        ..ServingOptions::default()
    };
    let server = gated(&gate, serving)?;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(server.address())?;
        stream.write_all(
            b"POST /v2/models/bare/infer HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n",
        )?;
        // The server requests the body, so it is waiting for it by now.
        let mut asked = [0; 12];
        stream.read_exact(&mut asked)?;
        ensure!(&asked == b"HTTP/1.1 100");
        slow.push(stream);
    }
    server.infer("bare", &patient())?.ok()?;
    ensure!(server.serving().waiting_requests() == 8);
    Ok(())
}

#[test]
fn the_oldest_of_too_many_incomplete_bodies_is_refused() -> Result<()> {
    let gate = Gate::default();
    gate.open();
    let serving = ServingOptions {
        max_readers: 1,
        ..ServingOptions::default()
    };
    let server = gated(&gate, serving)?;
    let slow = || -> Result<TcpStream> {
        let mut stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(
            b"POST /v2/models/bare/infer HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\n{",
        )?;
        Ok(stream)
    };
    let mut oldest = slow()?;
    wait_until("a body is being read", || {
        server.serving().waiting_requests() > 0
    })?;
    let _newest = slow()?;
    let mut refusal = String::new();
    oldest.read_to_string(&mut refusal)?;
    ensure!(refusal.starts_with("HTTP/1.1 503"), "{refusal}");
    ensure!(refusal.contains("longest"), "{refusal}");
    Ok(())
}

#[test]
fn a_model_with_an_endless_computation_can_be_unloaded() -> Result<()> {
    let gate = Gate::default();
    let serving = ServingOptions {
        request_timeout: Duration::from_millis(100),
        ..ServingOptions::default()
    };
    let server = gated(&gate, serving)?;
    // More requests than threads: each stuck thread is replaced, up to the number of threads.
    for _ in 0..2 {
        server.infer("bare", &patient())?.error(504)?;
    }
    ensure!(gate.computations() == 2, "both have begun");
    for _ in 0..2 {
        server.infer("bare", &patient())?.error(504)?;
    }
    ensure!(gate.computations() == 4, "on threads that were replaced");
    server
        .request("POST /v2/repository/models/bare/unload", &[], b"")?
        .ok()?;
    server.infer("bare", &patient())?.error(404)?;
    server
        .request("POST /v2/repository/models/bare/load", &[], b"")?
        .ok()?;
    gate.open();
    server
        .infer("bare", &patient())?
        .ok()
        .context("the model that was loaded again has a share of its own")?;
    Ok(())
}

#[test]
fn models_whose_computations_do_not_end_leave_threads_to_another() -> Result<()> {
    const STUCK: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let gate = Gate::default();
    let mut repository = Repository::empty()?.with_model("other", "progression", None)?;
    for model in STUCK {
        repository = repository.with_model(model, "progression", None)?;
    }
    let options = TestOptions {
        gate: Some(gate.clone()),
        serving: ServingOptions {
            request_timeout: Duration::from_millis(100),
            ..ServingOptions::default()
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    let server = &server;
    let begin = |models: &[&str], computations: usize| -> Result<()> {
        // On a busy machine, a request may be over before its computation begins.
        for _ in 0..100 {
            if gate.computations() == computations {
                return Ok(());
            }
            scope(|scope| {
                let requests: Vec<_> = models
                    .iter()
                    .map(|model| scope.spawn(move || server.infer(model, &patient())))
                    .collect();
                for request in requests {
                    let answered = answer(request)?;
                    ensure!(answered.status >= 500, "{answered:?}");
                }
                anyhow::Ok(())
            })?;
        }
        anyhow::bail!("{} of {computations} have begun", gate.computations())
    };
    // Of each model, two computations are replaced, and the next two stay in their places: as many as there are threads.
    begin(&STUCK, 4 * STUCK.len())?;
    begin(&["other"], 4 * STUCK.len() + 1)?;
    gate.open();
    server.infer("other", &patient())?.ok()?;
    Ok(())
}
