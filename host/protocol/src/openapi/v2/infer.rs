//! Inference in V2: one path per way to address a version, with the schema of its request.

use crate::call::ModelDescription;
use crate::classification::is_ranked;
use crate::openapi::element::{Notation, element, flat_or_nested, input_shape, output_shape};
use crate::openapi::error_response;
use crate::openapi::operation::{Document, INFERENCE, Operation, reference};
use crate::openapi::served::{RouteVariant, Served, schema_name};
use serde_json::{Value, json};
use wisp_tensor::{ElementType, TensorSpec};

/// The header that holds the length of the JSON before binary data, in the capitalization clients use.
const HEADER_LENGTH: &str = "Inference-Header-Content-Length";

pub(super) fn add(document: &mut Document, served: &Served) {
    for model in served.versions() {
        document.schema(schema_name(model, "InferRequest"), request(model));
        document.schema(schema_name(model, "InferResponse"), response(model));
    }
    for variant in served.route_variants() {
        // V2 has no labels.
        if variant.is_label() {
            continue;
        }
        let model = variant.model;
        document.add(
            format!("/v2/models/{}{}/infer", model.model, variant.path()),
            Operation {
                id: variant.operation_id("infer"),
                tag: INFERENCE,
                summary: format!("Run inference with {}", variant.title()),
                parameters: vec![header_parameter()],
                body: Some(body(&variant)),
                success: success(model),
                errors: error_response::INFERRED,
            },
        );
    }
}

fn header_parameter() -> Value {
    json!({
        "name": HEADER_LENGTH,
        "in": "header",
        "description": "The length of the JSON in bytes, if binary data follows it. 0 for a raw \
            body, which contains only the bytes of the model's one required input. Without the \
            header, the whole body is JSON.",
        "schema": {"type": "integer", "minimum": 0},
    })
}

fn body(variant: &RouteVariant) -> Value {
    let model = variant.model;
    let mut content = json!({"application/octet-stream": {"schema": {
        "type": "string",
        "format": "binary",
        "description": "JSON followed by the binary data of its inputs, or a raw body.",
    }}});
    // An input without a JSON form must be sent as binary data.
    let has_json_form = |input: &TensorSpec| element(input.element_type, Notation::V2).is_some();
    let mut required = model
        .signature
        .inputs
        .iter()
        .filter(|input| !input.optional);
    if required.all(has_json_form) {
        let mut json = json!({"schema": reference(&schema_name(model, "InferRequest"))});
        if let Some(example) = variant.example().and_then(|example| example.v2()) {
            json["example"] = example;
        }
        content["application/json"] = json;
    }
    json!({"required": true, "content": content})
}

fn success(model: &ModelDescription) -> Value {
    let binary = json!({
        "type": "string",
        "format": "binary",
        "description": "JSON followed by the binary data of the outputs.",
    });
    json!({
        "description": "The outputs.",
        "headers": {HEADER_LENGTH: {
            "description": "The length of the JSON in bytes, if binary data follows it.",
            "schema": {"type": "integer", "minimum": 0},
        }},
        "content": {
            "application/json": {"schema": reference(&schema_name(model, "InferResponse"))},
            "application/octet-stream": {"schema": binary},
        },
    })
}

fn request(model: &ModelDescription) -> Value {
    let wanted: Vec<Value> = model.signature.outputs.iter().map(wanted).collect();
    json!({
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": ["string", "null"], "description": "Returned in the response"},
            "parameters": {
                "type": ["object", "null"],
                "description": "Passed to the handler, except `binary_data_output`",
                "properties": {"binary_data_output": {
                    "type": "boolean",
                    "description": "If true, outputs are returned as binary data",
                }},
                "additionalProperties": {"type": ["boolean", "number", "string"]},
            },
            "inputs": inputs(model),
            "outputs": {
                "type": ["array", "null"],
                "description": "The outputs to return, in this order, each of them once; all if empty",
                "items": any_of(wanted),
            },
        },
    })
}

