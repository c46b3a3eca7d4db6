//! Tests of every backend with requests of random sizes and hostile values: each is computed or refused, in a
//! bounded time, and no signal ends the process.
//!
//! The time is 3 s, a second for each backend, times `WISP_TEST_SCALE`: 200 is ten minutes. Seeds count from 0, so
//! that runs repeat each other, and a fault names its seed.

use super::SUITE;
use super::hostile::Random;
use crate::cases::backend;
use crate::harness::child::{ChildPool, Outcome, serve_parent};
use crate::harness::scale;
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};
use wisp_backend::{LoadOptions, ModelSource};

/// The child processes that compute. A request that takes longer than the timeout hangs.
const CHILDREN: ChildPool = ChildPool {
    test: "differential::fuzz::compute_inputs_of_a_parent_process",
    memory_bytes: 4 << 30,
    timeout: Duration::from_secs(60),
};

/// The time that each backend is tested.
const TIME_PER_BACKEND: Duration = Duration::from_secs(1);

/// The number of inputs for a model and a seed. Loading takes longer than computing.
const INPUTS_PER_SEED: usize = 16;

/// The distance between the cases of successive seeds, a prime number, so that all are reached from any part of
/// the list.
const STRIDE: u64 = 1009;

/// The response of a child that has survived.
const SURVIVED: &str = "survived";

#[test]
fn no_input_ends_or_hangs_a_backend() -> Result<()> {
    let cases = SUITE.cases()?;
    let count = u64::try_from(cases.len())?;
    ensure!(count > 0, "there are no cases");
    let time = TIME_PER_BACKEND * u32::try_from(scale())?;
    for backend in backend::names()? {
        let end = Instant::now() + time;
        let seeds = (0u64..).take_while(|_| Instant::now() < end);
        let faults = CHILDREN.run_all(seeds, |child, seed| {
            let position = seed.wrapping_mul(STRIDE) % count;
            let case = &cases[usize::try_from(position)?];
            let outcome = child.request(&format!("{backend} {seed} {}", case.name))?;
            let survived = outcome == Outcome::Response(SURVIVED.to_owned());
            Ok((!survived).then(|| format!("{backend}, {}, seed {seed}: {outcome}", case.name)))
        })?;
        let faults: Vec<_> = faults.into_iter().flatten().collect();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
    }
    Ok(())
}

#[test]
#[ignore = "runs in child processes of no_input_ends_or_hangs_a_backend"]
fn compute_inputs_of_a_parent_process() -> Result<()> {
    serve_parent(CHILDREN.test, |request| match compute_here(request) {
        Ok(()) => SURVIVED.to_owned(),
        Err(error) => format!("invalid request: {error:#}"),
    })
}

/// Runs in a child: computes inputs that a seed determines with the backend and the case that the request names.
fn compute_here(request: &str) -> Result<()> {
    let mut words = request.splitn(3, ' ');
    let mut word = || words.next().context("three words");
    let (name, seed, case) = (word()?, word()?.parse::<u64>()?, word()?);
    let case = SUITE.cases()?.iter().find(|known| known.name == case);
    let path = case.context("no such case")?.model();
    let backend = backend::backend(name)?;
    let Ok(graph) = backend.load(ModelSource::Path(&path), &LoadOptions::default()) else {
        return Ok(());
    };
    let mut random = Random::of(seed);
    for _ in 0..INPUTS_PER_SEED {
        let inputs = random.inputs(graph.signature())?;
        // The result does not matter, only that the process survives.
        let _ = graph.compute(&inputs);
    }
    Ok(())
}
