//! Golden cases: requests that travel with a model, and the answers they must get.
//!
//! A case is one JSON file in the model's `cases/`: a V2 request, whose inputs may take their bytes
//! from a `file` beside it, and what is expected. Reading, running and comparing; printing is for
//! `check`.

use crate::run::Runner;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use wisp_protocol::call::{InferRequest, ModelDescription};
use wisp_protocol::error::Party;
use wisp_protocol::v2::Codec;
use wisp_serving::version::ModelVersion;
use wisp_tensor::{ElementType, NamedTensor, Tensor};

/// Differences of floats that a case accepts when it does not say.
const DEFAULT_TOLERANCE: f64 = 1e-4;

/// One golden case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    #[serde(skip)]
    pub(crate) path: PathBuf,
    /// One sentence for people.
    #[serde(default)]
    pub(crate) about: String,
    /// A V2 request; an input may have `file` instead of `data`.
    pub(crate) request: Value,
    expect: Expectation,
}

/// What a request must get.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    /// The outputs that are compared, as V2 writes them; others may come.
    outputs: Option<Value>,
    /// The largest absolute difference of floats; everything else must be equal.
    tolerance: Option<f64>,
    /// Whose fault the request is instead: `client` or `handler`.
    failure: Option<String>,
    /// A part of the failure's text.
    message: Option<String>,
}

/// Every case of a model, by file name; none where there is no `cases/`.
pub(crate) fn load_all(model_directory: &Path) -> anyhow::Result<Vec<Case>> {
    let directory = model_directory.join("cases");
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| load(path)).collect()
}

fn load(path: &Path) -> anyhow::Result<Case> {
    let subject = || format!("case {}", crate::display::path(path));
    let text = std::fs::read(path).with_context(subject)?;
    let mut case: Case = serde_json::from_slice(&text).with_context(subject)?;
    case.path = path.to_owned();
    Ok(case)
}

impl Case {
    /// Whether the request must be answered, not refused.
    pub(crate) fn expects_outputs(&self) -> bool {
        self.expect.outputs.is_some()
    }

    /// The file that is the request's one input, where it has one input and that is a file.
    pub(crate) fn only_file(&self) -> Option<PathBuf> {
        match self.request["inputs"].as_array()?.as_slice() {
            [input] => self.file_of(input),
            _ => None,
        }
    }

    fn file_of(&self, input: &Value) -> Option<PathBuf> {
        let file = input.get("file")?.as_str()?;
        Some(self.path.parent()?.join(file))
    }

    /// The request as the server would have decoded it.
    fn request(&self, model: &ModelDescription) -> anyhow::Result<InferRequest> {
        let mut document = self.request.clone();
        let inputs = document["inputs"]
            .as_array_mut()
            .context("`request.inputs` is not a list")?;
        let mut files = Vec::new();
        for input in inputs.iter_mut() {
            if let Some(path) = self.file_of(input) {
                files.push((input["name"].as_str().unwrap_or_default().to_owned(), path));
            }
        }
        inputs.retain(|input| input.get("file").is_none());
        let mut request = decode(&document, model)?;
        for (name, path) in files {
            let content = std::fs::read(&path)
                .with_context(|| format!("file of input `{name}`: {}", path.display()))?;
            let tensor = Tensor::from_elements([content.as_slice()].into_iter())?;
            request.inputs.push(NamedTensor { name, tensor });
        }
        Ok(request)
    }

