//! The generate extension of V2: requests and responses without datatypes and shapes.

use crate::call::ModelDescription;
use crate::openapi::element::{Axes, Notation, any_form, element, response_element, takes_json};
use crate::openapi::error_response;
use crate::openapi::operation::{
    Document, INFERENCE, Operation, json_body, json_response, reference,
};
use crate::openapi::served::{RouteVariant, Served, schema_name};
use serde_json::{Map, Value, json};
use wisp_tensor::TensorSpec;

pub(super) fn add(document: &mut Document, served: &Served) {
    for model in served.versions().filter(|model| takes_json(model)) {
        document.schema(schema_name(model, "GenerateRequest"), request(model));
        document.schema(schema_name(model, "GenerateResponse"), response(model));
    }
    for variant in served.route_variants() {
        // V2 has no labels.
        if !variant.is_label() && takes_json(variant.model) {
            add_routes(document, &variant);
        }
    }
}

fn add_routes(document: &mut Document, variant: &RouteVariant) {
    let model = variant.model;
    let object = json_response(
        "The outputs.",
        &reference(&schema_name(model, "GenerateResponse")),
    );
    let events = json!({
        "description": "A stream with one event, which contains the response of `generate`.",
        "content": {"text/event-stream": {}},
    });
    for (verb, doing, success) in [
        ("generate", "Generate with", object),
        ("generate_stream", "Stream what is generated with", events),
    ] {
        let example = variant.example().and_then(|example| example.generate());
        let request = reference(&schema_name(model, "GenerateRequest"));
        document.add(
            format!("/v2/models/{}{}/{verb}", model.model, variant.path()),
            Operation {
                id: variant.operation_id(verb),
                tag: INFERENCE,
                summary: format!("{doing} {}", variant.title()),
                parameters: Vec::new(),
                body: Some(json_body(&request, example)),
                success,
                errors: error_response::INFERRED,
            },
        );
    }
}

/// Returns the schema of an object with a value for each input, without the batch axis, and parameters.
fn request(model: &ModelDescription) -> Value {
    let parameter = json!({"type": ["boolean", "number", "string", "null"]});
    let inputs = model.signature.inputs.iter();
    let values = inputs.clone().filter_map(|input| {
        let value = value(input, model)?;
        Some((input.name.clone(), value))
    });
    // An input takes precedence over a member of the protocol with the same name.
    let own = [
        (
            "id",
            json!({"type": ["string", "null"], "description": "Returned in the response"}),
        ),
        (
            "parameters",
            json!({"type": ["object", "null"], "additionalProperties": parameter.clone()}),
        ),
    ];
    let own = own.map(|(name, schema)| (name.to_owned(), schema));
    let properties: Map<String, Value> = own.into_iter().chain(values).collect();
    let mut request = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": parameter,
    });
    // An optional input may replace required ones; only the handler can decide.
    if inputs.clone().all(|input| !input.optional) {
        request["required"] = inputs.map(|input| input.name.as_str()).collect();
    }
    request
}

fn value(input: &TensorSpec, model: &ModelDescription) -> Option<Value> {
    let axes = match input.is_parameter() {
        true => Axes::All,
        false => Axes::of_rows(model),
    };
    let value = any_form(
        element(input.element_type, Notation::Relaxed)?,
        axes.of(input),
    );
    Some(match input.optional {
        true => json!({"anyOf": [value, {"type": "null"}]}),
        false => value,
    })
}

/// Returns the schema of the response, in which an output is an element or a flat array.
fn response(model: &ModelDescription) -> Value {
    let own = [
        ("id", json!({"type": "string"})),
        ("model_name", json!({"const": model.model.as_str()})),
        ("model_version", json!({"const": model.version.to_string()})),
    ];
    let own = own.map(|(name, schema)| (name.to_owned(), schema));
    let outputs = model.signature.outputs.iter().map(|output| {
        let element = response_element(output.element_type);
        let array = json!({"type": "array", "items": element.clone()});
        (output.name.clone(), json!({"anyOf": [element, array]}))
    });
    let properties: Map<String, Value> = own.into_iter().chain(outputs).collect();
    json!({
        "type": "object",
        "required": ["model_name", "model_version"],
        "properties": properties,
    })
}
