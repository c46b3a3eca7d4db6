//! Tests of every backend with the models of the onnx package's backend tests. A backend passes exactly
//! the cases listed in `tests/fixtures/onnx_nodes/<backend>.txt`, refuses the others with a reason, and
//! computes nothing wrong.
//!
//! Any difference from the list fails the test; with `WISP_BLESS=1` the test rewrites the list. Each
//! case runs in a child process. The outcome of every case is written to `target/onnx_nodes/`.

mod server;

use crate::cases::backend;
use crate::cases::suite::{Listing, Suite};
use crate::harness::child::ChildPool;
use crate::python;
use anyhow::{Context, Result};
use std::time::Duration;

/// The cases, and the child processes in which they run. The memory is enough for the weights of VGG 19 in all
/// representations that a backend keeps, and the timeout many times the time of the slowest case.
static SUITE: Suite = Suite::new(
    "onnx_nodes",
    Listing::Passed,
    ChildPool {
        test: "onnx_nodes::run_cases_of_a_parent_process",
        memory_bytes: 8 << 30,
        timeout: Duration::from_secs(120),
    },
    python::onnx_node_tests,
);

#[test]
fn every_backend_passes_the_onnx_cases_in_its_list() -> Result<()> {
    let cases: Vec<_> = SUITE.cases()?.iter().collect();
    for backend in backend::names()? {
        let checked = SUITE.check(backend, &cases);
        checked.with_context(|| backend.to_owned())?;
    }
    Ok(())
}

#[test]
#[ignore = "runs in a child process of every_backend_passes_the_onnx_cases_in_its_list"]
fn run_cases_of_a_parent_process() -> Result<()> {
    SUITE.serve()
}
