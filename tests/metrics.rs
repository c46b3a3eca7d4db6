//! Tests of the page of metrics: its form, its numbers, and the listener that serves it.
//!
//! `page` reads it with the parser of Prometheus' client, and `deployment` checks the files for Prometheus and Grafana.

mod deployment;
mod page;

use self::page::{Page, promtool};
use crate::harness::victim::wine;
use crate::harness::{
    Gate, Repository, Response, TIMEOUT, TestOptions, TestServer, component, exchange, scale,
    wait_until,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::thread::scope;
use wisp_server::ServerOptions;
use wisp_serving::ServingOptions;

/// The labels of the model `wine`.
const WINE: [(&str, &str); 2] = [("model", "wine"), ("version", "1")];

/// Sends a request to the listener of the metrics.
fn ask(server: &TestServer, method_and_path: &str, host: &str) -> Result<Response> {
    let head = format!("{method_and_path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    exchange(server.metrics_address(), head.as_bytes())
}

/// Returns the text of the current page.
fn text(server: &TestServer) -> Result<String> {
    let response = ask(server, "GET /metrics", "127.0.0.1")?;
    ensure!(response.status == 200, "{response:?}");
    Ok(String::from_utf8(response.body)?)
}

/// Returns the current page.
fn page(server: &TestServer) -> Result<Page> {
    Page::parse(&text(server)?)
}

/// Returns a request that lacks the input of `wine`.
fn incomplete() -> Value {
    json!({ "inputs": [] })
}

/// Returns a request for a behavior of the hostile guest.
fn behave(behaviour: &str) -> Value {
    json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour],
    }] })
}

#[test]
fn the_counters_equal_the_statistics_of_the_model() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    let before = page(&server)?;
    for reason in ["REJECTED", "CANCELED", "BACKEND", "OTHER"] {
        let labels = [WINE[0], WINE[1], ("reason", reason)];
        ensure!(before.value("nv_inference_request_failure", &labels)? == 0.0);
    }
    for _ in 0..3 {
        server.infer("wine", &wine())?.ok()?;
    }
    for _ in 0..2 {
        server.infer("wine", &incomplete())?.error(400)?;
    }
    let page = page(&server)?;
    let statistics = server.get("/v2/models/wine/stats")?.ok()?;
    let statistics = &statistics["model_stats"][0];
    let inferences = &statistics["inference_stats"];
    let count = |value: &Value| value.as_f64().context("no number");
    for (name, expected) in [
        (
            "nv_inference_request_success",
            &inferences["success"]["count"],
        ),
        ("nv_inference_count", &statistics["inference_count"]),
        ("nv_inference_exec_count", &statistics["execution_count"]),
    ] {
        let expected = count(expected)?;
        ensure!(page.value(name, &WINE)? == expected, "{name}: {expected}");
    }
    for (name, phase) in [
        ("request", "success"),
        ("queue", "queue"),
        ("compute_input", "compute_input"),
        ("compute_infer", "compute_infer"),
        ("compute_output", "compute_output"),
    ] {
        let microseconds = (count(&inferences[phase]["ns"])? / 1e3).floor();
        let counter = format!("nv_inference_{name}_duration_us");
        ensure!(page.value(&counter, &WINE)? == microseconds, "{counter}");
        let histogram = format!("nv_inference_{name}_duration_histogram_us");
        let sum = page.value(&format!("{histogram}_sum"), &WINE)?;
        let number = page.value(&format!("{histogram}_count"), &WINE)?;
        ensure!((sum, number) == (microseconds, 3.0), "{histogram}");
    }
    let failed = [WINE[0], WINE[1], ("reason", "OTHER")];
    ensure!(page.value("nv_inference_request_failure", &failed)? == 2.0);
    ensure!(count(&inferences["fail"]["count"])? == 2.0);
    let outcome = |status| [WINE[0], ("model_version", "1"), ("status", status)];
    ensure!(page.value("prediction_total", &outcome("success"))? == 3.0);
    ensure!(page.value("prediction_total", &outcome("error"))? == 2.0);
    let version = [WINE[0], ("model_version", "1")];
    ensure!(page.value("prediction_latency_seconds_count", &version)? == 3.0);
    ensure!(page.value("model_load_time_seconds", &version)? > 0.0);
    ensure!(page.value("wisp_execution_rows_count", &WINE)? == 3.0);
    ensure!(page.value("wisp_sandbox_instances_created_total", &WINE)? >= 3.0);
    let created = page.value("wisp_sandbox_instantiation_seconds_total", &WINE)?;
    let guests = page.value("wisp_sandbox_guest_seconds_total", &WINE)?;
    ensure!(created > 0.0 && created < guests, "{created}, {guests}");
    ensure!(page.value("wisp_sandbox_peak_memory_bytes", &WINE)? >= 65536.0);
    ensure!(page.value("nv_inference_pending_request_count", &WINE)? == 0.0);
    ensure!(page.value("wisp_admission_admitted_total", &[])? == 5.0);
    Ok(())
}

