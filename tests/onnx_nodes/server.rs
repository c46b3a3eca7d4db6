//! Tests a sample of the passing cases through the whole server: all tensors are sent in both directions
//! as bytes of V2's binary extension.

use super::SUITE;
use crate::cases::case::{Case, Content, Stored};
use crate::cases::http;
use crate::harness::{Repository, TestServer};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// The backend of the harness's server.
const BACKEND: &str = "tract";

/// The maximum number of sampled cases.
const SAMPLE: usize = 60;

/// Cases that are always included: a real topology.
const ALWAYS: [&str; 1] = ["light/test_shufflenet"];

#[test]
fn a_sample_of_the_onnx_cases_passes_over_http() -> Result<()> {
    let sample = sample()?;
    ensure!(sample.len() >= SAMPLE / 2, "only {} cases", sample.len());
    let mut repository = Repository::empty()?;
    for case in &sample {
        let file = format!("{}/1/model.onnx", model(case));
        repository = repository.with_file(&file, std::fs::read(case.model())?)?;
    }
    let server = TestServer::start(repository)?;
    for case in sample {
        let content = case.content.as_ref();
        let content = content.context("a sampled case is servable")?;
        http::check(&server, &model(case), content, &case.tensors()?)
            .with_context(|| case.name.clone())?;
    }
    Ok(())
}

/// Returns the name of the case's model; a repository has no nested directories.
fn model(case: &Case) -> String {
    case.name.replace('/', "-")
}

/// Returns the first case of each combination of element types, with scalars and empty tensors kept
/// apart.
fn sample() -> Result<Vec<&'static Case>> {
    let passed = SUITE.listed(BACKEND)?;
    let mut combinations = BTreeSet::new();
    let cases = SUITE
        .cases()?
        .iter()
        .filter(|case| passed.contains(&case.name));
    let sampled = cases.filter(|case| match &case.content {
        _ if ALWAYS.contains(&case.name.as_str()) => true,
        Some(content) => combinations.len() < SAMPLE && combinations.insert(combination(content)),
        None => false,
    });
    Ok(sampled.collect())
}

fn combination(content: &Content) -> (BTreeSet<String>, BTreeSet<String>) {
    let kinds = |tensors: &[Stored]| {
        let kinds = tensors.iter().map(|tensor| {
            let size = match tensor.shape.as_slice() {
                [] => "scalar",
                shape if shape.contains(&0) => "empty",
                _ => "plain",
            };
            format!("{size} {}", tensor.datatype)
        });
        kinds.collect()
    };
    (kinds(&content.inputs), kinds(&content.outputs))
}
