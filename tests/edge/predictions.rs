//! The protocol of TensorFlow Serving: golden cases as its requests, sent to a bundle and to the server.

use super::{TOLERANCE, send};
use crate::harness::TestServer;
use crate::harness::fixture::matches;
use crate::harness::root;
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::vec::IntoIter;

/// Sends the inputs of every golden case of an example as a prediction to both, and compares the answers. Returns the
/// number of cases that get outputs. The paths for metadata and status are compared too.
pub(super) fn compare_predictions(
    example: &str,
    host: SocketAddr,
    server: &TestServer,
) -> Result<usize> {
    for path in ["", "/metadata", "/versions/1"] {
        let path = format!("/v1/models/{example}{path}");
        let (native, found) = (server.get(&path)?, send(host, &format!("GET {path}"), b"")?);
        ensure!(
            native.status == found.status,
            "{path}: the server answers {}, the bundle {}",
            native.status,
            found.status
        );
    }
    let directory = root().join("examples").join(example).join("cases");
    let target = format!("POST /v1/models/{example}:predict");
    let mut answered = 0;
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        let case: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let request = prediction(&case, &directory)?;
        let body = serde_json::to_vec(&request)?;
        let native = server.request(&target, &[], &body)?;
        let found = send(host, &target, &body)?;
        let same = native.status == found.status
            && (native.status != 200 || matches(&native.json()?, &found.json()?, TOLERANCE));
        ensure!(
            same,
            "{}: the server answers {} {}, the bundle {} {}",
            path.display(),
            native.status,
            native.json()?,
            found.status,
            found.json()?
        );
        answered += usize::from(native.status == 200);
    }
    Ok(answered)
}

/// Returns the inputs of a golden case by name, as nested lists. The parameters of V2 have no place in this protocol.
fn prediction(case: &Value, directory: &Path) -> Result<Value> {
    let inputs = case["request"]["inputs"].as_array().context("no inputs")?;
    let mut columns = Map::new();
    for input in inputs {
        let name = input["name"].as_str().context("no name")?;
        let values = match input["file"].as_str() {
            Some(file) => {
                let content = std::fs::read(directory.join(file))?;
                json!([{ "b64": STANDARD.encode(content) }])
            }
            None => {
                let shape = input["shape"].as_array().context("no shape")?;
                let shape: Vec<u64> = shape.iter().filter_map(Value::as_u64).collect();
                let mut values = Vec::new();
                flatten(&input["data"], &mut values);
                nested(&mut values.into_iter(), &shape)
            }
        };
        columns.insert(name.to_owned(), values);
    }
    Ok(json!({ "inputs": columns }))
}

fn flatten(data: &Value, values: &mut Vec<Value>) {
    match data {
        Value::Array(elements) => elements.iter().for_each(|element| flatten(element, values)),
        value => values.push(value.clone()),
    }
}

/// Returns the next values as lists of this shape. Values that are missing are null.
fn nested(values: &mut IntoIter<Value>, shape: &[u64]) -> Value {
    match shape.split_first() {
        None => values.next().unwrap_or(Value::Null),
        Some((size, rest)) => Value::Array((0..*size).map(|_| nested(values, rest)).collect()),
    }
}