#[test]
fn promtool_objects_to_names_of_triton_only() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?.with_broken_model()?)?;
    server.infer("wine", &wine())?.ok()?;
    let mut check = promtool()?
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = check.stdin.take().context("the input is piped")?;
    input.write_all(text(&server)?.as_bytes())?;
    drop(input);
    let output = check.wait_with_output()?;
    let objections = String::from_utf8(output.stderr)?;
    // 3 means that the page is valid, and its names are not those that Prometheus recommends.
    ensure!(output.status.code() == Some(3), "{objections}");
    for line in objections.lines() {
        ensure!(line.starts_with("nv_"), "{line}");
    }
    Ok(())
}

#[test]
fn models_that_do_not_exist_have_no_series() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    let series = page(&server)?.series();
    for name in ["nobody", "no\"body", "wine/versions/77"] {
        let response = server.infer(name, &wine())?;
        ensure!(response.status >= 400, "{response:?}");
    }
    server.get("/v2/models/nobody/stats")?;
    server.get("/no/such/route")?.error(404)?;
    let page = page(&server)?;
    ensure!(page.series() == series, "{:?}", page.series());
    let failures = |target| {
        let labels = [
            ("target", target),
            ("party", "client"),
            ("reason", "not_found"),
        ];
        page.value("wisp_request_failures_total", &labels)
    };
    ensure!(failures("other")? >= 3.0, "{}", failures("other")?);
    ensure!(failures("server")? >= 1.0, "{}", failures("server")?);
    // However many there are, and whatever their headers say.
    let (before, names) = (failures("other")?, 200 * scale());
    let body = wine().to_string();
    for number in 0..names {
        let canary = format!("canary-{number}");
        let headers = ["x-request-id", "user-agent", "x-canary"].map(|name| (name, &*canary));
        let request = format!("POST /v2/models/{canary}/infer");
        server
            .request(&request, &headers, body.as_bytes())?
            .error(404)?;
    }
    ensure!(!text(&server)?.contains("canary"), "text of clients");
    let page = Page::parse(&text(&server)?)?;
    ensure!(page.series() == series, "{:?}", page.series());
    let labels = [
        ("target", "other"),
        ("party", "client"),
        ("reason", "not_found"),
    ];
    let counted = page.value("wisp_request_failures_total", &labels)? - before;
    ensure!(counted == names as f64, "{counted} of {names}");
    Ok(())
}

#[test]
fn traps_are_counted_by_their_cause() -> Result<()> {
    let hostile = component("hostile_guest")?;
    let repository = Repository::empty()?.with_model("hostile", "progression", Some(hostile))?;
    let server = TestServer::start(repository)?;
    let response = server.infer("hostile", &behave("panic"))?;
    ensure!(response.status == 502, "{response:?}");
    let page = page(&server)?;
    let of = |label| [("model", "hostile"), ("version", "1"), label];
    ensure!(page.value("wisp_sandbox_traps_total", &of(("cause", "panic")))? == 1.0);
    ensure!(page.value("wisp_sandbox_traps_total", &of(("cause", "other")))? == 0.0);
    let failed = of(("reason", "BACKEND"));
    ensure!(page.value("nv_inference_request_failure", &failed)? == 1.0);
    Ok(())
}

/// Starts a server of the model `bare`, whose computations wait at the gate, with one request at a time.
fn gated(gate: &Gate) -> Result<TestServer> {
    let options = TestOptions {
        gate: Some(gate.clone()),
        serving: ServingOptions {
            max_requests: 1,
            request_timeout: TIMEOUT,
            ..ServingOptions::default()
        },
        ..TestOptions::default()
    };
    let repository = Repository::empty()?.with_model("bare", "progression", None)?;
    TestServer::with_options(repository, options)
}

/// Returns a request with ten measurements of a patient.
fn patient() -> Value {
    let data = vec![1.0; 10];
    json!({ "inputs": [{ "name": "features", "datatype": "FP32", "shape": [1, 10], "data": data }] })
}

