//! Tests a sample of the passing cases through the whole server: all tensors are sent in both directions
//! as bytes of V2's binary extension.

use super::case::{self, Case, Content, Stored};
use super::listed;
use crate::harness::{Repository, Response, TestServer};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wisp_tensor::{NamedTensor, Shape, Tensor};

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
        repository = repository.with_file(&file, std::fs::read(case.model()?)?)?;
    }
    let server = TestServer::start(repository)?;
    for case in sample {
        check(&server, case).with_context(|| case.name.clone())?;
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
    let passed = listed(BACKEND)?;
    let mut combinations = BTreeSet::new();
    let cases = case::all()?
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

fn check(server: &TestServer, case: &Case) -> Result<()> {
    let content = case
        .content
        .as_ref()
        .context("a sampled case is servable")?;
    let tensors = case.tensors()?;
    let (head, body) = request(content, &tensors)?;
    let length = head.len().to_string();
    let response = server.request(
        &format!("POST /v2/models/{}/infer", model(case)),
        &[("inference-header-content-length", &length)],
        &[head, body].concat(),
    )?;
    let outputs = outputs(&response)?;
    ensure!(
        outputs.len() == content.outputs.len(),
        "{} outputs",
        outputs.len()
    );
    for (output, expected) in outputs.iter().zip(&content.outputs) {
        ensure!(output.name == expected.name, "`{}` came", output.name);
        let expected = expected.tensor(&tensors)?;
        let difference = content.difference(&output.tensor, &expected.tensor);
        ensure!(difference.is_none(), "`{}` {difference:?}", output.name);
    }
    Ok(())
}

/// Returns the JSON that declares the inputs, and the bytes that follow it.
fn request(content: &Content, tensors: &Bytes) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut body = Vec::new();
    let inputs = content.inputs.iter().map(|input| {
        let bytes = input.content(tensors);
        body.extend_from_slice(&bytes);
        json!({
            "name": input.name, "datatype": input.datatype, "shape": input.shape,
            "parameters": { "binary_data_size": bytes.len() },
        })
    });
    let inputs: Vec<Value> = inputs.collect();
    let head = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } });
    Ok((serde_json::to_vec(&head)?, body))
}

/// Returns the outputs of a binary response, in its order.
fn outputs(response: &Response) -> Result<Vec<NamedTensor>> {
    let told = || String::from_utf8_lossy(&response.body).into_owned();
    ensure!(response.status == 200, "{}: {}", response.status, told());
    let length = response.header("inference-header-content-length");
    let length = length.with_context(told)?.parse()?;
    let (head, body) = response.body.split_at(length);
    let head: Value = serde_json::from_slice(head)?;
    let mut rest = Bytes::copy_from_slice(body);
    let outputs = head["outputs"].as_array().with_context(told)?;
    let outputs = outputs.iter().map(|output| {
        let size = output["parameters"]["binary_data_size"].as_u64();
        let declared = Stored::declared(output)?;
        let shape = Shape::new(declared.shape.clone())?;
        let content = rest.split_to(usize::try_from(size.context("not binary")?)?);
        Ok(NamedTensor {
            tensor: Tensor::new(declared.element_type()?, shape, content)?,
            name: declared.name,
        })
    });
    let outputs = outputs.collect::<Result<_>>()?;
    ensure!(rest.is_empty(), "{} bytes are left", rest.len());
    Ok(outputs)
}
