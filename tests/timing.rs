//! Tests of the timings in a response: `Server-Timing`, in every REST protocol.

use crate::harness::{Repository, Response, TestServer};
use anyhow::{Context, Result, ensure};
use serde_json::json;

const FEATURES: &str = "[54, 2, 36.1, 115, 163, 98.4, 43, 4, 4.6821, 101]";

/// Returns the phases of a response and their milliseconds, in order.
fn phases(response: &Response) -> Result<Vec<(String, f64)>> {
    response.ok()?;
    let header = response.header("server-timing").context("no header")?;
    let phase = |text: &str| {
        let (name, milliseconds) = text.split_once(";dur=")?;
        Some((name.to_owned(), milliseconds.parse().ok()?))
    };
    let phases = header.split(", ").map(phase).collect::<Option<Vec<_>>>();
    phases.with_context(|| header.to_owned())
}

fn server() -> Result<TestServer> {
    let repository = Repository::of(&["progression"])?.with_model("bare", "progression", None)?;
    TestServer::start(repository)
}

#[test]
fn phases_come_in_their_order_and_are_within_the_total() -> Result<()> {
    let server = server()?;
    let features: serde_json::Value = serde_json::from_str(FEATURES)?;
    let input = json!({"name": "features", "datatype": "FP32", "shape": [1, 10], "data": features});
    let request = json!({"inputs": [input]});
    let all = [
        "read",
        "decode",
        "queue",
        "preprocess",
        "compute",
        "postprocess",
        "encode",
        "total",
    ];
    for (model, happened) in [
        (
            "progression",
            ["queue", "preprocess", "compute", "total"].as_slice(),
        ),
        ("bare", &["queue", "compute", "total"]),
    ] {
        let phases = phases(&server.infer(model, &request)?)?;
        let names: Vec<&str> = phases.iter().map(|(name, _)| name.as_str()).collect();
        let in_order = all.iter().filter(|name| names.contains(name));
        ensure!(in_order.eq(&names), "{names:?}");
        ensure!(
            happened.iter().all(|name| names.contains(name)),
            "{names:?}"
        );
        // A model without a handler has no preprocessing.
        ensure!(
            names.contains(&"preprocess") == (model != "bare"),
            "{names:?}"
        );
        let (last, parts) = phases.split_last().context("no phases")?;
        let sum: f64 = parts.iter().map(|(_, milliseconds)| milliseconds).sum();
        ensure!(sum <= last.1 + 1e-6, "{phases:?}");
    }
    Ok(())
}

#[test]
fn every_protocol_but_no_error_contains_the_timings() -> Result<()> {
    let server = server()?;
    for (path, body) in [
        (
            "/v1/models/bare:predict",
            format!("{{\"instances\": [{FEATURES}]}}"),
        ),
        ("/predict/bare", format!("{{\"features\": {FEATURES}}}")),
        (
            "/batch_predict/bare",
            format!("{{\"features\": [{FEATURES}]}}"),
        ),
    ] {
        let response = server.request(&format!("POST {path}"), &[], body.as_bytes())?;
        ensure!(
            phases(&response)?.iter().any(|(name, _)| name == "compute"),
            "{path}"
        );
    }
    let refused = server.infer("bare", &json!({"inputs": []}))?;
    refused.error(400)?;
    ensure!(refused.header("server-timing").is_none());
    ensure!(server.get("/v2")?.header("server-timing").is_none());
    Ok(())
}
