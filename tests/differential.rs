//! Tests of every backend with every operator that computes element by element, reduces, casts, normalises,
//! pools, quantises or indexes, with every element type and with hostile values: NaN, infinities, the largest and
//! the smallest numbers, integers beyond 32 and 53 bits; and with every other operator, each of its attributes and its
//! old versions. The cases cannot be made if the onnx package defines an operator that has neither a case nor a reason
//! for that in `tests/clients/differential/coverage.py`.
//!
//! A backend computes a case, refuses it, or is wrong. The refused cases are listed in
//! `tests/fixtures/differential/<backend>.txt`; with `WISP_BLESS=1` the test rewrites the list. By default a
//! sample of the cases runs, with `WISP_TEST_SCALE` above 1 all of them.
//!
//! Integers, bools and strings must be equal, and so must be all bits of what is only moved. Floats may differ by
//! the tolerances in `tests/clients/differential/case.py`; a NaN equals a NaN, an infinity only itself. Zeros of
//! different signs are equal where something is computed.

mod fuzz;
mod hostile;

use crate::cases::backend;
use crate::cases::case::Case;
use crate::cases::suite::{Listing, Suite};
use crate::harness::child::ChildPool;
use crate::harness::scale;
use crate::python;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// The cases, and the child processes in which they run. A case takes milliseconds.
static SUITE: Suite = Suite::new(
    "differential",
    Listing::Refused,
    ChildPool {
        test: "differential::run_cases_of_a_parent_process",
        memory_bytes: 4 << 30,
        timeout: Duration::from_secs(60),
    },
    python::differential_cases,
);

/// One in so many cases of each operator is in the sample.
const SAMPLED: usize = 5;

/// The ends of the names of cases that are always in the sample: the commonest type, and the casts that engines
/// make through 32 bits.
const ALWAYS: [&str; 2] = ["FP32_hostile", "_to_INT64"];

/// The minimum number of cases in the sample.
const MIN_SAMPLE: usize = 400;

#[test]
fn every_backend_computes_every_operator_rightly_or_refuses_it() -> Result<()> {
    let cases = sample()?;
    for backend in backend::names()? {
        let checked = SUITE.check(backend, &cases);
        checked.with_context(|| backend.to_owned())?;
    }
    Ok(())
}

#[test]
#[ignore = "runs in a child process of every_backend_computes_every_operator_rightly_or_refuses_it"]
fn run_cases_of_a_parent_process() -> Result<()> {
    SUITE.serve()
}

/// Returns the cases to run: some of each operator, or all.
fn sample() -> Result<Vec<&'static Case>> {
    let all = SUITE.cases()?;
    if scale() > 1 {
        return Ok(all.iter().collect());
    }
    let mut sample = Vec::new();
    for cases in all.chunk_by(|one, next| one.group() == next.group()) {
        let sampled = cases.iter().enumerate().filter(|(position, case)| {
            position.is_multiple_of(SAMPLED) || ALWAYS.iter().any(|end| case.name.ends_with(end))
        });
        sample.extend(sampled.map(|(_, case)| case));
    }
    ensure!(sample.len() >= MIN_SAMPLE, "only {} cases", sample.len());
    Ok(sample)
}
