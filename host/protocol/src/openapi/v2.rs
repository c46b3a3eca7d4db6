//! The routes of V2: inference per model, and the models' metadata.

mod config;
mod generate;
mod infer;

use super::error_response;
use super::operation::{Document, Operation, REPOSITORY, json_response, object, reference};
use super::parameter::{model_parameter, version_parameter};
use super::served::{Control, Served};
use serde_json::{Value, json};
use wisp_tensor::ElementType;

pub(super) fn add(document: &mut Document, served: &Served) {
    infer::add(document, served);
    generate::add(document, served);
    add_shared_schemas(document);
    document.add(
        "/v2",
        get_operation(
            "serverMetadata",
            "Server metadata: name, version, extensions",
            "ServerMetadata",
        ),
    );
    document.add(
        "/v2/models",
        get_operation("models", "The names of the models", "ModelList"),
    );
    document.add(
        "/v2/models/stats",
        get_operation("statistics", "Statistics of all models", "Statistics"),
    );
    let ready = json!({
        "type": ["boolean", "null"],
        "description": "If true, only versions that are ready are listed",
    });
    let filter = json!({"type": "object", "properties": {"ready": ready}});
    document.add(
        "/v2/repository/index",
        Operation {
            body: Some(json!({"content": {"application/json": {
                "schema": filter,
                "example": {"ready": true},
            }}})),
            errors: error_response::READ,
            ..get_operation(
                "repositoryIndex",
                "Every version and its state",
                "RepositoryIndex",
            )
        },
    );
    add_model_routes(document, served);
    if served.control == Control::Clients {
        add_control(document, served);
    }
}

/// Adds the metadata routes of a model, for its default version and by number.
fn add_model_routes(document: &mut Document, served: &Served) {
    let model = model_parameter(served);
    let version = version_parameter(served);
    for (word, id, summary, schema) in [
        (
            "",
            "modelMetadata",
            "Model metadata: inputs, outputs, versions",
            "ModelMetadata",
        ),
        ("/ready", "modelReady", "Model readiness", "ModelReady"),
        (
            "/config",
            "modelConfig",
            "Model configuration in Triton's format",
            "ModelConfig",
        ),
        (
            "/stats",
            "modelStatistics",
            "Statistics of a model since it was loaded",
            "Statistics",
        ),
    ] {
        document.add(
            format!("/v2/models/{{model}}{word}"),
            Operation {
                parameters: vec![model.clone()],
                errors: error_response::NAMED,
                ..get_operation(id, summary, schema)
            },
        );
        document.add(
            format!("/v2/models/{{model}}/versions/{{version}}{word}"),
            Operation {
                parameters: vec![model.clone(), version.clone()],
                errors: error_response::NAMED,
                ..get_operation(
                    &format!("{id}:versions"),
                    &format!("{summary} (one version)"),
                    schema,
                )
            },
        );
    }
}

fn add_control(document: &mut Document, served: &Served) {
    let body = |description: &str, parameters: Value| {
        json!({
            "description": description,
            "content": {"application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"parameters": parameters},
                },
                "example": {},
            }},
        })
    };
    let load = body(
        "Optional. Without parameters, the model is loaded as it is in the repository.",
        json!({
            "type": ["object", "null"],
            "properties": {
                "config": {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "description": "A model configuration in Triton's format, as JSON in a string.",
                },
                "unload_dependents": {},
            },
            "patternProperties": {"^file:[1-9][0-9]*/[^/]+$": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "A file of the model. With files, `config` is required.",
            }},
            "additionalProperties": false,
        }),
    );
    let unload = body("Optional.", json!({"type": ["object", "null"]}));
    for (verb, summary, done, body) in [
        ("load", "Load or reload a model", "Loaded", load),
        ("unload", "Unload a model", "Unloaded", unload),
    ] {
        let mut schema = object(json!({"name": {"type": "string"}, verb: {"const": true}}));
        if verb == "load" {
            schema["properties"]["ignored_fields"] = json!({
                "type": "array",
                "items": {"type": "string"},
                "description": "The fields of `config.pbtxt` without an effect, if there are any.",
            });
        }
        document.schema(done, schema);
        document.add(
            format!("/v2/repository/models/{{model}}/{verb}"),
            Operation {
                parameters: vec![model_parameter(served)],
                body: Some(body),
                errors: error_response::CONTROLLED,
                ..get_operation(&format!("{verb}Model"), summary, done)
            },
        );
    }
}

