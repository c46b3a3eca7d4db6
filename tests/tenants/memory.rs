//! Tests of the memory that one tenant leaves to the others.

use super::{Tenants, add, administer, new_tenant, patient};
use crate::harness::onnx::{FLOAT, Graph, Tensor};
use crate::harness::{Repository, TestOptions, TestServer, base64, root, wait_until};
use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use wisp_serving::ServingOptions;
use wisp_serving::memory_pressure::PressureStage;
use wisp_serving::tenants::role::Role;
use wisp_tensor::MemoryBudget;

const MIB: usize = 1 << 20;

/// The memory limit of the process, which this test reports the use of.
const LIMIT: u64 = 1 << 30;

/// Returns the parameters of a load with this graph.
fn with_graph(graph: &[u8]) -> Value {
    json!({ "parameters": { "config": "{}", "file:1/model.onnx": base64(graph) } })
}

/// Returns a graph with 1 MiB of weights.
fn large_graph() -> Vec<u8> {
    let weights = Tensor {
        raw_data: vec![0; 1 << 20],
        ..Tensor::of("w", FLOAT, &[512, 512])
    };
    Graph::from_x_to_y(&[None, Some(512)])
        .initializer(weights)
        .node("MatMul", &["x", "w"], &["y"])
        .bytes()
}

/// Starts a server with the tenants `acme` and `other`, and returns their keys, which may deploy.
fn start(options: TestOptions) -> Result<(Tenants, [String; 2])> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let mut keys = Vec::new();
    let tenants = Tenants::with_options((public, Repository::empty()?), options, |file| {
        for id in ["acme", "other"] {
            keys.push(add(file, &new_tenant(id, Role::Deploy)?)?);
        }
        Ok(())
    })?;
    match <[String; 2]>::try_from(keys) {
        Ok(keys) => Ok((tenants, keys)),
        Err(keys) => bail!("{} keys", keys.len()),
    }
}

#[test]
fn without_memory_the_largest_tenant_loses_the_models_that_no_request_loads_again() -> Result<()> {
    let (tenants, [acme, other]) = start(TestOptions {
        serving: ServingOptions {
            memory_limit_bytes: Some(LIMIT),
            ..TestOptions::default().serving
        },
        ..TestOptions::default()
    })?;
    let small = fs::read(root().join("examples/progression/1/model.onnx"))?;
    let load = |model: &str, key: &str, graph: &[u8]| {
        let request = format!("POST /v2/repository/models/{model}/load");
        tenants.ask(&request, key, &with_graph(graph))
    };
    load("large", &acme, &large_graph())?.ok()?;
    load("small", &other, &small)?.ok()?;
    let pressure = tenants.server.serving().memory_pressure();
    pressure.observe(LIMIT / 100 * 91);
    // A little more than the use at which the stage ends.
    pressure.observe(LIMIT / 100 * 87 + 100);
    ensure!(
        pressure.stage() == PressureStage::RefuseLarge,
        "{pressure:?}"
    );
    let namespaces = tenants.server.namespaces();
    namespaces.relieve_memory();
    let index = tenants.ask("POST /v2/repository/index", &acme, &Value::Null)?;
    let index = index.ok()?;
    let entries = index.as_array().into_iter().flatten();
    let mut reasons = entries.filter(|entry| entry["name"] == "large");
    let reason = reasons.next().map(|entry| entry["reason"].to_string());
    ensure!(
        reason.is_some_and(|reason| reason.contains("short of memory")),
        "{index}"
    );
    let refused = tenants.infer("large", &acme)?;
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    ensure!(
        refused.status != 200 && text.contains("load it again"),
        "{text}"
    );
    tenants.infer("small", &other)?.ok()?;
    // Memory that is free again is free for all.
    pressure.observe(0);
    namespaces.relieve_memory();
    load("large", &acme, &large_graph())?.ok()?;
    tenants.infer("small", &other)?.ok()?;
    Ok(())
}

