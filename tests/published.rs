//! Tests of models from packages on PyPI, which people run as they are: voice activity, types of files, text in
//! images, notes in music, detection. Each is computed at two sizes, and compared with onnxruntime's Python API.
//!
//! A backend computes a model within the tolerances of `tests/clients/published_models.py`, or refuses it and is
//! listed in `tests/fixtures/published/<backend>.txt`. One of the embedded backends computes each.

use crate::cases::backend;
use crate::cases::suite::{Listing, Suite, check_served};
use crate::harness::child::ChildPool;
use crate::python;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

/// The models, and the child processes in which they are computed. The tests are built without optimization.
static SUITE: Suite = Suite::new(
    "published",
    Listing::Refused,
    ChildPool {
        test: "published::run_cases_of_a_parent_process",
        memory_bytes: 8 << 30,
        timeout: Duration::from_secs(120),
    },
    python::published_models,
);

/// The number of models, times the sizes of each.
const CASES: usize = 24;

#[test]
fn published_models_are_computed_as_by_onnxruntime_or_refused() -> Result<()> {
    let cases: Vec<_> = SUITE.cases()?.iter().collect();
    ensure!(cases.len() == CASES, "{} cases", cases.len());
    let mut outcomes = BTreeMap::new();
    for backend in backend::names()? {
        let checked = SUITE.check(backend, &cases);
        outcomes.insert(backend, checked.with_context(|| backend.to_owned())?);
    }
    check_served(&cases, &outcomes)
}

#[test]
#[ignore = "runs in child processes of published_models_are_computed_as_by_onnxruntime_or_refused"]
fn run_cases_of_a_parent_process() -> Result<()> {
    SUITE.serve()
}
