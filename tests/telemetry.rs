//! Tests of what a server reports about its requests: spans for a collector of OpenTelemetry, lines in the log, and
//! payloads as CloudEvents. A Python script starts the program, and reads the reports with the libraries that others
//! wrote for them.

use crate::harness::Repository;
use crate::python::{TELEMETRY, run_in};
use anyhow::{Context, Result};
use std::path::Path;

/// Runs one check of the script.
fn check(check: &str) -> Result<()> {
    let repository = Repository::of(&["progression", "wine"])?
        .with_file("wine/model.toml", "payload_log = false\n")?;
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let paths = [repository.path(), &cache].map(|path| path.to_str());
    let [Some(repository), Some(cache)] = paths else {
        anyhow::bail!("a path that is not Unicode");
    };
    let wisp = env!("CARGO_BIN_EXE_wisp");
    let arguments = [check, wisp, repository, cache];
    run_in(&TELEMETRY, "telemetry.py", &arguments).with_context(|| check.to_owned())?;
    Ok(())
}

#[test]
fn a_collector_gets_the_spans_of_requests_and_their_phases() -> Result<()> {
    check("traces")
}

#[test]
fn the_spans_are_those_that_a_collector_sends_on() -> Result<()> {
    check("traces_through_a_collector")
}

#[test]
fn the_client_decides_about_its_trace_and_the_ratio_about_others() -> Result<()> {
    check("sampling")
}

#[test]
fn payloads_are_cloud_events_in_a_file() -> Result<()> {
    check("payloads_in_a_file")
}

#[test]
fn payloads_are_cloud_events_at_a_server() -> Result<()> {
    check("payloads_at_a_server")
}

#[test]
fn reports_that_nobody_takes_cost_no_request() -> Result<()> {
    check("dead_ends")
}
