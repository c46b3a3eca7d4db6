//! Tests of what a server measures of each tenant and model: the header of responses, and the numbers of the log.
//!
//! `cli::metering` has the tests of the log as a file, `tenants` those with several tenants.

use crate::harness::victim::wine;
use crate::harness::{
    Gate, Repository, Response, TIMEOUT, TestOptions, TestServer, component, wait_until,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, Graph, LoadOptions, ModelSource};
use wisp_serving::ServingOptions;
use wisp_serving::metering::usage_book::UsageBook;
use wisp_serving::metering::usage_counters::UsageCounters;
use wisp_tensor::{NamedTensor, Signature};

/// Starts a server that shows its clients what they use, and returns it with the usage of all.
fn server(repository: Repository) -> Result<(TestServer, Arc<UsageBook>)> {
    let default = TestOptions::default();
    let options = TestOptions {
        serving: ServingOptions {
            shows_usage: true,
            ..default.serving
        },
        ..TestOptions::default()
    };
    let book = Arc::clone(&options.serving.usage);
    Ok((TestServer::with_options(repository, options)?, book))
}

/// Returns the value of an entry of the header, such as `dur` of `guest`.
fn shown<'a>(response: &'a Response, name: &str) -> Result<&'a str> {
    let header = response.header("wisp-usage").context("no header")?;
    let entry = header
        .split(", ")
        .find_map(|entry| entry.strip_prefix(name));
    let value = entry.and_then(|entry| entry.split_once('='));
    let (_, value) = value.with_context(|| header.to_owned())?;
    Ok(value)
}

/// Returns the usage of the only tenant and model that was used since the last call.
fn taken(book: &UsageBook) -> Result<UsageCounters> {
    let mut taken = book.take();
    let (key, used) = taken.pop().context("nothing was used")?;
    ensure!(taken.is_empty(), "more than one model was used: {taken:?}");
    ensure!((key.tenant.as_str(), key.owner.as_str()) == ("local", "local"));
    Ok(used)
}

fn behave(behaviour: &str) -> Value {
    json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour],
    }] })
}

#[test]
fn the_header_of_a_response_is_what_is_added_to_the_usage() -> Result<()> {
    let (server, book) = server(Repository::of(&["wine"])?)?;
    let response = server.infer("wine", &wine())?;
    response.ok()?;
    let used = taken(&book)?;
    ensure!((used.requests, used.failures, used.cached) == (1, 0, 0));
    ensure!(used.guest > Duration::ZERO && used.backend > Duration::ZERO);
    // Thirteen numbers of four bytes.
    ensure!((used.bytes_in, shown(&response, "in")?) == (52, "52"));
    ensure!(shown(&response, "out")? == used.bytes_out.to_string());
    ensure!(shown(&response, "memory")? == used.peak_memory_bytes.to_string());
    for (name, time) in [("guest", used.guest), ("backend", used.backend)] {
        let milliseconds: f64 = shown(&response, name)?.parse()?;
        let difference = milliseconds - time.as_secs_f64() * 1000.0;
        // Whole microseconds.
        ensure!(difference.abs() <= 0.001, "{name}: {milliseconds} {time:?}");
    }
    ensure!(book.take().is_empty());
    Ok(())
}

#[test]
fn without_the_setting_no_response_has_the_header() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    let response = server.infer("wine", &wine())?;
    response.ok()?;
    ensure!(response.header("wisp-usage").is_none());
    Ok(())
}

#[test]
fn a_request_that_fails_is_charged_for_what_it_has_used() -> Result<()> {
    let hostile = Some(component("hostile_guest")?);
    let limits = "[limits]\nguest_time_milliseconds = 100";
    let repository = Repository::empty()?
        .with_model("hostile", "progression", hostile)?
        .with_file("hostile/model.toml", limits)?;
    let (server, book) = server(repository)?;
    let response = server.infer("hostile", &behave("loop"))?;
    response.error(504)?;
    ensure!(response.header("wisp-usage").is_none());
    let used = taken(&book)?;
    ensure!((used.requests, used.failures, used.bytes_out) == (0, 1, 0));
    // However little of the processor it got, it was ended by its own use of it.
    ensure!(used.guest >= Duration::from_millis(100), "{used:?}");
    ensure!(used.peak_memory_bytes > 0);
    Ok(())
}

/// A backend whose graphs compute with tract, and then fail for a request that begins with -1.
#[derive(Debug)]
struct Failing;

#[derive(Debug)]
struct FailingGraph(Arc<dyn Graph>);

impl Backend for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn version(&self) -> String {
        "0".to_owned()
    }

    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        let graph = Tract::new().load(source, options)?;
        Ok(Arc::new(FailingGraph(graph)))
    }
}

