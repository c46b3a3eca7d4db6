//! Calls of gRPC that Triton got, and the replies to them.
//!
//! A script makes the calls with the messages of tritonclient, whose JSON is that of the recorded replies.

use super::difference::{Difference, difference};
use crate::harness::{TestServer, root};
use crate::python;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The outcome of a call: an entry of `tests/fixtures/triton/grpc.json`, or a line that the script prints.
#[derive(Debug, Deserialize)]
struct Outcome {
    id: String,
    /// The name of the status code, such as `OK`.
    code: String,
    /// The JSON of the reply; a list for a stream. Without it, only the code is compared.
    reply: Option<Value>,
}

/// Makes the calls in order, and describes how the replies differ.
pub(super) fn deviations(server: &TestServer) -> Result<Vec<String>> {
    let path = root().join("tests/fixtures/triton/grpc.json");
    let expected: Vec<Outcome> = serde_json::from_slice(&std::fs::read(&path)?)?;
    let path = path.to_str().context("a path that is not Unicode")?;
    let address = server.grpc_address().to_string();
    let printed = python::run("triton_grpc.py", &[&address, path])?;
    let mut deviations = Vec::new();
    let mut lines = printed.lines();
    for expected in &expected {
        let line = lines.next().context("fewer replies than calls")?;
        let actual: Outcome = serde_json::from_str(line)?;
        ensure!(
            actual.id == expected.id,
            "{} in place of {}",
            actual.id,
            expected.id
        );
        if let Some(deviation) = deviation(expected, &actual) {
            deviations.push(format!("{}: {deviation}", expected.id));
        }
    }
    Ok(deviations)
}

fn deviation(expected: &Outcome, actual: &Outcome) -> Option<String> {
    if actual.code != expected.code {
        return Some(format!("status {}", actual.code));
    }
    let reply = actual.reply.as_ref().unwrap_or(&Value::Null);
    let Difference { path, what } = difference(expected.reply.as_ref()?, reply)?;
    Some(format!("`{path}` {what}"))
}