    /// Send the request to the model and compare. `Err` says what differs.
    pub(crate) fn run(&self, runner: &Runner, version: &ModelVersion) -> anyhow::Result<()> {
        let model = version.description();
        let request = self.request(model)?;
        let answer = runner.call(version, request);
        match (&self.expect.outputs, &self.expect.failure, answer) {
            (Some(outputs), None, Ok(answer)) => {
                let expected = decode_outputs(outputs, model)
                    .context("`expect.outputs` are not valid outputs")?;
                let tolerance = self.expect.tolerance.unwrap_or(DEFAULT_TOLERANCE);
                compare(&expected, &answer.outputs, tolerance)
            }
            (None, Some(party), Err(error)) => {
                let at_fault = match error.kind().party() {
                    Party::Client => "client",
                    Party::Handler => "handler",
                    Party::Capacity => "capacity",
                    Party::Host => "host",
                };
                let text = error.client_message();
                ensure!(
                    at_fault == party,
                    "expected a failure of the {party}, got one of the {at_fault}: {text}"
                );
                let wanted = self.expect.message.as_deref().unwrap_or_default();
                ensure!(
                    text.contains(wanted),
                    "expected a failure that says `{wanted}`, got: {text}"
                );
                Ok(())
            }
            (Some(_), None, Err(error)) => {
                Err(anyhow::Error::new(error).context("expected outputs, got a failure"))
            }
            (None, Some(_), Ok(_)) => bail!("expected a failure, got outputs"),
            _ => bail!("`expect` needs either `outputs` or `failure`"),
        }
    }
}

fn decode(document: &Value, model: &ModelDescription) -> anyhow::Result<InferRequest> {
    let body = Bytes::from(serde_json::to_vec(document)?);
    Ok(Codec::default().decode(body, model)?.0)
}

/// Outputs have the form of inputs: they are read as those of a model that takes what this one gives.
fn decode_outputs(outputs: &Value, model: &ModelDescription) -> anyhow::Result<Vec<NamedTensor>> {
    let mut taker = model.clone();
    taker.signature.inputs = model.signature.outputs.clone();
    Ok(decode(&json!({ "inputs": outputs }), &taker)?.inputs)
}

fn compare(expected: &[NamedTensor], actual: &[NamedTensor], tolerance: f64) -> anyhow::Result<()> {
    for NamedTensor { name, tensor } in expected {
        let found = actual
            .iter()
            .find(|output| output.name == *name)
            .with_context(|| format!("output `{name}` is missing"))?;
        compare_tensors(tensor, &found.tensor, tolerance)
            .with_context(|| format!("output `{name}`"))?;
    }
    Ok(())
}

fn compare_tensors(expected: &Tensor, actual: &Tensor, tolerance: f64) -> anyhow::Result<()> {
    ensure!(
        expected.element_type() == actual.element_type(),
        "is {}, expected {}",
        actual.element_type(),
        expected.element_type()
    );
    ensure!(
        expected.shape() == actual.shape(),
        "has shape {}, expected {}",
        actual.shape(),
        expected.shape()
    );
    let (Some(expected_floats), Some(actual_floats)) = (floats(expected), floats(actual)) else {
        ensure!(
            expected.content() == actual.content(),
            "is {}, expected {}",
            crate::run::elements_text(actual),
            crate::run::elements_text(expected)
        );
        return Ok(());
    };
    for (position, (expected, actual)) in expected_floats.zip(actual_floats).enumerate() {
        // Written so that a NaN fails it.
        let close = (expected - actual).abs() <= tolerance;
        ensure!(
            close,
            "element {position} is {actual}, expected {expected} within {tolerance}"
        );
    }
    Ok(())
}

/// The elements of an FP32 or FP64 tensor; FP16 and BF16 have no JSON, so no case expects them.
fn floats(tensor: &Tensor) -> Option<Box<dyn Iterator<Item = f64> + '_>> {
    match tensor.element_type() {
        ElementType::Fp32 => {
            let (chunks, _) = tensor.content().as_chunks::<4>();
            Some(Box::new(
                chunks
                    .iter()
                    .map(|chunk| f64::from(f32::from_le_bytes(*chunk))),
            ))
        }
        ElementType::Fp64 => {
            let (chunks, _) = tensor.content().as_chunks::<8>();
            Some(Box::new(
                chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)),
            ))
        }
        _ => None,
    }
}
