//! The neighbor of an attacked model: `wine`, whose response is known.

use super::{Response, TestServer, output};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Returns a request with a wine of the second class.
pub(crate) fn wine() -> Value {
    json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, 13],
        "data": [12.37, 0.94, 1.36, 10.6, 88.0, 1.98, 0.57, 0.28, 0.42, 1.95, 1.05, 1.82, 520.0],
    }] })
}

/// Checks that the wine is classified correctly.
pub(crate) fn victim_is_well(server: &TestServer) -> Result<()> {
    check_class(&server.infer("wine", &wine())?)
}

/// Checks the response to the request for the wine.
pub(crate) fn check_class(response: &Response) -> Result<()> {
    let answer = response.ok()?;
    let class = &output(&answer, "class")?["data"][0];
    ensure!(*class == "class_1", "{answer}");
    Ok(())
}
