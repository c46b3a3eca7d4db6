//! The routes of the predict API: predictions from plain JSON features.

use super::element::{self, Axes, Notation};
use super::error_response;
use super::operation::{Document, Operation, PREDICT, json_body, json_response, object, reference};
use super::parameter::version_queries;
use super::served::{RouteVariant, Served, schema_name};
use crate::call::ModelDescription;
use crate::predict::mapping::PredictionMapping;
use crate::relaxed_json::Rows;
use serde_json::{Value, json};
use wisp_tensor::TensorSpec;

pub(super) fn add(document: &mut Document, served: &Served) {
    for model in served.versions().filter(|model| element::takes_json(model)) {
        add_schemas(document, model);
    }
    for variant in served.route_variants() {
        if !element::takes_json(variant.model) {
            continue;
        }
        let path = format!("/{}{}", variant.model.model, variant.path());
        add_routes(document, &variant, &path);
        if variant.is_default() && served.models.len() == 1 {
            add_routes(document, &variant, "");
        }
    }
}

/// Adds the routes with this path after the verb; an empty path selects the only model.
fn add_routes(document: &mut Document, variant: &RouteVariant, path: &str) {
    let model = variant.model;
    let operation_id = |verb: &str| match path {
        "" => verb.to_owned(),
        _ => variant.operation_id(verb),
    };
    let which = match path {
        "" => "the only model".to_owned(),
        _ => variant.title(),
    };
    let parameters = match variant.is_default() {
        true => version_queries(),
        false => Vec::new(),
    };
    let row = variant.example().and_then(|example| example.row());
    let row = row.map(|features| json!({"features": features}));
    let one = Operation {
        id: operation_id("predict"),
        tag: PREDICT,
        summary: format!("Predict with {which}"),
        parameters: parameters.clone(),
        body: Some(json_body(&schema(model, "Features"), row.clone())),
        success: json_response("Success.", &schema(model, "Prediction")),
        errors: error_response::INFERRED,
    };
    document.add(format!("/predict{path}"), one);
    if Axes::of_rows(model) == Axes::All {
        return;
    }
    let rows = row.map(|row| json!({"instances": [row]}));
    let many = Operation {
        id: operation_id("batchPredict"),
        tag: PREDICT,
        summary: format!("Predict with {which} for many rows, with an error per row that fails"),
        parameters,
        body: Some(json_body(&schema(model, "BatchFeatures"), rows)),
        success: json_response(
            "The responses, in the order of the rows.",
            &schema(model, "BatchPrediction"),
        ),
        errors: error_response::INFERRED,
    };
    document.add(format!("/batch_predict{path}"), many);
}

fn schema(model: &ModelDescription, of: &str) -> Value {
    reference(&schema_name(model, of))
}

fn add_schemas(document: &mut Document, model: &ModelDescription) {
    let features = features(model);
    let row = with_class_names(object(json!({"features": features.clone()})), model);
    let prediction = prediction(model);
    let version = json!({"const": model.version.to_string()});
    if Axes::of_rows(model) == Axes::Row {
        let rows = |items: &Value| json!({"type": "array", "minItems": 1, "items": items});
        let bare = object(json!({"features": rows(&features)}));
        let bare = with_class_names(bare, model);
        let instances = object(json!({"instances": rows(&row)}));
        let instances = with_class_names(instances, model);
        let batch = json!({"anyOf": [instances, bare, rows(&row)]});
        document.schema(schema_name(model, "BatchFeatures"), batch);
        let row_error = object(json!({"error": {"type": "string"}}));
        let responses =
            json!({"type": "array", "items": {"anyOf": [prediction.clone(), row_error]}});
        let responses = object(json!({"predictions": responses, "model_version": version.clone()}));
        document.schema(schema_name(model, "BatchPrediction"), responses);
    }
    document.schema(schema_name(model, "Features"), row);
    let mut one = prediction;
    one["properties"]["model_version"] = version;
    one["required"] = json!(["prediction", "model_version"]);
    document.schema(schema_name(model, "Prediction"), one);
}

/// Returns whether the prediction or the probabilities of a model may contain the names of classes.
fn may_have_names(model: &ModelDescription) -> bool {
    let mapping = PredictionMapping::new(model);
    let mut labelled = [&mapping.label, &mapping.value].into_iter().flatten();
    mapping.probabilities.is_some() || labelled.any(|name| model.class_labels.contains_key(name))
}

/// Adds the optional member that asks for the names of classes to the schema of a request.
fn with_class_names(mut object: Value, model: &ModelDescription) -> Value {
    if may_have_names(model) {
        object["properties"]["class_names"] = json!({
            "type": "boolean",
            "default": false,
            "description": "Return the names of classes: as the prediction, and as the keys of `probabilities`, \
                which is then an object.",
        });
    }
    object
}

/// Returns the schema of the features: a bare value for the only input, or an object by name.
fn features(model: &ModelDescription) -> Value {
    let axes = Axes::of_rows(model);
    let object = element::by_name(model, axes, element::any_form);
    let rows = Rows::whole(model);
    let only = rows.only_numeric_input().and_then(|input| {
        let element = element::element(input.element_type, Notation::Relaxed)?;
        Some(element::any_form(element, axes.of(input)))
    });
    match only {
        Some(bare) => json!({"anyOf": [bare, object]}),
        None => object,
    }
}

/// Returns the schema of the prediction for one row.
fn prediction(model: &ModelDescription) -> Value {
    let mapping = PredictionMapping::new(model);
    let output = |name: &Option<String>| {
        let name = name.as_ref()?;
        model
            .signature
            .outputs
            .iter()
            .find(|output| output.name == *name)
    };
    let whole = |output: &TensorSpec| {
        let element = element::response_element(output.element_type);
        let nested = element::nested(element.clone(), Axes::of_rows(model).of(output));
        json!({"anyOf": [element, nested]})
    };
    let value = match (output(&mapping.label), output(&mapping.value)) {
        (Some(label), _) => {
            json!({"anyOf": [element::response_element(label.element_type), {"type": "null"}]})
        }
        (None, Some(value)) => whole(value),
        // The prediction is the index of the greatest probability, or the only probability.
        (None, None) => json!({"type": ["number", "null"]}),
    };
    let value = match may_have_names(model) {
        true => json!({"anyOf": [value, {"type": "string"}]}),
        false => value,
    };
    let mut prediction = object(json!({"prediction": value}));
    if mapping.probabilities.is_some() {
        let list = json!({"type": "array", "items": {"type": "number"}});
        let by_name = json!({
            "type": "object",
            "description": "By the names of the classes, if the request has `class_names`.",
            "additionalProperties": {"type": "number"},
        });
        prediction["properties"]["probabilities"] = json!({"anyOf": [list, by_name]});
    }
    prediction
}