impl Graph for FailingGraph {
    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        let outputs = self.0.compute(inputs)?;
        let bad = (-1.0_f32).to_le_bytes();
        match inputs.iter().any(|i| i.tensor.content().starts_with(&bad)) {
            true => Err(BackendError::Compute {
                backend: "failing",
                reason: "the request begins with -1".to_owned(),
            }),
            false => Ok(outputs),
        }
    }
}

/// Returns a request for `progression` without its handler.
fn patient(first: f64) -> Value {
    let mut data = vec![1.0; 10];
    data[0] = first;
    json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data,
    }] })
}

#[test]
fn a_computation_that_fails_is_charged() -> Result<()> {
    let repository = Repository::empty()?
        .with_model("bare", "progression", None)?
        .with_file(
            "bare/model.toml",
            "backend = \"failing\"\nbatching = \"off\"\n",
        )?;
    let options = TestOptions {
        backends: vec![Arc::new(Failing)],
        ..TestOptions::default()
    };
    let book = Arc::clone(&options.serving.usage);
    let server = TestServer::with_options(repository, options)?;
    server.infer("bare", &patient(-1.0))?.error(500)?;
    let failed = taken(&book)?;
    ensure!((failed.requests, failed.failures) == (0, 1), "{failed:?}");
    ensure!(failed.backend > Duration::ZERO && failed.bytes_in == 40);
    server.infer("bare", &patient(1.0))?.ok()?;
    let computed = taken(&book)?;
    ensure!((computed.requests, computed.failures) == (1, 0));
    ensure!(computed.backend > Duration::ZERO);
    Ok(())
}

#[test]
fn a_computation_is_charged_whose_client_has_gone_meanwhile() -> Result<()> {
    let gate = Gate::default();
    let default = TestOptions::default();
    let options = TestOptions {
        gate: Some(gate.clone()),
        serving: ServingOptions {
            request_timeout: TIMEOUT,
            ..default.serving
        },
        ..TestOptions::default()
    };
    let book = Arc::clone(&options.serving.usage);
    let repository = Repository::empty()?.with_model("bare", "progression", None)?;
    let server = TestServer::with_options(repository, options)?;
    let body = patient(1.0).to_string();
    let length = body.len();
    let head = format!(
        "POST /v2/models/bare/infer HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut client = TcpStream::connect(server.address())?;
    client.write_all([head, body].concat().as_bytes())?;
    gate.wait_for(1)?;
    client.shutdown(Shutdown::Both)?;
    let serving = server.serving();
    wait_until("the request has ended", || serving.admitted_requests() == 0)?;
    let before = book.take();
    gate.open();
    ensure!(
        before.is_empty(),
        "its computation has not ended: {before:?}"
    );
    let mut used = None;
    wait_until("the computation has ended", || {
        used = book.take().pop();
        used.is_some()
    })?;
    let (_, used) = used.context("nothing was used")?;
    ensure!((used.requests, used.failures) == (0, 1), "{used:?}");
    ensure!(used.backend > Duration::ZERO, "{used:?}");
    Ok(())
}

#[test]
fn a_model_without_a_handler_has_no_guest() -> Result<()> {
    let repository = Repository::empty()?.with_model("bare", "progression", None)?;
    let (server, book) = server(repository)?;
    let data = vec![1.0; 20];
    let request = json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [2, 10], "data": data,
    }] });
    server.infer("bare", &request)?.ok()?;
    let used = taken(&book)?;
    ensure!((used.guest, used.peak_memory_bytes) == (Duration::ZERO, 0));
    ensure!(used.backend > Duration::ZERO);
    // Two rows of ten numbers, and two numbers.
    ensure!((used.bytes_in, used.bytes_out) == (80, 8), "{used:?}");
    Ok(())
}

#[test]
fn a_response_from_the_cache_costs_neither_a_guest_nor_a_backend() -> Result<()> {
    let cached = "[cache]\nenabled = true\nttl_seconds = 3600\n";
    let repository = Repository::of(&["wine"])?.with_file("wine/model.toml", cached)?;
    let (server, book) = server(repository)?;
    server.infer("wine", &wine())?.ok()?;
    let first = book.take();
    ensure!(!first.is_empty());
    let response = server.infer("wine", &wine())?;
    response.ok()?;
    let header = response.header("wisp-usage").unwrap_or_default();
    ensure!(
        header.starts_with("guest;dur=0.000, backend;dur=0.000, "),
        "{header}"
    );
    ensure!(header.ends_with(", cached"), "{header}");
    let used = taken(&book)?;
    ensure!((used.requests, used.cached) == (1, 1));
    ensure!((used.guest, used.backend) == (Duration::ZERO, Duration::ZERO));
    ensure!(used.bytes_out > 0);
    Ok(())
}
