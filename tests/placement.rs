//! Tests of the threads on which a handler's calls run: inline, on one thread, or queued, with the
//! computation on the threads of the graph. The gate counts the computations on each.

use crate::harness::gate::InlineCompute;
use crate::harness::{
    Gate, Repository, Response, TIMEOUT, TestOptions, TestServer, wait_for, wait_until,
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::thread::scope;
use std::time::Duration;
use tokio::task::JoinSet;
use wisp_serving::ServingOptions;

const MODEL: &str = "progression";

/// The number of calls or computations of a model that may wait for its threads.
const QUEUE: usize = 1024;

/// The number of threads of a graph, and of handlers of one model, in the harness.
const THREADS: usize = 2;

fn patient() -> Value {
    let data = vec![1.0; 10];
    json!({ "inputs": [{ "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data }] })
}

fn server(gate: &Gate, serving: ServingOptions) -> Result<TestServer> {
    let options = TestOptions {
        gate: Some(gate.clone()),
        serving,
        ..TestOptions::default()
    };
    TestServer::with_options(Repository::of(&[MODEL])?, options)
}

fn serving() -> ServingOptions {
    ServingOptions {
        request_timeout: TIMEOUT,
        ..TestOptions::default().serving
    }
}

#[test]
fn a_handler_with_a_fast_graph_is_called_inline() -> Result<()> {
    let gate = Gate::inline(InlineCompute::Computes);
    // Queued computations wait at the gate for ever, so only inline calls succeed.
    let serving = ServingOptions {
        request_timeout: Duration::from_secs(1),
        ..TestOptions::default().serving
    };
    let server = server(&gate, serving)?;
    // On a busy machine, an inline call may exceed its budget and be repeated.
    let attempts: Vec<Response> = (0..5)
        .map(|_| server.infer(MODEL, &patient()))
        .collect::<Result<_>>()?;
    ensure!(gate.inline_computations() > 0, "no computation was inline");
    ensure!(
        attempts.iter().any(|response| response.status == 200),
        "{attempts:?}"
    );
    Ok(())
}

#[test]
fn a_handler_with_a_graph_of_unknown_speed_is_called_queued() -> Result<()> {
    let gate = Gate::default();
    gate.open();
    let server = server(&gate, serving())?;
    server.infer(MODEL, &patient())?.ok()?;
    ensure!(gate.computations() == 1 && gate.inline_computations() == 0);
    Ok(())
}

#[test]
fn a_handler_whose_model_file_sets_the_number_of_computations_is_called_queued() -> Result<()> {
    let gate = Gate::inline(InlineCompute::Computes);
    gate.open();
    let repository =
        Repository::of(&[MODEL])?.with_file(&format!("{MODEL}/model.toml"), "instances = 2")?;
    let options = TestOptions {
        gate: Some(gate.clone()),
        serving: serving(),
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    server.infer(MODEL, &patient())?.ok()?;
    ensure!(gate.computations() == 1 && gate.inline_computations() == 0);
    Ok(())
}

#[test]
fn an_inline_call_that_exceeds_its_budget_is_repeated_as_a_queued_one() -> Result<()> {
    is_repeated(InlineCompute::EndsCancelled)
}

#[test]
fn an_inline_call_that_needs_a_preparation_is_repeated_as_a_queued_one() -> Result<()> {
    is_repeated(InlineCompute::IsUnprepared)
}

/// Checks that a call whose inline computation behaves like this succeeds as a queued one.
fn is_repeated(inline: InlineCompute) -> Result<()> {
    let gate = Gate::inline(inline);
    gate.open();
    let server = server(&gate, serving())?;
    server.infer(MODEL, &patient())?.ok()?;
    let computations = [gate.inline_computations(), gate.computations()];
    ensure!(computations == [1, 1], "{computations:?}");
    Ok(())
}

#[test]
fn a_model_whose_inline_calls_exceed_their_budget_is_called_queued() -> Result<()> {
    let gate = Gate::inline(InlineCompute::EndsCancelled);
    gate.open();
    let server = server(&gate, serving())?;
    let mut inline = 0;
    wait_for("a call that is queued at once", || {
        let called = server.infer(MODEL, &patient()).and_then(|r| r.ok());
        let before = std::mem::replace(&mut inline, gate.inline_computations());
        (called.is_err() || inline == before).then_some(called)
    })??;
    for _ in 0..5 {
        server.infer(MODEL, &patient())?.ok()?;
    }
    ensure!(
        gate.inline_computations() == inline,
        "they are inline again"
    );
    Ok(())
}

#[test]
fn an_inline_computation_that_panics_fails_its_own_request_only() -> Result<()> {
    let gate = Gate::inline(InlineCompute::Panics);
    gate.open();
    let server = server(&gate, serving())?;
    // Repeated more often than there are threads, to detect a lost thread.
    for _ in 0..2 * THREADS {
        let response = server.infer(MODEL, &patient())?;
        match response.status {
            // Later calls may be queued.
            200 => {}
            _ => drop(response.error(500)?),
        }
    }
    ensure!(gate.inline_computations() > 0);
    server.get("/v2/health/live")?.ok()?;
    Ok(())
}

#[test]
fn a_call_waits_for_an_instance_until_another_one_ends() -> Result<()> {
    let gate = Gate::default();
    let options = ServingOptions {
        max_instances: 1,
        ..serving()
    };
    let server = server(&gate, options)?;
    scope(|scope| {
        let infer = || server.infer(MODEL, &patient());
        let calls = [scope.spawn(infer), scope.spawn(infer)];
        gate.wait_for(1)?;
        wait_until("the other call waits", || {
            server.serving().admitted_requests() == 2
        })?;
        ensure!(server.serving().live_instances() == 1);
        ensure!(gate.computations() == 1);
        gate.open();
        for call in calls {
            call.join().expect("a client does not panic")?.ok()?;
        }
        Ok(())
    })
}

#[test]
fn a_computation_above_the_queue_of_its_graph_is_refused() -> Result<()> {
    let gate = Gate::default();
    let repository = Repository::empty()?.with_model(MODEL, "progression", None)?;
    one_above_the_queue_is_refused(&gate, repository, || gate.wait_for(THREADS))
}

#[test]
fn a_call_above_the_queue_of_its_model_is_refused() -> Result<()> {
    let gate = Gate::inline(InlineCompute::Waits);
    let repository = Repository::of(&[MODEL])?;
    one_above_the_queue_is_refused(&gate, repository, || gate.wait_for_inline(THREADS))
}

/// Occupies the threads, fills the queue, and checks that exactly one more request is refused at once.
fn one_above_the_queue_is_refused(
    gate: &Gate,
    repository: Repository,
    threads_are_busy: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let options = TestOptions {
        gate: Some(gate.clone()),
        serving: ServingOptions {
            max_requests: 2 * QUEUE,
            ..serving()
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    let runtime = tokio::runtime::Runtime::new()?;
    // Requests are sent from within the runtime, which runs their tasks.
    let _entered = runtime.enter();
    let mut clients = runtime.block_on(Clients::connect(server.address()))?;
    clients.send(THREADS)?;
    threads_are_busy()?;
    clients.send(QUEUE + 1)?;
    let first = runtime.block_on(clients.status())?;
    ensure!(first == 503, "the first response has status {first}");
    gate.open();
    for _ in 0..THREADS + QUEUE {
        let status = runtime.block_on(clients.status())?;
        ensure!(status == 200, "another response has status {status}");
    }
    Ok(())
}

/// The number of connections that carry the requests; the server limits the streams of each.
const CONNECTIONS: usize = 16;

/// HTTP/2 connections with many requests at the same time.
struct Clients {
    connections: Vec<SendRequest<Full<Bytes>>>,
    /// The tasks that drive the connections, which end with the clients.
    _drivers: JoinSet<()>,
    requests: JoinSet<Result<u16>>,
}

impl Clients {
    async fn connect(address: SocketAddr) -> Result<Clients> {
        let (mut connections, mut drivers) = (Vec::new(), JoinSet::new());
        for _ in 0..CONNECTIONS {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let (client, connection) =
                handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            connections.push(client);
            drivers.spawn(async {
                // An error shows in the responses.
                let _ = connection.await;
            });
        }
        Ok(Clients {
            connections,
            _drivers: drivers,
            requests: JoinSet::new(),
        })
    }

    /// Sends this many inferences, evenly over the connections.
    fn send(&mut self, count: usize) -> Result<()> {
        let body = Bytes::from(serde_json::to_vec(&patient())?);
        for number in 0..count {
            let request = Request::post(format!("http://localhost/v2/models/{MODEL}/infer"))
                .body(Full::new(body.clone()))?;
            let response = self.connections[number % CONNECTIONS].send_request(request);
            let status = async { Ok(response.await?.status().as_u16()) };
            self.requests.spawn(status);
        }
        Ok(())
    }

    /// Waits for the next response and returns its status.
    async fn status(&mut self) -> Result<u16> {
        let next = tokio::time::timeout(TIMEOUT, self.requests.join_next());
        next.await?.context("no request is left")??
    }
}
