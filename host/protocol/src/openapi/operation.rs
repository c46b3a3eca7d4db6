//! An operation of the document, and the parts that operations share.

use super::authentication::RequiredKey;
use super::error_response::{self, ErrorResponse};
use super::served::Authentication;
use crate::error::ErrorKind;
use crate::rest::RestProtocol;
use serde_json::{Map, Value, json};

/// The groups of operations, in display order.
pub(super) const TAGS: [(&str, &str); 6] = [
    (
        INFERENCE,
        "The Open Inference Protocol of Triton and KServe, with named tensors.",
    ),
    (
        REPOSITORY,
        "Metadata, configuration, statistics and states of the models, in V2's format, and \
        loading and unloading.",
    ),
    (
        TFS,
        "The REST protocol of TF Serving, with rows, columns, classes and numbers. KServe V1 \
        shares `:predict` on rows. Values that are not finite are written as the bare words NaN and \
        Infinity.",
    ),
    (PREDICT, "Predictions from plain JSON features."),
    (HEALTH, "Liveness and readiness of the server."),
    (DOCUMENTATION, "This document, and the page that shows it."),
];

pub(super) const INFERENCE: &str = "V2";
pub(super) const REPOSITORY: &str = "V2 models";
pub(super) const TFS: &str = "TF Serving and KServe V1";
pub(super) const PREDICT: &str = "Predict";
pub(super) const HEALTH: &str = "Health";
pub(super) const DOCUMENTATION: &str = "Documentation";

/// The parts of the document as they are added.
#[derive(Default)]
pub(super) struct Document {
    pub(super) authentication: Authentication,
    pub(super) paths: Map<String, Value>,
    pub(super) schemas: Map<String, Value>,
    pub(super) responses: Map<String, Value>,
}

/// An operation: one method of one path.
pub(super) struct Operation {
    /// The operation id, unique in the document.
    pub(super) id: String,
    pub(super) tag: &'static str,
    pub(super) summary: String,
    pub(super) parameters: Vec<Value>,
    /// The request body, if any; an operation with a body is a POST.
    pub(super) body: Option<Value>,
    /// The response with status 200.
    pub(super) success: Value,
    /// The possible errors besides those that are always possible.
    pub(super) errors: &'static [ErrorKind],
}

impl Document {
    /// Adds an operation at a path that has none.
    pub(super) fn add(&mut self, path: impl Into<String>, operation: Operation) {
        let Operation {
            id,
            tag,
            summary,
            parameters,
            body,
            success,
            errors,
        } = operation;
        let path = path.into();
        let key = match self.authentication {
            Authentication::None => None,
            Authentication::Keys => Some(RequiredKey::of_path(&path)),
        };
        let unauthenticated = key.map(RequiredKey::errors).unwrap_or_default();
        let errors = [errors, unauthenticated].concat();
        let mut responses = Map::new();
        responses.insert("200".to_owned(), success);
        for error in error_response::responses(RestProtocol::from_path(&path), &errors) {
            let ErrorResponse {
                status,
                name,
                response,
            } = error;
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            responses.insert(status.as_str().to_owned(), reference);
            self.responses.insert(name, response);
        }
        let mut described = json!({
            "operationId": id,
            "tags": [tag],
            "summary": summary,
            "responses": responses,
        });
        if let Some(requirement) = key.and_then(RequiredKey::requirement) {
            described["security"] = requirement;
        }
        if !has_example(&parameters, body.as_ref()) {
            described["x-no-example"] = json!(true);
        }
        if !parameters.is_empty() {
            described["parameters"] = Value::Array(parameters);
        }
        let method = match body {
            Some(body) => {
                described["requestBody"] = body;
                "post"
            }
            None => "get",
        };
        self.paths.insert(path, json!({method: described}));
    }

    /// Adds a schema and returns a reference to it.
    pub(super) fn schema(&mut self, name: impl Into<String>, schema: Value) -> Value {
        let name = name.into();
        let reference = reference(&name);
        self.schemas.insert(name, schema);
        reference
    }
}

/// Returns whether an operation has an example of its body, if there is one, and of each required parameter.
fn has_example(parameters: &[Value], body: Option<&Value>) -> bool {
    let mut required = parameters
        .iter()
        .filter(|parameter| parameter["required"] == true);
    let is_known = |body: &Value| !body["content"]["application/json"]["example"].is_null();
    required.all(|parameter| !parameter["example"].is_null()) && body.is_none_or(is_known)
}

/// Returns a reference to the schema of this name.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// Returns a response with a JSON document.
pub(super) fn json_response(description: &str, schema: &Value) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

/// Returns a required JSON body, with an example if there is one.
pub(super) fn json_body(schema: &Value, example: Option<Value>) -> Value {
    let mut media = json!({"schema": schema});
    if let Some(example) = example {
        media["example"] = example;
    }
    json!({"required": true, "content": {"application/json": media}})
}

/// Returns the schema of an object that has all of these members, and may have others.
pub(super) fn object(members: Value) -> Value {
    let names: Vec<&String> = members
        .as_object()
        .map(|members| members.keys().collect())
        .unwrap_or_default();
    json!({"type": "object", "required": names, "properties": members})
}
