//! Tests of V2 REST with the responses of a real Triton 2.51: Wisp gets the same requests for equal models,
//! and its responses differ only where `tests/fixtures/triton/deviations.txt` says so.
//!
//! Responses are compared by class: success or an error of the client, and for a success the fields, their
//! types and their values. Any difference from the list fails the test, in both directions; with
//! `WISP_BLESS=1` the test rewrites the list.

mod case;
mod difference;
pub(crate) mod models;

use self::case::Case;
use crate::harness::{TestServer, root};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// The groups of cases, in the order in which they are sent: the last one loads and unloads models.
const GROUPS: [&str; 13] = [
    "batch",
    "index",
    "inputs",
    "metadata",
    "methods",
    "outputs",
    "parameters",
    "raw",
    "routes",
    "settings",
    "shapes",
    "versions",
    "control",
];

#[test]
fn requests_get_the_responses_of_triton_except_for_the_listed_deviations() -> Result<()> {
    let server = TestServer::start(models::repository()?)?;
    let mut found = BTreeSet::new();
    for group in GROUPS {
        for case in Case::group(group)? {
            let deviation = case.deviation(&server).with_context(|| case.id.clone())?;
            found.extend(deviation.map(|deviation| format!("{group}/{}: {deviation}", case.id)));
        }
    }
    let path = root().join("tests/fixtures/triton/deviations.txt");
    if std::env::var("WISP_BLESS").as_deref() == Ok("1") {
        let lines = found.iter().map(|line| format!("{line}\n"));
        return Ok(std::fs::write(path, lines.collect::<String>())?);
    }
    let listed = std::fs::read_to_string(path)?;
    let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
    let new: Vec<_> = found.difference(&listed).cloned().collect();
    ensure!(new.is_empty(), "new deviations:\n{}", new.join("\n"));
    let gone: Vec<_> = listed.difference(&found).cloned().collect();
    ensure!(
        gone.is_empty(),
        "listed deviations that are gone:\n{}",
        gone.join("\n")
    );
    Ok(())
}
