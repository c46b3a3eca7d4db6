//! Hostile handlers: each gets a clean error within its limit, and its neighbours never notice.

use crate::harness::{Repository, TestOptions, TestServer, component, output, scale};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use wisp_sandbox::limits::Limits;

/// An evil model, and `wine` as its victim.
fn server(limits: Limits) -> Result<TestServer> {
    let repository =
        Repository::of(&["wine"])?.with_model("evil", "progression", Some(component("evil")?))?;
    let options = TestOptions {
        limits,
        ..TestOptions::default()
    };
    TestServer::with_options(repository, options)
}

/// The default of two seconds, shortened: what is tested is that it ends.
fn short() -> Limits {
    Limits {
        guest_time: Duration::from_millis(200),
        ..Limits::default()
    }
}

fn behave(behaviour: &str) -> Value {
    json!({ "inputs": [{
        "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour],
    }] })
}

fn outcome(response: &Value) -> Result<&str> {
    let outcome = &output(response, "outcome")?["data"][0];
    outcome.as_str().context("the outcome is no string")
}

/// A wine of the second class, whatever else is going on.
fn victim_is_well(server: &TestServer) -> Result<()> {
    let request = json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, 13],
        "data": [12.37, 0.94, 1.36, 10.6, 88.0, 1.98, 0.57, 0.28, 0.42, 1.95, 1.05, 1.82, 520.0],
    }] });
    let response = server.infer("wine", &request)?.ok()?;
    ensure!(
        output(&response, "class")?["data"][0] == "class_1",
        "{response}"
    );
    Ok(())
}

/// The behaviour ends in this status and a text that contains this, and the victim is well.
fn is_refused(behaviour: &str, status: u16, text: &str) -> Result<()> {
    is_refused_within(Limits::default(), behaviour, status, text)
}

/// The same, under other limits than the default.
fn is_refused_within(limits: Limits, behaviour: &str, status: u16, text: &str) -> Result<()> {
    let server = server(limits)?;
    // More often than there are threads: none of them may be lost.
    for _ in 0..4 {
        let error = server.infer("evil", &behave(behaviour))?.error(status);
        let error = error.with_context(|| behaviour.to_owned())?;
        ensure!(error.contains(text), "{behaviour}: {error}");
        victim_is_well(&server)?;
    }
    let honest = server.infer("evil", &behave("honest"))?.ok()?;
    ensure!(outcome(&honest)? == "honest");
    Ok(())
}

/// The guest is told by a wasi:nn error, and lives on.
fn guest_is_told(behaviour: &str, code: &str) -> Result<()> {
    let server = server(Limits::default())?;
    let response = server.infer("evil", &behave(behaviour))?.ok()?;
    ensure!(outcome(&response)? == code, "{behaviour}: {response}");
    victim_is_well(&server)
}

#[test]
fn an_endless_loop_ends_with_its_time() -> Result<()> {
    is_refused_within(short(), "loop", 504, "ran out of time")
}

#[test]
fn endless_bulk_memory_operations_end_with_their_time() -> Result<()> {
    is_refused_within(short(), "fill", 504, "ran out of time")
}

#[test]
fn memory_growth_ends_at_the_limit() -> Result<()> {
    is_refused("grow", 502, "handler failed")
}

#[test]
fn a_stack_overflow_is_a_trap_and_not_a_crash() -> Result<()> {
    is_refused("recurse", 502, "handler failed")
}

#[test]
fn a_trapping_handler_answers_502_and_spares_its_neighbours() -> Result<()> {
    is_refused("trap", 502, "handler failed")
}

#[test]
fn an_answer_larger_than_the_limit_is_not_taken() -> Result<()> {
    is_refused("flood", 502, "handler failed")
}

#[test]
fn millions_of_tensor_handles_end_at_the_limit() -> Result<()> {
    is_refused("handles", 502, "handler failed")
}

#[test]
fn a_guest_that_goes_on_making_invalid_tensors_is_ended() -> Result<()> {
    is_refused("misfits", 502, "handler failed")
}

#[test]
fn a_tensor_whose_bytes_do_not_fit_its_shape_is_an_invalid_argument() -> Result<()> {
    guest_is_told("misfit", "invalid-argument")
}

#[test]
fn a_shape_whose_product_overflows_is_an_invalid_argument() -> Result<()> {
    guest_is_told("overflow", "invalid-argument")
}

#[test]
fn a_rank_beyond_reason_is_an_invalid_argument() -> Result<()> {
    guest_is_told("rank", "invalid-argument")
}

#[test]
fn a_tensor_of_another_type_than_the_graphs_is_an_invalid_argument() -> Result<()> {
    guest_is_told("wrong_type", "invalid-argument")
}

#[test]
fn a_graph_of_another_model_is_not_found() -> Result<()> {
    guest_is_told("foreign_graph", "not-found")
}

#[test]
fn a_graph_from_bytes_is_not_supported() -> Result<()> {
    guest_is_told("load_bytes", "unsupported-operation")
}

#[test]
fn tensors_beyond_the_hosts_budget_are_too_large() -> Result<()> {
    guest_is_told("hoard", "too-large")
}

#[test]
fn a_component_that_asks_for_more_than_it_is_granted_is_not_served() -> Result<()> {
    let wasm =
        wat::parse_str(r#"(component (import "wasi:filesystem/preopens@0.2.0" (instance)))"#)?;
    let repository = Repository::of(&["wine"])?
        .with_model("thief", "progression", None)?
        .with_file("thief/1/handler.wasm", wasm)?;
    let server = TestServer::start(repository)?;
    let error = server.infer("thief", &behave("honest"))?.error(503)?;
    ensure!(error.contains("wasi:filesystem/preopens@0.2.0"), "{error}");
    let index = server
        .request("POST /v2/repository/index", &[], b"")?
        .ok()?;
    let thief = index
        .as_array()
        .and_then(|index| index.iter().find(|m| m["name"] == "thief"));
    ensure!(
        thief.is_some_and(|thief| thief["state"] == "UNAVAILABLE"),
        "{index}"
    );
    victim_is_well(&server)
}

#[test]
fn a_secret_planted_in_memory_is_never_seen_again() -> Result<()> {
    let server = server(Limits::default())?;
    let secret = |behaviour: &str| {
        // Inverted, so that the request that looks for it does not bring it along.
        json!({ "inputs": [
            { "name": "behaviour", "datatype": "BYTES", "shape": [1], "data": [behaviour] },
            { "name": "secret", "datatype": "BYTES", "shape": [1], "data": ["nobody may read this"] },
        ] })
    };
    // The figure in the README is for WISP_TEST_SCALE=100: 10,000 requests.
    for round in 0..50 * scale() {
        let planted = server.infer("evil", &secret("plant"))?.ok()?;
        ensure!(outcome(&planted)? != "0");
        let found = server.infer("evil", &secret("scan"))?.ok()?;
        ensure!(outcome(&found)? == "0", "round {round}: {found}");
    }
    Ok(())
}