#[test]
fn a_load_that_would_end_those_of_others_is_refused_before_it_begins() -> Result<()> {
    let (tenants, [acme, other]) = start(TestOptions {
        serving: ServingOptions {
            memory_limit_bytes: Some(LIMIT),
            ..TestOptions::default().serving
        },
        ..TestOptions::default()
    })?;
    let pressure = tenants.server.serving().memory_pressure();
    // 1 MB below the stage in which no load begins.
    pressure.observe(LIMIT / 100 * 90 - 1_000_000);
    let load = tenants.ask(
        "POST /v2/repository/models/large/load",
        &acme,
        &with_graph(&large_graph()),
    )?;
    let refused = load.error(503)?;
    ensure!(refused.contains("short of memory"), "{refused}");
    let small = fs::read(root().join("examples/progression/1/model.onnx"))?;
    let load = tenants.ask(
        "POST /v2/repository/models/small/load",
        &other,
        &with_graph(&small),
    )?;
    load.ok()?;
    let answer = tenants.ask("POST /v2/models/small/infer", &other, &patient(1))?;
    answer.ok()?;
    Ok(())
}

/// Sends most of a body, and leaves the rest.
fn begin(tenants: &Tenants, key: &str, bytes: usize) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(tenants.server.address())?;
    let head = format!(
        "POST /v2/models/shared/infer HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         content-length: {}\r\n\r\n",
        bytes + 1
    );
    stream.write_all(head.as_bytes())?;
    // The server may refuse it before all has been sent.
    let _ = stream.write_all(&vec![b' '; bytes]);
    Ok(stream)
}

#[test]
fn bodies_of_one_tenant_leave_memory_for_those_of_others() -> Result<()> {
    let memory = Arc::new(MemoryBudget::new(16 * MIB));
    let (tenants, [acme, other]) = start(TestOptions {
        serving: ServingOptions {
            memory: Arc::clone(&memory),
            ..TestOptions::default().serving
        },
        ..TestOptions::default()
    })?;
    // More than the whole budget, each of them small enough for its last part.
    let mut sending = Vec::new();
    for _ in 0..40 {
        sending.push(begin(&tenants, &acme, MIB / 2)?);
    }
    wait_until("the bodies have arrived", || memory.reserved() > 13 * MIB)?;
    for _ in 0..20 {
        tenants.infer("shared", &other)?.ok()?;
    }
    let reserved = memory.reserved();
    ensure!(reserved <= 16 * MIB / 8 * 7, "{reserved} bytes");
    ensure!(reserved > 10 * MIB, "they are not held any more");
    drop(sending);
    wait_until("the memory is free again", || memory.reserved() == 0)?;
    tenants.infer("shared", &acme)?.ok()?;
    Ok(())
}

#[test]
fn without_tenants_bodies_use_the_whole_budget() -> Result<()> {
    let memory = Arc::new(MemoryBudget::new(16 * MIB));
    let options = TestOptions {
        serving: ServingOptions {
            memory: Arc::clone(&memory),
            ..TestOptions::default().serving
        },
        ..TestOptions::default()
    };
    let repository = Repository::empty()?.with_model("shared", "progression", None)?;
    let server = TestServer::with_options(repository, options)?;
    let mut sending = Vec::new();
    for _ in 0..40 {
        let mut stream = TcpStream::connect(server.address())?;
        let head = format!(
            "POST /v2/models/shared/infer HTTP/1.1\r\nhost: localhost\r\ncontent-length: {MIB}\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let _ = stream.write_all(&vec![b' '; MIB / 2]);
        sending.push(stream);
    }
    wait_until("the budget is used up", || memory.reserved() > 15 * MIB)
}

#[test]
fn tenants_are_changed_while_requests_use_all_memory() -> Result<()> {
    let memory = Arc::new(MemoryBudget::new(MIB));
    let options = TestOptions {
        serving: ServingOptions {
            memory: Arc::clone(&memory),
            ..TestOptions::default().serving
        },
        ..TestOptions::default()
    };
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let mut operator = String::new();
    let tenants = Tenants::with_options((public, Repository::empty()?), options, |file| {
        operator = add(file, &new_tenant("operator", Role::Admin)?)?;
        Ok(())
    })?;
    let mut rest = memory.reservation();
    ensure!(rest.grow(MIB), "it is used already");
    let refused = tenants.infer("shared", &operator)?;
    ensure!(refused.status == 503, "{refused:?}");
    let address = tenants.server.admin_address();
    let request = ("POST /v1/tenants", Some(operator.as_str()));
    administer(address, request, &json!({ "id": "late" }))?.ok()?;
    let request = ("DELETE /v1/tenants/late", Some(operator.as_str()));
    administer(address, request, &Value::Null)?.ok()?;
    Ok(())
}
