//! Golden cases: requests that are stored with a model, and their expected responses.
//!
//! A case is a JSON file in the model's `cases/` directory. It contains a V2 request, whose inputs may
//! take their bytes from a `file` in the same directory, and the expectation. This module reads, runs
//! and compares cases; `check` prints the results.

use crate::local_call::LocalCaller;
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use wisp_protocol::call::{InferRequest, ModelDescription};
use wisp_protocol::codec::RequestDecoder;
use wisp_protocol::error::Party;
use wisp_protocol::golden_case::{DEFAULT_TOLERANCE, party_name};
use wisp_protocol::v2::V2Decoder;
use wisp_serving::InferError;
use wisp_serving::version::ModelVersion;
use wisp_tensor::expected_outputs::{OutputMismatch, check_outputs};
use wisp_tensor::{NamedTensor, Tensor};

/// The inputs of a request that have a file, by name, with the content of that file.
pub(crate) type InputFiles = Vec<(String, Vec<u8>)>;

/// One golden case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    #[serde(skip)]
    pub(crate) path: PathBuf,
    /// A description of the case in one sentence.
    #[serde(default)]
    pub(crate) about: String,
    /// A V2 request. An input may have `file` instead of `data`.
    pub(crate) request: Value,
    expect: Expectation,
}

/// The expected outcome of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    /// The outputs to compare, in the form of V2. The response may have further outputs.
    outputs: Option<Value>,
    /// The largest absolute difference of floats. All other elements must be equal.
    tolerance: Option<f64>,
    /// For an expected failure, the party at fault: `client` or `handler`.
    failure: Option<String>,
    /// A substring of the failure's message.
    message: Option<String>,
}

/// Returns every case of a model, sorted by file name. Returns none if there is no `cases/` directory.
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
    /// Returns whether the case expects outputs rather than a failure.
    pub(crate) fn expects_outputs(&self) -> bool {
        self.expect.outputs.is_some()
    }

    /// Returns the file of the request's input, if there is exactly one input and it has a file.
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

    /// Returns the inputs that have a file, by name, with the content of that file, and the request without them.
    pub(crate) fn split_files(&self) -> anyhow::Result<(Value, InputFiles)> {
        let mut document = self.request.clone();
        let inputs = document["inputs"]
            .as_array_mut()
            .context("`request.inputs` is not an array")?;
        let mut files = Vec::new();
        for input in inputs.iter() {
            if let Some(path) = self.file_of(input) {
                let name = input["name"].as_str().unwrap_or_default().to_owned();
                let content = std::fs::read(&path)
                    .with_context(|| format!("file of input `{name}`: {}", path.display()))?;
                files.push((name, content));
            }
        }
        inputs.retain(|input| input.get("file").is_none());
        Ok((document, files))
    }

    /// Returns the request as the server would decode it.
    fn request(&self, model: &ModelDescription) -> anyhow::Result<InferRequest> {
        let (document, files) = self.split_files()?;
        let mut request = decode(&document, model)?;
        for (name, content) in files {
            let tensor = Tensor::from_elements([content.as_slice()].into_iter())?;
            request.inputs.push(NamedTensor { name, tensor });
        }
        Ok(request)
    }

    /// Returns the largest absolute difference of floats.
    pub(crate) fn tolerance(&self) -> f64 {
        self.expect.tolerance.unwrap_or(DEFAULT_TOLERANCE)
    }

    /// Sends the request to the model and compares the response with the expectation. An error describes
    /// the difference.
    pub(crate) fn run(&self, caller: &LocalCaller, version: &ModelVersion) -> anyhow::Result<()> {
        let outcome = self.call(caller, version)?;
        self.check(outcome.as_deref(), version.description())
    }

    /// Sends the request to the model.
    pub(crate) fn call(
        &self,
        caller: &LocalCaller,
        version: &ModelVersion,
    ) -> anyhow::Result<Result<Vec<NamedTensor>, CaseFailure>> {
        let request = self.request(version.description())?;
        let response = caller.call(version, request);
        Ok(response
            .map(|response| response.outputs)
            .map_err(CaseFailure::from))
    }

    /// Compares the outcome of the request with the expectation. An error describes the difference.
    pub(crate) fn check(
        &self,
        outcome: Result<&[NamedTensor], &CaseFailure>,
        model: &ModelDescription,
    ) -> anyhow::Result<()> {
        match (&self.expect.outputs, &self.expect.failure, outcome) {
            (Some(outputs), None, Ok(actual)) => {
                let expected = decode_outputs(outputs, model)
                    .context("`expect.outputs` are not valid outputs")?;
                check_outputs(&expected, actual, self.tolerance()).map_err(explained)
            }
            (None, Some(party), Err(failure)) => {
                let at_fault = failure.at_fault();
                if at_fault != party {
                    return Err(failure.explain(format!(
                        "expected a failure of the {party}, got one of the {at_fault}"
                    )));
                }
                let text = &failure.message;
                let wanted = self.expect.message.as_deref().unwrap_or_default();
                ensure!(
                    text.contains(wanted),
                    "expected a failure whose message contains `{wanted}`, got: {text}"
                );
                Ok(())
            }
            (Some(_), None, Err(failure)) => {
                Err(failure.explain("expected outputs, got a failure".to_owned()))
            }
            (None, Some(_), Ok(_)) => bail!("expected a failure, got outputs"),
            _ => bail!("`expect` needs either `outputs` or `failure`"),
        }
    }
}

