//! Tests of what requests of different tenants share, which is a batch of the very same public model and nothing else.

use super::{Tenants, add, new_tenant, patient};
use crate::harness::{Repository, component, output};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::thread::scope;
use wisp_serving::tenants::role::Role;

const CACHED: &str = "[cache]\nenabled = true\nttl_seconds = 3600\n";

/// Two requests of one row are computed together, and none without another one.
const PAIRS: &str =
    "batching = { max_batch_size = 2, max_queue_delay_microseconds = 3600000000 }\n";

/// The largest difference between the number of a row alone and in a batch.
const TOLERANCE: f64 = 0.001;

/// The tenants of a test, whose keys are in this order. The statistics of public models are for `local` only.
const IDS: [&str; 3] = ["acme", "other", "local"];

fn start(public: Repository, directory: Repository) -> Result<(Tenants, [String; 3])> {
    let mut keys = Vec::new();
    let tenants = Tenants::start(public, directory, |file| {
        for id in IDS {
            keys.push(add(file, &new_tenant(id, Role::Deploy)?)?);
        }
        Ok(())
    })?;
    match <[String; 3]>::try_from(keys) {
        Ok(keys) => Ok((tenants, keys)),
        Err(keys) => bail!("{} keys", keys.len()),
    }
}

/// Returns the hits and misses of the cache of a model, as a tenant sees them.
fn cached(tenants: &Tenants, model: &str, key: &str) -> Result<[Value; 2]> {
    let path = format!("/v2/models/{model}/stats");
    let statistics = tenants.get(&path, key)?.ok()?;
    let counts = &statistics["model_stats"][0]["inference_stats"];
    Ok(["cache_hit", "cache_miss"].map(|name| counts[name]["count"].clone()))
}

/// Returns the computed batches of a model and their rows, as a tenant sees them.
fn computed(tenants: &Tenants, model: &str, key: &str) -> Result<[Value; 2]> {
    let path = format!("/v2/models/{model}/stats");
    let statistics = tenants.get(&path, key)?.ok()?;
    let counts = &statistics["model_stats"][0];
    Ok(["execution_count", "inference_count"].map(|name| counts[name].clone()))
}

/// Calls a model for a patient of this number.
fn progression(tenants: &Tenants, (model, key): (&str, &str), number: usize) -> Result<f64> {
    let request = format!("POST /v2/models/{model}/infer");
    let answer = tenants.ask(&request, key, &patient(number))?.ok()?;
    let found = output(&answer, "progression")?["data"][0].as_f64();
    found.context("no number")
}

/// Calls a model with all these keys at the same time, each for a patient of its own, and checks each answer with that of
/// `single`, which computes no batches.
fn call_at_once(tenants: &Tenants, model: &str, keys: &[&str]) -> Result<()> {
    let answered: Vec<Result<f64>> = scope(|scope| {
        let clients = keys.iter().enumerate();
        let clients: Vec<_> = clients
            .map(|(number, key)| scope.spawn(move || progression(tenants, (model, key), number)))
            .collect();
        let joined = clients.into_iter().map(|client| client.join());
        joined
            .map(|joined| joined.unwrap_or_else(|_| bail!("a client has panicked")))
            .collect()
    });
    for ((number, key), found) in keys.iter().enumerate().zip(answered) {
        let expected = progression(tenants, ("single", key), number)?;
        let found = found?;
        ensure!((found - expected).abs() < TOLERANCE, "{found}, {expected}");
    }
    Ok(())
}

#[test]
fn own_models_of_one_name_answer_from_their_own_files_and_caches() -> Result<()> {
    let public = Repository::empty()?.with_model("single", "progression", None)?;
    let handler = component("progression")?;
    let directory = Repository::empty()?
        .with_model("tenants/acme/models/m", "progression", None)?
        .with_file("tenants/acme/models/m/model.toml", CACHED)?
        // The handler has another output beside that of the graph.
        .with_model("tenants/other/models/m", "progression", Some(handler))?
        .with_file("tenants/other/models/m/model.toml", CACHED)?;
    let (tenants, [acme, other, _]) = start(public, directory)?;
    for round in 0..3 {
        for (key, has_handler) in [(&acme, false), (&other, true)] {
            let answer = tenants.infer("m", key)?.ok()?;
            ensure!(
                output(&answer, "corrected").is_ok() == has_handler,
                "{answer}"
            );
            // The first request of each is a miss, whatever the other one has asked.
            ensure!(cached(&tenants, "m", key)? == [json!(round), json!(1)]);
        }
    }
    Ok(())
}

#[test]
fn own_models_with_the_same_files_share_no_response() -> Result<()> {
    let public = Repository::empty()?.with_model("single", "progression", None)?;
    let directory = Repository::empty()?
        .with_model("tenants/acme/models/m", "progression", None)?
        .with_file("tenants/acme/models/m/model.toml", CACHED)?
        .with_model("tenants/other/models/m", "progression", None)?
        .with_file("tenants/other/models/m/model.toml", CACHED)?;
    let (tenants, [acme, other, _]) = start(public, directory)?;
    tenants.infer("m", &acme)?.ok()?;
    // A header that names somebody else changes nothing.
    let header = format!("Bearer {other}");
    let headers = [("authorization", header.as_str()), ("x-tenant", "acme")];
    let body = serde_json::to_vec(&patient(1))?;
    let request = "POST /v2/models/m/infer";
    tenants.server.request(request, &headers, &body)?.ok()?;
    ensure!(cached(&tenants, "m", &other)? == [json!(0), json!(1)]);
    tenants.infer("m", &other)?.ok()?;
    ensure!(cached(&tenants, "m", &other)? == [json!(1), json!(1)]);
    ensure!(cached(&tenants, "m", &acme)? == [json!(0), json!(1)]);
    Ok(())
}

#[test]
fn requests_of_two_tenants_share_a_batch_of_a_public_model_only() -> Result<()> {
    let public = Repository::empty()?
        .with_model("single", "progression", None)?
        .with_file("single/model.toml", "batching = \"off\"\n")?
        .with_model("public", "progression", None)?
        .with_file("public/model.toml", PAIRS)?;
    let directory = Repository::empty()?
        .with_model("tenants/acme/models/own", "progression", None)?
        .with_file("tenants/acme/models/own/model.toml", PAIRS)?
        .with_model("tenants/other/models/own", "progression", None)?
        .with_file("tenants/other/models/own/model.toml", PAIRS)?;
    let (tenants, [acme, other, local]) = start(public, directory)?;
    // Each of these would wait for ever for another request of the same tenant.
    call_at_once(&tenants, "own", &[&acme, &other, &other, &acme])?;
    for key in [&acme, &other] {
        let computed = computed(&tenants, "own", key)?;
        ensure!(computed == [json!(1), json!(2)], "{computed:?}");
    }
    // Each of these would wait for ever for the other one.
    call_at_once(&tenants, "public", &[&acme, &other])?;
    let computed = computed(&tenants, "public", &local)?;
    ensure!(computed == [json!(1), json!(2)], "{computed:?}");
    Ok(())
}
