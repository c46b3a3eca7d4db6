//! Tests of random numbers and the time, which handlers have only if their model grants them.

use crate::harness::{Repository, TestServer, component, output};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The line of `model.toml` with which the guest is loaded.
const ALL: &str = "grants = [\"random\", \"clock\"]";

/// Creates a repository with a model `m` that is served by the guest, with this line in `[handler]`.
fn repository(grants: &str) -> Result<Repository> {
    let guest = std::fs::read(component("granted_guest")?)?;
    Repository::empty()?
        .with_file("m/1/handler.wasm", guest)?
        .with_file("m/model.toml", format!("[handler]\n{grants}\n"))
}

/// Returns a response with this number of bytes.
fn infer(server: &TestServer, length: u32) -> Result<Value> {
    let request = json!({ "inputs": [{
        "name": "length", "datatype": "UINT32", "shape": [1], "data": [length],
    }] });
    server.infer("m", &request)?.ok()
}

fn integers(response: &Value, name: &str) -> Result<Vec<u64>> {
    let data = output(response, name)?["data"]
        .as_array()
        .context("no array")?;
    let integers = data
        .iter()
        .map(|value| value.as_u64().context("no integer"));
    integers.collect()
}

/// Returns the milliseconds since the Unix epoch.
fn now() -> Result<u64> {
    Ok(SystemTime::now()
        .duration_since(UNIX_EPOCH)?
        .as_millis()
        .try_into()?)
}

/// Returns the reason in the index for which the model cannot be served.
fn reason(grants: &str) -> Result<String> {
    let server = TestServer::start(repository(grants)?)?;
    let index = server.request("POST /v2/repository/index", &[], b"")?;
    let index = index.ok()?;
    let reason = index[0]["reason"].as_str();
    let reason = reason.with_context(|| format!("it is served: {index}"))?;
    Ok(reason.to_owned())
}

#[test]
fn random_numbers_differ_within_a_request_and_between_requests() -> Result<()> {
    let server = TestServer::start(repository(ALL)?)?;
    let mut numbers = BTreeSet::new();
    for _ in 0..4 {
        numbers.extend(integers(&infer(&server, 8)?, "numbers")?);
    }
    assert_eq!(numbers.len(), 8, "{numbers:?}");
    Ok(())
}

#[test]
fn both_versions_of_getrandom_have_random_numbers_and_those_of_a_seed() -> Result<()> {
    let server = TestServer::start(repository(ALL)?)?;
    let (mut numbers, mut seeded) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..4 {
        let response = infer(&server, 1)?;
        numbers.extend(integers(&response, "getrandom")?);
        seeded.extend(integers(&response, "getrandom_seeded")?);
    }
    assert_eq!(numbers.len(), 8, "{numbers:?}");
    // One of each version, which every request has again.
    assert_eq!(seeded.len(), 2, "{seeded:?}");
    ensure!(numbers.is_disjoint(&seeded), "{numbers:?} {seeded:?}");
    Ok(())
}

#[test]
fn a_buffer_beyond_the_limit_of_one_call_is_filled_by_the_sdk() -> Result<()> {
    let server = TestServer::start(repository(ALL)?)?;
    let bytes = integers(&infer(&server, 100_000)?, "bytes")?;
    assert_eq!(bytes.len(), 100_000);
    // Of random bytes, 16 in a row are never zero.
    ensure!(
        bytes
            .chunks(16)
            .all(|chunk| chunk.iter().any(|byte| *byte != 0))
    );
    Ok(())
}

#[test]
fn the_time_of_a_request_is_that_at_which_it_began() -> Result<()> {
    let server = TestServer::start(repository(ALL)?)?;
    let before = now()?;
    let times = integers(&infer(&server, 100_000)?, "milliseconds")?;
    let after = now()?;
    ensure!(times[0] == times[1], "{times:?}");
    ensure!(
        (before..=after).contains(&times[0]),
        "{before} {times:?} {after}"
    );
    Ok(())
}

#[test]
fn a_handler_without_a_grant_is_refused_with_the_line_that_grants_it() -> Result<()> {
    let expected =
        format!(", which its model does not grant: write `{ALL}` under [handler] in model.toml");
    for (grants, import) in [
        ("", "wasi:"),
        ("grants = ['random']", "wasi:clocks/wall-clock@0.2."),
        ("grants = ['clock']", "wasi:random/random@0.2."),
    ] {
        let reason = reason(grants)?;
        let start = format!("the handler is rejected: the component imports `{import}");
        ensure!(
            reason.starts_with(&start) && reason.ends_with(&expected),
            "{reason}"
        );
    }
    Ok(())
}

#[test]
fn an_unknown_grant_is_an_error_with_the_known_ones() -> Result<()> {
    let reason = reason("grants = ['random', 'files']")?;
    let expected = "`files` is not a grant; expected one of `random`, `clock`";
    ensure!(
        reason.starts_with("its model.toml is not valid: line "),
        "{reason}"
    );
    ensure!(reason.ends_with(expected), "{reason}");
    Ok(())
}

#[test]
fn a_check_names_the_missing_grants() -> Result<()> {
    let repository = repository("")?;
    // Compiled guests are kept for the next test.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let check = Command::new(env!("CARGO_BIN_EXE_wisp"))
        .env("XDG_CACHE_HOME", cache)
        .arg("check")
        .arg(repository.path().join("m"))
        .output()?;
    let text = String::from_utf8_lossy(&check.stdout).into_owned()
        + &String::from_utf8_lossy(&check.stderr);
    ensure!(!check.status.success(), "{text}");
    ensure!(
        text.contains(&format!("write `{ALL}` under [handler]")),
        "{text}"
    );
    Ok(())
}
