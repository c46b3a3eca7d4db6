//! Tests of V2 over REST and gRPC with the responses of a real Triton 2.51: Wisp gets the same requests for equal
//! models, and its responses differ only where `tests/fixtures/triton/deviations.txt` says so, and why.
//!
//! Responses of REST are compared by class: success or an error of the client; those of gRPC by code. Of a success the
//! fields, their types and their values are compared. Any difference from the list fails the test, in both directions;
//! with `WISP_BLESS=1` the test updates the list, and fails until new deviations have a reason.

mod case;
mod difference;
mod grpc_call;
mod listed;
pub(crate) mod models;

use self::case::Case;
use self::listed::Listed;
use crate::harness::{TestServer, root};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// The groups of cases of REST, in the order in which they are sent: the last one loads and unloads models.
const GROUPS: [&str; 15] = [
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
    "failing",
    "generate",
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
    let server = TestServer::start(models::repository_of_calls()?)?;
    let deviations = grpc_call::deviations(&server)?.into_iter();
    found.extend(deviations.map(|deviation| format!("grpc/{deviation}")));
    let path = root().join("tests/fixtures/triton/deviations.txt");
    let mut listed = Listed::parse(&std::fs::read_to_string(&path)?);
    if std::env::var("WISP_BLESS").as_deref() == Ok("1") {
        let updated = listed.updated(&found);
        std::fs::write(path, &updated)?;
        listed = Listed::parse(&updated);
    }
    let known = listed.deviations();
    let new: Vec<_> = found.difference(&known).cloned().collect();
    ensure!(new.is_empty(), "new deviations:\n{}", new.join("\n"));
    let gone: Vec<_> = known.difference(&found).cloned().collect();
    ensure!(
        gone.is_empty(),
        "listed deviations that are gone:\n{}",
        gone.join("\n")
    );
    let unexplained = listed.without_reason();
    ensure!(
        unexplained.is_empty(),
        "deviations without a reason:\n{}",
        unexplained.join("\n")
    );
    Ok(())
}
