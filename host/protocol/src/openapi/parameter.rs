//! The path parameters for a model and a version.

use super::served::Served;
use crate::call::Version;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The grammar of the names of models, and of labels.
const NAME_PATTERN: &str = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$";

/// The grammar of the numbers of versions.
const VERSION_PATTERN: &str = "^0*[1-9][0-9]{0,19}$";

/// Returns the path parameter for a model's name.
pub(super) fn model_parameter(served: &Served) -> Value {
    let names: Vec<&str> = served
        .models
        .iter()
        .map(|model| model.name.as_str())
        .collect();
    let mut schema = json!({"type": "string"});
    // An empty `enum` would make the document invalid.
    match names.is_empty() {
        true => schema["pattern"] = json!(NAME_PATTERN),
        false => schema["enum"] = json!(names),
    }
    let mut parameter = json!({"name": "model", "in": "path", "required": true, "schema": schema});
    if let Some(first) = served.first_ready() {
        parameter["example"] = json!(first.model.as_str());
    }
    parameter
}

/// Returns the query parameters that select a version in the predict API.
pub(super) fn version_queries() -> Vec<Value> {
    let query = |name: &str, description: &str, pattern: &str| {
        json!({
            "name": name,
            "in": "query",
            "description": description,
            "schema": {"type": "string", "pattern": pattern},
        })
    };
    vec![
        query("version", "The number of a version", VERSION_PATTERN),
        query("label", "The label of a version", NAME_PATTERN),
    ]
}

/// Returns the path parameter for a version's number.
pub(super) fn version_parameter(served: &Served) -> Value {
    let numbers: BTreeSet<Version> = served.versions().map(|model| model.version).collect();
    let numbers: Vec<String> = numbers.iter().map(Version::to_string).collect();
    let mut schema = json!({"type": "string", "pattern": VERSION_PATTERN});
    if !numbers.is_empty() {
        schema["examples"] = json!(numbers);
    }
    let mut parameter =
        json!({"name": "version", "in": "path", "required": true, "schema": schema});
    if let Some(first) = served.first_ready() {
        parameter["example"] = json!(first.version.to_string());
    }
    parameter
}