/// Sends a request to `bare`, and returns its connection once the computation waits at the gate.
fn in_flight(server: &TestServer, gate: &Gate) -> Result<TcpStream> {
    let body = serde_json::to_vec(&patient())?;
    let head = format!(
        "POST /v2/models/bare/infer HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(&[head.as_bytes(), &body].concat())?;
    gate.wait_for(1)?;
    Ok(stream)
}

#[test]
fn refused_and_abandoned_requests_are_counted_apart() -> Result<()> {
    let gate = Gate::default();
    let server = gated(&gate)?;
    let leaving = in_flight(&server, &gate)?;
    let labels = [("model", "bare"), ("version", "1")];
    ensure!(page(&server)?.value("nv_inference_pending_request_count", &labels)? == 1.0);
    server.infer("bare", &patient())?.error(503)?;
    drop(leaving);
    let failed = |reason: &str| -> Result<f64> {
        let labels = [labels[0], labels[1], ("reason", reason)];
        page(&server)?.value("nv_inference_request_failure", &labels)
    };
    wait_until("the abandoned request is counted", || {
        failed("CANCELED").is_ok_and(|count| count == 1.0)
    })?;
    ensure!(failed("REJECTED")? == 1.0);
    let overloaded = [("reason", "overloaded")];
    ensure!(page(&server)?.value("wisp_admission_refusals_total", &overloaded)? == 1.0);
    gate.open();
    Ok(())
}

#[test]
fn the_metrics_are_served_until_the_server_has_drained() -> Result<()> {
    let gate = Gate::default();
    let mut server = gated(&gate)?;
    let mut waiting = in_flight(&server, &gate)?;
    server.stop();
    wait_until("the page shows that the server drains", || {
        let draining = page(&server).and_then(|page| page.value("wisp_draining", &[]));
        draining.is_ok_and(|draining| draining == 1.0)
    })?;
    gate.open();
    let mut reply = Vec::new();
    waiting.read_to_end(&mut reply)?;
    Response::parse(&reply)?.ok()?;
    server.wait()?;
    let address = server.metrics_address();
    wait_until("the listener is closed", || {
        TcpStream::connect(address).is_err()
    })
}

#[test]
fn a_reload_continues_the_counters_and_an_unload_ends_the_series() -> Result<()> {
    const SUCCESS: &str = "nv_inference_request_success";
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    server.infer("wine", &wine())?.ok()?;
    let file = server.repository().join("wine/model.toml");
    std::fs::write(file, "optional = true\n")?;
    let load = |verb: &str| {
        let path = format!("POST /v2/repository/models/wine/{verb}");
        server.request(&path, &[], b"")
    };
    let response = load("load")?;
    ensure!(response.status == 200, "{response:?}");
    server.infer("wine", &wine())?.ok()?;
    ensure!(page(&server)?.value(SUCCESS, &WINE)? == 2.0);
    // The statistics of Triton begin anew.
    let statistics = server.get("/v2/models/wine/stats")?.ok()?;
    ensure!(
        statistics["model_stats"][0]["inference_count"] == 1,
        "{statistics}"
    );
    let response = load("unload")?;
    ensure!(response.status == 200, "{response:?}");
    let page = page(&server)?;
    ensure!(page.value(SUCCESS, &WINE).is_err(), "it is still there");
    ensure!(page.value("wisp_model_ready", &WINE)? == 0.0);
    ensure!(page.value("wisp_model_versions", &[("state", "unloaded")])? == 1.0);
    Ok(())
}

#[test]
fn the_metrics_are_served_while_all_connections_of_the_api_are_taken() -> Result<()> {
    let options = TestOptions {
        server: ServerOptions {
            max_connections: 2,
            ..TestOptions::default().server
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(Repository::of(&["wine"])?, options)?;
    let hold = || -> Result<TcpStream> {
        let mut stream = TcpStream::connect(server.address())?;
        // A request whose body does not arrive keeps its connection busy.
        let head = "POST /v2/models/wine/infer HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    };
    let held = [hold()?, hold()?];
    let waiting = || server.serving().waiting_requests();
    wait_until("both requests wait for their bodies", || waiting() == 2)?;
    server.get("/v2/health/live")?.error(503)?;
    let server = &server;
    scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(move || page(server))).collect();
        for asking in asking {
            let page = asking.join().map_err(|_| anyhow::anyhow!("a panic"))??;
            ensure!(page.value("wisp_connections_open", &[])? == 2.0);
            ensure!(page.value("wisp_connections_max", &[])? == 2.0);
            ensure!(page.value("wisp_connections_refused_total", &[])? == 1.0);
        }
        anyhow::Ok(())
    })?;
    drop(held);
    Ok(())
}

#[test]
fn the_listener_serves_the_page_and_nothing_else() -> Result<()> {
    let server = TestServer::start(Repository::of(&["wine"])?)?;
    let host = server.metrics_address().to_string();
    let page = ask(&server, "GET /metrics", &host)?;
    ensure!(
        page.header("content-type") == Some("text/plain; version=0.0.4; charset=utf-8"),
        "{page:?}"
    );
    let tfs = ask(&server, "GET /monitoring/prometheus/metrics", "localhost")?;
    ensure!(tfs.status == 200, "{tfs:?}");
    let head = ask(&server, "HEAD /metrics", &host)?;
    ensure!(head.status == 200 && head.body.is_empty(), "{head:?}");
    for path in ["/", "/v2", "/v2/health/live", "/metrics/"] {
        ask(&server, &format!("GET {path}"), &host)?.error(404)?;
    }
    let refused = ask(&server, "POST /v2/repository/models/wine/unload", &host)?;
    refused.error(404)?;
    let refused = ask(&server, "DELETE /metrics", &host)?;
    ensure!(refused.header("allow") == Some("GET"), "{refused:?}");
    refused.error(405)?;
    // A web site whose name resolves to this machine.
    ask(&server, "GET /metrics", "hostile.example")?.error(403)?;
    // The API has no such page.
    server.get("/metrics")?.error(404)?;
    Ok(())
}