/// The failure of a request.
#[derive(Debug)]
pub(crate) struct CaseFailure {
    pub(crate) party: Party,
    /// The text for the client.
    pub(crate) message: String,
    /// The messages of the failure and of its causes: a panic, for example, and where it was.
    pub(crate) causes: Vec<String>,
}

impl From<InferError> for CaseFailure {
    fn from(error: InferError) -> CaseFailure {
        let (party, message) = (error.kind().party(), error.client_message().to_owned());
        let error = anyhow::Error::new(error);
        CaseFailure {
            party,
            message,
            causes: error.chain().map(ToString::to_string).collect(),
        }
    }
}

impl CaseFailure {
    /// Returns the name of the party at fault.
    pub(crate) fn at_fault(&self) -> &'static str {
        party_name(self.party)
    }

    /// Returns an error with this message and the failure as its cause.
    pub(crate) fn explain(&self, message: String) -> anyhow::Error {
        let causes = self.causes.iter().rev().cloned();
        let cause = causes.map(anyhow::Error::msg);
        let failure = cause.reduce(|cause, error| cause.context(error.to_string()));
        match failure {
            Some(failure) => failure.context(message),
            None => anyhow::Error::msg(message),
        }
    }
}

fn decode(document: &Value, model: &ModelDescription) -> anyhow::Result<InferRequest> {
    let body = Bytes::from(serde_json::to_vec(document)?);
    Ok(V2Decoder::default().decode(body, model)?.0)
}

/// Decodes outputs. They have the form of inputs, so they are decoded as inputs of a model whose inputs
/// are this model's outputs.
pub(crate) fn decode_outputs(
    outputs: &Value,
    model: &ModelDescription,
) -> anyhow::Result<Vec<NamedTensor>> {
    let mut taker = model.clone();
    taker.signature.inputs = model.signature.outputs.clone();
    Ok(decode(&json!({ "inputs": outputs }), &taker)?.inputs)
}

/// Returns the difference below the name of its output.
fn explained(mismatch: OutputMismatch) -> anyhow::Error {
    match mismatch {
        OutputMismatch::Different { output, difference } => {
            anyhow::Error::msg(difference).context(format!("output `{output}`"))
        }
        missing @ OutputMismatch::Missing { .. } => missing.into(),
    }
}
