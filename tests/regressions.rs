//! Tests of small models that a backend or the server once refused without need or computed wrongly. Each stands
//! for a kind of published model; `tests/clients/regressions` lists them with the correct results.
//!
//! A backend computes a model or refuses it and is listed in `tests/fixtures/regressions/<backend>.txt`. One of
//! the embedded backends computes each, and a server of the bare model responds with the same outputs, whatever the
//! first request has been.

use crate::cases::backend;
use crate::cases::case::{Case, Content};
use crate::cases::http;
use crate::cases::suite::{Listing, Suite, check_served};
use crate::harness::child::ChildPool;
use crate::harness::{Repository, TestOptions, TestServer};
use crate::python;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wisp_backend::rten::Rten;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, LoadOptions, ModelSource};

/// The models, and the child processes in which they are computed.
static SUITE: Suite = Suite::new(
    "regressions",
    Listing::Refused,
    ChildPool {
        test: "regressions::run_cases_of_a_parent_process",
        memory_bytes: 4 << 30,
        timeout: Duration::from_secs(60),
    },
    python::regression_models,
);

#[test]
fn small_models_of_every_kind_are_computed_rightly_or_refused() -> Result<()> {
    let cases: Vec<_> = SUITE.cases()?.iter().collect();
    ensure!(!cases.is_empty(), "there are no cases");
    let mut outcomes = BTreeMap::new();
    for backend in backend::names()? {
        let checked = SUITE.check(backend, &cases);
        outcomes.insert(backend, checked.with_context(|| backend.to_owned())?);
    }
    check_served(&cases, &outcomes)
}

#[test]
#[ignore = "runs in child processes of small_models_of_every_kind_are_computed_rightly_or_refused"]
fn run_cases_of_a_parent_process() -> Result<()> {
    SUITE.serve()
}

/// Zeros hide that rows depend on each other, and what the server decides by the first request must hold for
/// all.
#[test]
fn bare_models_are_served_rightly_after_a_warm_up_of_zeros() -> Result<()> {
    let mut served = Vec::new();
    let mut repository = Repository::empty()?;
    for backend in backend::names()? {
        let (refused, deviating) = (SUITE.listed(backend)?, SUITE.deviating(backend)?);
        let is_right = |name: &String| !refused.contains(name) && !deviating.contains(name);
        let cases = SUITE.cases()?.iter();
        for case in cases.filter(|case| is_right(&case.name)) {
            let model = format!("{backend}-{}", case.name.replace('/', "-"));
            repository = repository
                .with_file(
                    &format!("{model}/1/model.onnx"),
                    std::fs::read(case.model())?,
                )?
                .with_file(
                    &format!("{model}/model.toml"),
                    format!("backend = '{backend}'"),
                )?;
            served.push((model, case));
        }
    }
    let options = TestOptions {
        backends: vec![
            Arc::new(Rten::new()),
            Arc::new(crate::onnxruntime::engine()?),
        ],
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    let mut faults = Vec::new();
    for (model, case) in served {
        if let Err(fault) = check_served_model(&server, &model, case) {
            faults.push(format!("{model}: {fault:#}"));
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

fn check_served_model(server: &TestServer, model: &str, case: &Case) -> Result<()> {
    let content = case.content.as_ref().context("the case is servable")?;
    let tensors = case.tensors()?;
    let zeros = Bytes::from(vec![0u8; tensors.len()]);
    if has_plain_inputs(content) {
        // Some graphs refuse zeros, as a shape for example.
        let _ = http::infer(server, model, content, &zeros);
    }
    http::check(server, model, content, &tensors)
}

/// Returns whether zeros are valid bytes of all inputs; strings have lengths.
fn has_plain_inputs(content: &Content) -> bool {
    content.inputs.iter().all(|input| input.datatype != "BYTES")
}

/// It once took 480 times as long. The limit leaves room for conversions that are not optimized, and for other programs.
#[test]
fn a_convolution_of_16_bits_takes_about_as_long_as_one_of_32() -> Result<()> {
    const LIMIT: u32 = 60;
    for backend in [&Tract::new() as &dyn Backend, &Rten::new()] {
        let (half, full) = (
            shortest(backend, "speed/convolution_float16")?,
            shortest(backend, "speed/convolution_float32")?,
        );
        ensure!(
            half < LIMIT * full,
            "{}: {half:?} instead of {full:?}",
            backend.name()
        );
    }
    Ok(())
}

/// Returns the shortest of several times in which a backend computes a case.
fn shortest(backend: &dyn Backend, name: &str) -> Result<Duration> {
    let case = SUITE.cases()?.iter().find(|case| case.name == name);
    let case = case.with_context(|| name.to_owned())?;
    let content = case.content.as_ref().context("the case is servable")?;
    let inputs = content.input_tensors(&case.tensors()?)?;
    let path = case.model();
    let graph = backend.load(ModelSource::Path(&path), &LoadOptions::default())?;
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let started = Instant::now();
        graph.compute(&inputs)?;
        best = best.min(started.elapsed());
    }
    Ok(best)
}

#[test]
fn the_reason_of_a_refusal_is_the_one_of_the_last_attempt() -> Result<()> {
    let path = python::regression_models()?.join("refused/hidden_reason.onnx");
    let loaded = Tract::new().load(ModelSource::Path(&path), &LoadOptions::default());
    let Err(BackendError::Load { reason, .. }) = &loaded else {
        anyhow::bail!("{loaded:?}");
    };
    ensure!(reason.contains("OneHotEncoder"), "{reason}");
    Ok(())
}

#[test]
fn every_backend_refuses_an_output_that_is_a_sequence() -> Result<()> {
    let path = python::regression_models()?.join("refused/sequence.onnx");
    for backend in backend::backends()? {
        let loaded = backend.load(ModelSource::Path(&path), &LoadOptions::default());
        ensure!(
            matches!(loaded, Err(BackendError::Load { .. })),
            "{}: {loaded:?}",
            backend.name()
        );
    }
    Ok(())
}
