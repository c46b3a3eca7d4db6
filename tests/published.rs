//! Tests of models from packages on PyPI, which people run as they are: voice activity, types of files, text in
//! images, notes in music, detection. Each is computed at two sizes, and compared with onnxruntime's Python API.
//!
//! A backend computes a model within the tolerances of `tests/clients/published_models.py`, or refuses it and is
//! listed in `tests/fixtures/published/<backend>.txt`. One of the embedded backends computes each, and `auto` selects
//! it for every file.

use crate::cases::backend;
use crate::cases::case::Case;
use crate::cases::http;
use crate::cases::suite::{Listing, Suite, check_served};
use crate::harness::child::ChildPool;
use crate::harness::{Repository, TestOptions, TestServer};
use crate::python;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use wisp_backend::rten::Rten;
use wisp_serving::ServingOptions;

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

/// As installed, without onnxruntime: a server of the bare files computes every case with the backend that it has selected.
#[test]
fn published_models_are_served_by_the_backend_that_is_selected() -> Result<()> {
    let mut files: BTreeMap<String, Vec<&Case>> = BTreeMap::new();
    for case in SUITE.cases()?.iter().filter(|case| case.is_served()) {
        // The name of a case ends with its number.
        let (file, _) = case.name.rsplit_once('_').context("no number")?;
        files.entry(file.replace('/', "-")).or_default().push(case);
    }
    ensure!(files.len() == CASES / 2, "{} files", files.len());
    let mut repository = Repository::empty()?;
    for (model, cases) in &files {
        let content = std::fs::read(cases[0].model())?;
        repository = repository
            .with_file(&format!("{model}/1/model.onnx"), content)?
            .with_file(&format!("{model}/model.toml"), "backend = 'auto'")?;
    }
    let defaults = TestOptions::default();
    let options = TestOptions {
        backends: vec![Arc::new(Rten::new())],
        serving: ServingOptions {
            // The test is about the outputs, which take long without optimization.
            request_timeout: Duration::from_secs(50),
            ..defaults.serving
        },
        ..defaults
    };
    let server = TestServer::with_options(repository, options)?;
    let mut faults = Vec::new();
    for (model, cases) in &files {
        for case in cases {
            let content = case.content.as_ref().context("the case is servable")?;
            if let Err(fault) = http::check(&server, model, content, &case.tensors()?) {
                let metadata = server.get(&format!("/v2/models/{model}"))?.json()?;
                let selected = &metadata["parameters"]["backend_selection"];
                faults.push(format!("{}: {fault:#}; {selected}", case.name));
            }
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

#[test]
#[ignore = "runs in child processes of published_models_are_computed_as_by_onnxruntime_or_refused"]
fn run_cases_of_a_parent_process() -> Result<()> {
    SUITE.serve()
}
