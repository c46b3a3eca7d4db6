//! The routes of TF Serving. KServe V1 shares the `:predict` route for rows and the list of models.

use super::element::{self, Axes, Notation, nested};
use super::error_response;
use super::operation::{Document, Operation, TFS, json_body, json_response, object, reference};
use super::parameter::{model_parameter, version_parameter};
use super::served::{RouteVariant, Served, schema_name};
use crate::call::ModelDescription;
use crate::output_semantics::{RowCardinality, is_float, row_cardinality};
use crate::relaxed_json::Rows;
use crate::tfs::{SIGNATURE_NAME, Verb};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wisp_tensor::ElementType;

pub(super) fn add(document: &mut Document, served: &Served) {
    add_shared_schemas(document);
    let mut list = get_operation("tfsModels", "The names of the models");
    list.success = json_response("Success.", &reference("TfsModelList"));
    document.add("/v1/models", list);
    add_model_routes(document, served);
    for model in served.versions().filter(|model| element::takes_json(model)) {
        add_schemas(document, model);
    }
    for variant in served.route_variants() {
        if element::takes_json(variant.model) {
            add_inference(document, &variant);
        }
    }
}

/// Adds the status and metadata routes of a model: without a version, by number and by label.
fn add_model_routes(document: &mut Document, served: &Served) {
    let mut version = version_parameter(served);
    version["schema"]["pattern"] = json!("^(0|0*[1-9][0-9]{0,19})$");
    version["description"] = json!("0 means the latest.");
    let mut choices = vec![
        ("", "", vec![model_parameter(served)]),
        (
            "/versions/{version}",
            ":versions",
            vec![model_parameter(served), version],
        ),
    ];
    let labels = served.models.iter().flat_map(|model| &model.labels);
    let labels: BTreeSet<&str> = labels.map(|(label, _)| label.as_str()).collect();
    if !labels.is_empty() {
        let schema = json!({"type": "string", "enum": labels});
        let mut label = json!({"name": "label", "in": "path", "required": true, "schema": schema});
        let mut model = model_parameter(served);
        if let Some((name, example)) = served.first_label() {
            model["example"] = json!(name.as_str());
            label["example"] = json!(example.as_str());
        }
        choices.push(("/labels/{label}", ":labels", vec![model, label]));
    }
    for (choice, suffix, parameters) in choices {
        for (word, id, summary, schema) in [
            (
                "",
                "tfsStatus",
                "The states of a model's versions",
                "TfsStatus",
            ),
            (
                "/metadata",
                "tfsMetadata",
                "Model metadata: inputs and outputs",
                "TfsMetadata",
            ),
        ] {
            document.add(
                format!("/v1/models/{{model}}{choice}{word}"),
                Operation {
                    parameters: parameters.clone(),
                    success: json_response("Success.", &reference(schema)),
                    errors: error_response::NAMED,
                    ..get_operation(&format!("{id}{suffix}"), summary)
                },
            );
        }
    }
}

fn get_operation(id: &str, summary: &str) -> Operation {
    Operation {
        id: id.to_owned(),
        tag: TFS,
        summary: summary.to_owned(),
        parameters: Vec::new(),
        body: None,
        success: Value::Null,
        errors: &[],
    }
}

fn add_schemas(document: &mut Document, model: &ModelDescription) {
    document.schema(schema_name(model, "PredictRequest"), predict_request(model));
    document.schema(
        schema_name(model, "PredictResponse"),
        predict_response(model),
    );
    if [Verb::Classify, Verb::Regress]
        .iter()
        .any(|&verb| verb.is_supported_by(model))
    {
        document.schema(schema_name(model, "Examples"), examples_request(model));
    }
}

