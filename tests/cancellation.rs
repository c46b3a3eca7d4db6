//! Tests that work is cancelled when its client disconnects, in every protocol. They count the
//! computations.

use crate::harness::frames::{End, Frames};
use crate::harness::grpc::field;
use crate::harness::{Gate, Repository, TIMEOUT, TestOptions, TestServer, wait_until};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use wisp_serving::ServingOptions;

/// The number of requests that keep all threads of the graph busy; the harness gives it two threads.
const BUSY: usize = 2;

/// A client with a request that has no response yet.
enum Client {
    Http(TcpStream),
    Http2(Frames),
    /// A client that has sent a deadline, and then does nothing.
    Patient(#[expect(dead_code, reason = "it only has to be there")] Frames),
}

impl Client {
    fn http(server: &TestServer, path: &str, body: &Value) -> Result<Client> {
        let body = body.to_string();
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n");
        let mut stream = TcpStream::connect(server.address())?;
        stream.write_all([head, body].concat().as_bytes())?;
        Ok(Client::Http(stream))
    }

    /// Sends `ModelInfer`, or `ModelStreamInfer` with a stream that stays open.
    fn grpc(server: &TestServer, end: End, headers: &[(&str, &str)]) -> Result<Frames> {
        let path = match end {
            End::Ended => "/inference.GRPCInferenceService/ModelInfer",
            End::Open => "/inference.GRPCInferenceService/ModelStreamInfer",
        };
        let message = infer_message();
        let length = u32::try_from(message.len())?.to_be_bytes();
        let body = [&[0], &length[..], &message].concat();
        let mut all = vec![("content-type", "application/grpc"), ("te", "trailers")];
        all.extend_from_slice(headers);
        Frames::post(server.grpc_address(), path, &all, (&body, end))
    }

    fn leave(&mut self) -> Result<()> {
        match self {
            Client::Http(stream) => Ok(stream.shutdown(Shutdown::Both)?),
            Client::Http2(frames) => frames.cancel(),
            Client::Patient(_) => Ok(()),
        }
    }
}

/// Returns a V2 request with ten measurements.
fn v2() -> Value {
    let data = vec![1.0; 10];
    json!({ "inputs": [{ "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data }] })
}

/// Returns the same request as a `ModelInferRequest`. All its parts are shorter than 128 bytes.
fn infer_message() -> Vec<u8> {
    let name = field(1, b"features");
    let input = [name, field(2, b"FP32"), field(3, &[1, 10])].concat();
    let raw = 1.0_f32.to_le_bytes().repeat(10);
    [field(1, b"progression"), field(5, &input), field(7, &raw)].concat()
}

/// Waits until `requests` requests hold a permit and as many handler instances are alive.
fn wait_for(server: &TestServer, requests: usize, what: &str) -> Result<()> {
    let serving = server.serving();
    let now = || [serving.admitted_requests(), serving.live_instances()];
    wait_until(what, || now() == [requests; 2])
        .with_context(|| format!("{:?} requests and instances, not {requests}", now()))
}

#[test]
fn queued_computations_of_a_disconnected_client_are_skipped() -> Result<()> {
    let gate = Gate::default();
    let defaults = TestOptions::default();
    let options = TestOptions {
        gate: Some(gate.clone()),
        serving: ServingOptions {
            request_timeout: TIMEOUT,
            ..defaults.serving
        },
        ..defaults
    };
    let server = TestServer::with_options(Repository::of(&["progression"])?, options)?;
    let infer = "/v2/models/progression/infer";
    let features = vec![1.0; 10];
    let rows = json!({ "instances": [features] });
    let one = json!({ "features": features });
    let json = v2().to_string();
    let grpc = |end, headers: &[_]| Client::grpc(&server, end, headers);
    let frames = |body: &[u8]| Frames::post(server.address(), infer, &[], (body, End::Ended));
    let limit = [("grpc-timeout", "300m")];
    type Send<'a> = &'a dyn Fn() -> Result<Client>;
    let clients: [(&str, Send<'_>); 8] = [
        ("HTTP/1.1", &|| Client::http(&server, infer, &v2())),
        ("TF Serving", &|| {
            Client::http(&server, "/v1/models/progression:predict", &rows)
        }),
        ("the simple JSON API", &|| {
            Client::http(&server, "/predict", &one)
        }),
        ("HTTP/2", &|| frames(json.as_bytes()).map(Client::Http2)),
        ("gRPC", &|| grpc(End::Ended, &[]).map(Client::Http2)),
        ("a stream", &|| grpc(End::Open, &[]).map(Client::Http2)),
        ("gRPC, late", &|| {
            grpc(End::Ended, &limit).map(Client::Patient)
        }),
        ("a stream, late", &|| {
            grpc(End::Open, &limit).map(Client::Patient)
        }),
    ];
    std::thread::scope(|scope| {
        let served = |_| scope.spawn(|| server.infer("progression", &v2())?.ok());
        let busy: Vec<_> = (0..BUSY).map(served).collect();
        gate.wait_for(BUSY)?;
        let queued = || -> Result<()> {
            wait_for(&server, BUSY, "at the start")?;
            for (what, send) in clients {
                let mut client = send()?;
                wait_for(&server, BUSY + 1, what)?;
                client.leave()?;
                wait_for(&server, BUSY, what)?;
            }
            Ok(())
        };
        let queued = queued();
        // Opened in any case, since the clients cannot end before.
        gate.open();
        queued?;
        for busy in busy {
            busy.join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        // This request waits for its turn behind everything that was queued.
        server.infer("progression", &v2())?.ok()?;
        let computations = gate.computations();
        ensure!(computations == BUSY + 1, "{computations} computations");
        wait_for(&server, 0, "in the end")
    })
}