fn inputs(model: &ModelDescription) -> Value {
    let specs = model.signature.inputs.as_slice();
    let inputs: Vec<Value> = specs.iter().filter_map(|spec| input(spec, model)).collect();
    // An optional input may replace required ones; only the handler can decide.
    let least = match specs.iter().any(|spec| spec.optional) {
        true => 0,
        false => specs.len(),
    };
    let mut list = json!({
        "type": "array",
        "minItems": least,
        "maxItems": specs.len(),
        "items": any_of(inputs),
    });
    if least > 1 {
        let each = specs.iter().map(|spec| {
            let named = json!({"required": ["name"], "properties": {"name": {"const": spec.name}}});
            json!({"contains": named})
        });
        list["allOf"] = each.collect();
    }
    list
}

fn input(spec: &TensorSpec, model: &ModelDescription) -> Option<Value> {
    let element = element(spec.element_type, Notation::V2)?;
    let presence = match spec.optional {
        true => "optional",
        false => "required",
    };
    Some(json!({
        "type": "object",
        "title": spec.name,
        "description": format!("{} ({presence})", spec.name),
        "required": ["name", "datatype", "shape", "data"],
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": spec.element_type.name()},
            "shape": input_shape(spec, model),
            "data": flat_or_nested(element, &spec.shape),
            "parameters": {"type": ["object", "array", "null"]},
        },
    }))
}

fn response(model: &ModelDescription) -> Value {
    let outputs = model.signature.outputs.iter();
    let outputs = outputs.flat_map(|spec| [Some(output(spec)), classes(spec)]);
    json!({
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"const": model.model.as_str()},
            "model_version": {"const": model.version.to_string()},
            "id": {"type": "string"},
            "parameters": {
                "type": "object",
                "additionalProperties": {"type": ["boolean", "number", "string"]},
            },
            "outputs": {"type": "array", "items": any_of(outputs.flatten().collect())},
        },
    })
}

fn output(spec: &TensorSpec) -> Value {
    let mut described = json!({
        "type": "object",
        "title": spec.name,
        "required": ["name", "datatype", "shape"],
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": spec.element_type.name()},
            "shape": output_shape(spec),
            "parameters": {
                "type": "object",
                "properties": {"binary_data_size": {"type": "integer", "minimum": 0}},
            },
        },
    });
    if let Some(element) = element(spec.element_type, Notation::V2) {
        // Bare NaN and Infinity count as numbers.
        let element = match spec.element_type {
            ElementType::Fp32 | ElementType::Fp64 => json!({"type": "number"}),
            _ => element,
        };
        described["properties"]["data"] = json!({"type": "array", "items": element});
    }
    described
}

/// Returns the schema of a requested output.
fn wanted(spec: &TensorSpec) -> Value {
    let classification = match is_ranked(spec.element_type) {
        true => json!({
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": u64::MAX,
            "description": "Return this many of each row's greatest elements, as strings; with 0, the \
                elements themselves",
        }),
        false => json!({"enum": [0, null]}),
    };
    json!({
        "type": "object",
        "title": spec.name,
        "required": ["name"],
        "properties": {
            "name": {"const": spec.name},
            "parameters": {
                "type": ["object", "array", "null"],
                "properties": {
                    "binary_data": {"type": ["boolean", "null"]},
                    "classification": classification,
                },
            },
        },
    })
}

/// Returns the schema of an output that is replaced by classes, if its type can be ranked.
fn classes(spec: &TensorSpec) -> Option<Value> {
    let texts = TensorSpec {
        element_type: ElementType::Bytes,
        shape: Vec::new(),
        ..spec.clone()
    };
    let mut described = output(&texts);
    described["title"] = json!(format!("classes of {}", spec.name));
    described["properties"]["shape"] =
        json!({"type": "array", "items": {"type": "integer", "minimum": 0}});
    is_ranked(spec.element_type).then_some(described)
}

/// Returns a schema that accepts any of several schemas; with none, it accepts nothing.
fn any_of(mut schemas: Vec<Value>) -> Value {
    match schemas.len() {
        0 => Value::Bool(false),
        1 => schemas.remove(0),
        _ => json!({"anyOf": schemas}),
    }
}