fn add_inference(document: &mut Document, variant: &RouteVariant) {
    let model = variant.model;
    for (verb, name, doing) in [
        (Verb::Predict, "predict", "Predict with"),
        (Verb::Classify, "classify", "Classify with"),
        (Verb::Regress, "regress", "Regress with"),
    ] {
        if !verb.is_supported_by(model) {
            continue;
        }
        let (schema, example, response) = match verb {
            Verb::Predict => (
                "PredictRequest",
                predict_example(variant),
                reference(&schema_name(model, "PredictResponse")),
            ),
            Verb::Classify => (
                "Examples",
                examples_example(variant),
                reference("TfsClasses"),
            ),
            Verb::Regress => (
                "Examples",
                regress_example(variant),
                reference("TfsNumbers"),
            ),
        };
        let request = reference(&schema_name(model, schema));
        document.add(
            format!("/v1/models/{}{}:{name}", model.model, variant.path()),
            Operation {
                body: Some(json_body(&request, example)),
                success: json_response("Success.", &response),
                errors: error_response::INFERRED,
                ..get_operation(
                    &variant.operation_id(&format!("tfs:{name}")),
                    &format!("{doing} {}", variant.title()),
                )
            },
        );
    }
}

fn predict_example(variant: &RouteVariant) -> Option<Value> {
    let example = variant.example()?;
    match Axes::of_rows(variant.model) {
        Axes::Row => Some(json!({"instances": [example.row()?]})),
        Axes::All => Some(json!({"inputs": example.columns()?})),
    }
}

fn examples_example(variant: &RouteVariant) -> Option<Value> {
    Some(json!({"examples": [variant.example()?.named_row()?]}))
}

/// Returns the example of `:regress`; `None` if the width of the output, and so the response to an example, is not
/// known.
fn regress_example(variant: &RouteVariant) -> Option<Value> {
    let model = variant.model;
    let mut outputs = model.signature.outputs.iter();
    let has_number = outputs
        .any(|output| is_float(output) && row_cardinality(output, model) == RowCardinality::One);
    examples_example(variant).filter(|_| has_number)
}

fn predict_request(model: &ModelDescription) -> Value {
    let columns = json!({
        "type": "object",
        "title": "columns",
        "required": ["inputs"],
        "properties": {
            "inputs": value(model, Axes::All),
            "signature_name": signature_name("tensorflow/serving/predict"),
            "instances": false,
        },
    });
    if Axes::of_rows(model) == Axes::All {
        return columns;
    }
    let rows = json!({
        "type": "object",
        "title": "rows",
        "required": ["instances"],
        "properties": {
            "instances": rows(model, value(model, Axes::Row)),
            "signature_name": signature_name("tensorflow/serving/predict"),
            "inputs": false,
        },
    });
    json!({"anyOf": [rows, columns]})
}

/// Returns the schema of an array of at least one row.
fn rows(model: &ModelDescription, row: Value) -> Value {
    let mut rows = json!({"type": "array", "minItems": 1, "items": row});
    if let Some(most) = model.max_rows {
        rows["maxItems"] = json!(most);
    }
    rows
}

/// Returns the schema of a bare value if exactly one input is addressed, or of an object by name.
fn value(model: &ModelDescription, axes: Axes) -> Value {
    let object = element::by_name(model, axes, nested);
    let columns = Rows::whole(model);
    let only = columns.only_input().and_then(|input| {
        let element = element::element(input.element_type, Notation::Relaxed)?;
        Some(nested(element, axes.of(input)))
    });
    match only {
        Some(bare) => json!({"anyOf": [bare, object]}),
        None => object,
    }
}

fn predict_response(model: &ModelDescription) -> Value {
    let columns = object(json!({"outputs": outputs(model, Axes::All)}));
    if Axes::of_rows(model) == Axes::All {
        return columns;
    }
    let rows = json!({"type": "array", "items": outputs(model, Axes::Row)});
    json!({"anyOf": [object(json!({"predictions": rows})), columns]})
}