/// Creates a GET operation without parameters whose response is the schema of this name.
fn get_operation(id: &str, summary: &str, schema: &str) -> Operation {
    Operation {
        id: id.to_owned(),
        tag: REPOSITORY,
        summary: summary.to_owned(),
        parameters: Vec::new(),
        body: None,
        success: json_response("Success.", &reference(schema)),
        errors: &[],
    }
}

/// Adds the schemas that do not depend on the model.
fn add_shared_schemas(document: &mut Document) {
    let text = || json!({"type": "string"});
    let list = |items: Value| json!({"type": "array", "items": items});
    let sizes =
        || list(json!({"type": "integer", "minimum": -1, "description": "-1 where variable"}));
    let datatypes = ElementType::ALL.map(ElementType::name);
    document.schema(
        "ServerMetadata",
        object(json!({"name": text(), "version": text(), "extensions": list(text())})),
    );
    document.schema("ModelList", object(json!({"models": list(text())})));
    let spec = object(json!({"name": text(), "datatype": {"enum": datatypes}, "shape": sizes()}));
    let spec = document.schema("TensorMetadata", spec);
    let mut metadata = object(json!({
        "name": text(),
        "versions": list(text()),
        "platform": text(),
        "inputs": list(spec.clone()),
        "outputs": list(spec),
    }));
    metadata["properties"]["parameters"] =
        json!({"type": "object", "additionalProperties": text()});
    document.schema("ModelMetadata", metadata);
    document.schema(
        "ModelReady",
        object(json!({"name": text(), "ready": {"const": true}})),
    );
    config::add_schema(document);
    document.schema("Statistics", statistics());
    let states = ["LOADING", "READY", "UNLOADING", "UNAVAILABLE"];
    let mut entry = object(json!({"name": text(), "state": {"enum": states}}));
    entry["properties"]["version"] = text();
    entry["properties"]["reason"] = text();
    document.schema("RepositoryIndex", list(entry));
}

/// Returns the schema of the quality of a version's data.
fn data_quality() -> Value {
    let count = || json!({"type": "integer", "minimum": 0});
    let share = || json!({"type": "number", "minimum": 0, "maximum": 1});
    let number = || json!({"type": ["number", "null"]});
    let feature = object(json!({
        "name": {"type": "string"},
        "observations": count(),
        "missing": share(),
        "baseline_missing": share(),
        "psi": number(),
        "ks": number(),
        "p_value": number(),
    }));
    let input = object(json!({
        "name": {"type": "string"},
        "features": {"type": "array", "items": feature},
    }));
    let mut quality = object(json!({
        "rejected_inputs": count(),
        "output_violations": count(),
        "inputs": {"type": "array", "items": input},
    }));
    quality["properties"]["window"] = count();
    quality
}

/// Returns the schema of the batching of a version's graphs.
fn batching() -> Value {
    let count = || json!({"type": "integer", "minimum": 0});
    let measurement = object(json!({"row_elements": count(), "rows": count(), "ns": count()}));
    let graph = object(json!({
        "graph": {"type": "string"},
        "decision": {"type": "string"},
        "measurements": {"type": "array", "items": measurement},
    }));
    json!({"type": "array", "items": graph})
}

/// Returns the schema of the statistics in Triton's format.
fn statistics() -> Value {
    let count = || json!({"type": "integer", "minimum": 0});
    let sums = |names: &[&str]| {
        let sum = object(json!({"count": count(), "ns": count()}));
        let sums = names.iter().map(|name| (name.to_string(), sum.clone()));
        Value::Object(sums.collect())
    };
    let phases = ["compute_input", "compute_infer", "compute_output"];
    let requests = ["success", "fail", "queue", "cache_hit", "cache_miss"];
    let mut batch = sums(&phases);
    batch["batch_size"] = count();
    let mut version = object(json!({
        "name": {"type": "string"},
        "version": {"type": "string"},
        "last_inference": count(),
        "inference_count": count(),
        "execution_count": count(),
        "inference_stats": object(sums(&[requests.as_slice(), &phases].concat())),
        "batch_stats": {"type": "array", "items": object(batch)},
    }));
    // Only versions with rules or a baseline have it.
    version["properties"]["data_quality"] = data_quality();
    // Only versions with graphs have it.
    version["properties"]["batching"] = batching();
    object(json!({"model_stats": {"type": "array", "items": version}}))
}