/// Returns the schema of the outputs: a bare value for one output, an object for several.
fn outputs(model: &ModelDescription, axes: Axes) -> Value {
    let outputs = model.signature.outputs.iter();
    let values = outputs.map(|output| {
        let value = nested(
            element::response_element(output.element_type),
            axes.of(output),
        );
        (output.name.clone(), value)
    });
    let mut values: Vec<(String, Value)> = values.collect();
    match values.len() {
        1 => values.remove(0).1,
        _ => object(Value::Object(values.into_iter().collect())),
    }
}

/// Returns the schema of the body of `:classify` and `:regress`.
fn examples_request(model: &ModelDescription) -> Value {
    let all = element::by_name(model, Axes::Row, element::any_form);
    let mut some = all.clone();
    if let Some(members) = some.as_object_mut() {
        members.remove("required");
    }
    // A feature in the context may be omitted from the examples.
    let complete = json!({
        "type": "object",
        "required": ["examples"],
        "properties": {"examples": rows(model, all), "context": false},
    });
    let completed = json!({
        "type": "object",
        "required": ["examples", "context"],
        "properties": {
            "examples": rows(model, some.clone()),
            "context": some,
        },
    });
    json!({
        "type": "object",
        "properties": {"signature_name": {"type": ["string", "null"], "enum": [
            SIGNATURE_NAME, "", null, "tensorflow/serving/classify", "tensorflow/serving/regress",
        ]}},
        "anyOf": [complete, completed],
    })
}

/// Returns the schema of the name of the only signature, which clients may spell in several ways.
fn signature_name(method: &str) -> Value {
    json!({"enum": [SIGNATURE_NAME, "", method, null]})
}

/// Adds the schemas that do not depend on the model.
fn add_shared_schemas(document: &mut Document) {
    let text = || json!({"type": "string"});
    let list = |items: Value| json!({"type": "array", "items": items});
    let entry = object(json!({
        "id": text(),
        "object": {"const": "model"},
        "created": {"type": "integer"},
        "owned_by": text(),
    }));
    let models = object(json!({
        "models": list(text()),
        "object": {"const": "list"},
        "data": list(entry),
    }));
    document.schema("TfsModelList", models);
    let failure = object(json!({"error_code": text(), "error_message": text()}));
    let states = ["LOADING", "AVAILABLE", "UNLOADING", "END"];
    let version = object(json!({"version": text(), "state": {"enum": states}, "status": failure}));
    let status = object(json!({
        "name": text(),
        "ready": {"type": "boolean"},
        "model_version_status": list(version),
    }));
    document.schema("TfsStatus", status);
    add_metadata(document);
    let label = element::response_element(ElementType::Bytes);
    let score = json!({"type": "number"});
    let pair = json!({
        "type": "array",
        "description": "A label and a score.",
        "items": {"anyOf": [label, score]},
        "minItems": 2,
        "maxItems": 2,
    });
    document.schema("TfsClasses", object(json!({"results": list(list(pair))})));
    let numbers = object(json!({"results": list(json!({"type": "number"}))}));
    document.schema("TfsNumbers", numbers);
}

fn add_metadata(document: &mut Document) {
    let text = || json!({"type": "string"});
    let sizes = json!({"type": "array", "items": object(json!({"size": text(), "name": text()}))});
    let shape = object(json!({"dim": sizes, "unknown_rank": {"const": false}}));
    let tensor = object(json!({"dtype": text(), "tensor_shape": shape, "name": text()}));
    let tensor = document.schema("TfsTensorMetadata", tensor);
    let tensors = json!({"type": "object", "additionalProperties": tensor});
    let signature = object(json!({
        "inputs": tensors.clone(),
        "outputs": tensors,
        "method_name": text(),
    }));
    let signatures = object(json!({"signature_def": object(json!({SIGNATURE_NAME: signature}))}));
    let model = object(json!({"name": text(), "signature_name": text(), "version": text()}));
    let metadata = object(json!({
        "model_spec": model,
        "metadata": object(json!({"signature_def": signatures})),
    }));
    document.schema("TfsMetadata", metadata);
}
