//! Tests of the document's contents for models of every kind.

use super::*;
use crate::call::{InferRequest, ModelDescription, ModelName, Scheduling, Version, VersionLabel};
use crate::fixture::{floats, integers};
use serde_json::Value;
use std::collections::BTreeSet;
use wisp_tensor::{Dimension, ElementType, Parameter, ParameterValue, Signature, TensorSpec};

fn spec(name: &str, element_type: ElementType, shape: &[i64]) -> TensorSpec {
    let shape = shape
        .iter()
        .map(|&size| Dimension::from_wire(size).unwrap());
    TensorSpec {
        name: name.to_owned(),
        element_type,
        shape: shape.collect(),
        optional: false,
    }
}

fn model(name: &str, inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> ModelDescription {
    ModelDescription {
        model: ModelName::new(name).unwrap(),
        version: Version::FIRST,
        platform: "tract_onnx".to_owned(),
        signature: Signature { inputs, outputs },
        max_batch_size: 32,
        max_rows: Some(32),
        class_labels: Default::default(),
        properties: Default::default(),
        configuration: Default::default(),
    }
}

/// Returns a version without a known example.
fn served(description: &ModelDescription) -> ServedVersion<'_> {
    ServedVersion {
        description,
        example: None,
    }
}

fn document_of(models: &[&[&ModelDescription]], control: Control) -> Value {
    document_with(models, control, Authentication::None)
}

fn document_with(
    models: &[&[&ModelDescription]],
    control: Control,
    authentication: Authentication,
) -> Value {
    let models = models.iter().map(|versions| ServedModel {
        name: &versions[0].model,
        versions: versions.iter().map(|model| served(model)).collect(),
        labels: Vec::new(),
    });
    let all = Served {
        version: "1.2.3",
        models: models.collect(),
        control,
        authentication,
    };
    serde_json::from_slice(&document(&all)).unwrap()
}

fn wine() -> ModelDescription {
    let inputs = vec![spec("features", ElementType::Fp32, &[-1, 3])];
    let outputs = vec![spec("scores", ElementType::Fp32, &[-1, 2])];
    model("wine", inputs, outputs)
}

#[test]
fn the_paths_of_a_model_describe_its_inputs() {
    let wine = wine();
    let document = document_of(&[&[&wine]], Control::Nobody);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], "1.2.3");
    let infer = &document["paths"]["/v2/models/wine/infer"]["post"];
    let json = &infer["requestBody"]["content"]["application/json"];
    assert_eq!(
        json["schema"]["$ref"],
        "#/components/schemas/wine.1.InferRequest"
    );
    let input =
        json!({"name": "features", "datatype": "FP32", "shape": [1, 3], "data": [0.0, 0.0, 0.0]});
    assert_eq!(json["example"], json!({"inputs": [input]}));
    let request = &document["components"]["schemas"]["wine.1.InferRequest"];
    let input = &request["properties"]["inputs"]["items"]["properties"];
    assert_eq!(input["datatype"], json!({"const": "FP32"}));
    let batch = json!({"type": "integer", "minimum": 1, "maximum": 32, "examples": [1]});
    assert_eq!(input["shape"]["prefixItems"], json!([batch, {"const": 3}]));
    // A missing value is `null` in a request. In a response it is NaN, which counts as a number.
    let element = &input["data"]["anyOf"][1]["items"];
    assert_eq!(element["type"], json!(["number", "null"]));
    let response = &document["components"]["schemas"]["wine.1.InferResponse"];
    let output = &response["properties"]["outputs"]["items"]["anyOf"][0]["properties"];
    assert_eq!(output["data"]["items"], json!({"type": "number"}));
}

#[test]
fn the_names_of_classes_are_described_for_models_with_classes() {
    let wine = wine();
    let document = document_of(&[&[&wine]], Control::Nobody);
    let schemas = &document["components"]["schemas"];
    let asks = |schema: &Value| schema["properties"].get("class_names").is_some();
    assert!(asks(&schemas["wine.1.Features"]));
    for form in [0, 1] {
        assert!(
            asks(&schemas["wine.1.BatchFeatures"]["anyOf"][form]),
            "{form}"
        );
    }
    let prediction = &schemas["wine.1.Prediction"]["properties"];
    assert_eq!(
        prediction["prediction"]["anyOf"][1],
        json!({"type": "string"})
    );
    assert_eq!(prediction["probabilities"]["anyOf"][1]["type"], "object");
    let outputs = vec![spec("y", ElementType::Fp32, &[-1])];
    let number = model("number", wine.signature.inputs.clone(), outputs);
    let document = document_of(&[&[&number]], Control::Nobody);
    assert!(!asks(
        &document["components"]["schemas"]["number.1.Features"]
    ));
}

#[test]
fn a_request_that_the_version_accepts_is_the_example_on_every_route() {
    let mut wine = wine();
    let mut top = spec("top", ElementType::Int64, &[1]);
    top.optional = true;
    wine.signature.inputs.push(top);
    let request = InferRequest {
        inputs: vec![
            floats("features", &[2, 3], &[1.5, 2.0, 0.1, 4.0, 5.0, 6.0]),
            integers("top", &[1], &[2]),
        ],
        parameters: vec![Parameter {
            name: "k".to_owned(),
            value: ParameterValue::Bool(true),
        }],
        outputs: Vec::new(),
        scheduling: Scheduling::default(),
    };
    let all = Served {
        version: "1",
        models: vec![ServedModel {
            name: &wine.model,
            versions: vec![ServedVersion {
                example: Some(&request),
                ..served(&wine)
            }],
            labels: Vec::new(),
        }],
        control: Control::Nobody,
        authentication: Authentication::None,
    };
    let document: Value = serde_json::from_slice(&document(&all)).unwrap();
    let example = |path: &str| {
        let operation = &document["paths"][path]["post"];
        operation["requestBody"]["content"]["application/json"]["example"].clone()
    };
    let data = [1.5, 2.0, 0.1, 4.0, 5.0, 6.0];
    let infer = json!({
        "inputs": [
            {"name": "features", "datatype": "FP32", "shape": [2, 3], "data": data},
            {"name": "top", "datatype": "INT64", "shape": [1], "data": [2]},
        ],
        "parameters": {"k": true},
    });
    assert_eq!(example("/v2/models/wine/infer"), infer);
    assert_eq!(example("/v2/models/wine/versions/1/infer"), infer);
    let row = json!({"features": [1.5, 2.0, 0.1]});
    let generate = json!({"features": [1.5, 2.0, 0.1], "top": [2], "k": true});
    for (path, expected) in [
        ("/v2/models/wine/generate", generate),
        ("/v1/models/wine:predict", json!({"instances": [row]})),
        ("/v1/models/wine:classify", json!({"examples": [row]})),
        ("/predict", json!({"features": row})),
        (
            "/batch_predict/wine",
            json!({"instances": [{"features": row}]}),
        ),
    ] {
        assert_eq!(example(path), expected, "{path}");
    }
}

#[test]
fn an_operation_without_an_example_is_marked() {
    let mut text = wine();
    text.signature.inputs[0].element_type = ElementType::Bytes;
    let mut large = wine();
    large.model = ModelName::new("large").unwrap();
    large.signature.inputs[0] = spec("x", ElementType::Fp32, &[-1, 2000]);
    let wine = wine();
    for (model, is_marked) in [(&text, true), (&large, true), (&wine, false)] {
        let document = document_of(&[&[model]], Control::Clients);
        let marked =
            |path: &str, method: &str| document["paths"][path][method]["x-no-example"] == true;
        let infer = format!("/v2/models/{}/infer", model.model);
        assert_eq!(marked(&infer, "post"), is_marked, "{infer}");
        assert_eq!(marked("/predict", "post"), is_marked);
        assert!(!marked("/v2/models/{model}/versions/{version}", "get"));
        assert!(!marked("/v2/repository/models/{model}/load", "post"));
    }
    let document = document_of(&[], Control::Nobody);
    assert_eq!(
        document["paths"]["/v2/models/{model}"]["get"]["x-no-example"],
        true
    );
    assert!(
        document["paths"]["/v2"]["get"]
            .get("x-no-example")
            .is_none()
    );
}

#[test]
fn only_supported_routes_are_described() {
    let wine = wine();
    let document = document_of(&[&[&wine]], Control::Nobody);
    let has = |path: &str| document["paths"].get(path).is_some();
    assert!(has("/v1/models/wine:classify") && has("/batch_predict") && has("/predict/wine"));
    for absent in [
        "/v1/models/wine:regress",
        "/v1/models/{model}/labels/{label}",
        "/v2/repository/models/{model}/load",
    ] {
        assert!(!has(absent), "{absent}");
    }
    let mut number = wine.clone();
    number.signature.outputs = vec![spec("y", ElementType::Fp32, &[-1, 1])];
    number.max_batch_size = 0;
    let document = document_of(&[&[&number]], Control::Clients);
    let has = |path: &str| document["paths"].get(path).is_some();
    assert!(has("/v2/repository/models/{model}/load") && has("/predict"));
    assert!(!has("/batch_predict") && !has("/v1/models/wine:regress"));
}

#[test]
fn inputs_without_a_json_form_are_described_as_binary() {
    let mut half = wine();
    half.signature.inputs = vec![spec("x", ElementType::Fp16, &[-1, 3])];
    let document = document_of(&[&[&half]], Control::Nobody);
    let infer = &document["paths"]["/v2/models/wine/infer"]["post"];
    let content = infer["requestBody"]["content"].as_object().unwrap();
    assert_eq!(
        content.keys().collect::<Vec<_>>(),
        ["application/octet-stream"]
    );
    assert!(document["paths"].get("/predict/wine").is_none());
    assert!(document["paths"].get("/v1/models/wine:predict").is_none());
}

#[test]
fn the_default_is_the_version_labelled_stable() {
    let first = wine();
    let mut second = wine();
    second.version = Version::from_decimal("12").unwrap();
    let label = VersionLabel::new(VersionLabel::DEFAULT).unwrap();
    for (labels, default, other) in [
        (vec![(&label, Version::FIRST)], "wine.1.", "wine.12."),
        (vec![], "wine.12.", "wine.1."),
    ] {
        let served = Served {
            version: "1",
            models: vec![ServedModel {
                name: &first.model,
                versions: [&first, &second]
                    .map(|description| ServedVersion {
                        description,
                        example: None,
                    })
                    .into(),
                labels,
            }],
            control: Control::Nobody,
            authentication: Authentication::None,
        };
        let document: Value = serde_json::from_slice(&document(&served)).unwrap();
        let infer = document["paths"]["/v2/models/wine/infer"].to_string();
        assert!(infer.contains(default) && !infer.contains(other), "{infer}");
    }
}

#[test]
fn every_version_and_label_has_its_own_path_and_id() {
    let first = wine();
    let mut second = wine();
    second.version = Version::from_decimal("12").unwrap();
    let label = VersionLabel::new("12").unwrap();
    let all = Served {
        version: "1",
        models: vec![ServedModel {
            name: &first.model,
            versions: vec![served(&first), served(&second)],
            labels: vec![(&label, Version::FIRST)],
        }],
        control: Control::Clients,
        authentication: Authentication::None,
    };
    let document: Value = serde_json::from_slice(&document(&all)).unwrap();
    let paths = document["paths"].as_object().unwrap();
    for path in ["versions/1", "versions/12", "labels/12"] {
        assert!(
            paths.contains_key(&format!("/v1/models/wine/{path}:predict")),
            "{path}"
        );
    }
    for path in ["/predict/wine/versions/1", "/batch_predict/wine/labels/12"] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(paths.contains_key("/v2/models/wine/versions/12/generate_stream"));
    assert!(!paths.contains_key("/v2/models/wine/labels/12/infer"));
    let parameters = &paths["/v1/models/{model}/labels/{label}"]["get"]["parameters"];
    assert_eq!(parameters[0]["example"], "wine");
    assert_eq!(parameters[1]["example"], "12");
    let methods = paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values());
    let ids: Vec<&str> = methods
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "{ids:?}"
    );
}

#[test]
fn every_reference_has_a_target() {
    fn check(value: &Value, document: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(target)) = members.get("$ref") {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{target}");
                }
                members.values().for_each(|member| check(member, document));
            }
            Value::Array(items) => items.iter().for_each(|item| check(item, document)),
            _ => {}
        }
    }
    let wine = wine();
    for models in [&[][..], &[&[&wine][..]][..]] {
        for authentication in [Authentication::None, Authentication::Keys] {
            let document = document_with(models, Control::Clients, authentication);
            check(&document, &document);
        }
    }
}

#[test]
fn statuses_are_those_of_the_protocol() {
    let wine = wine();
    let document = document_of(&[&[&wine]], Control::Clients);
    let statuses = |path: &str| {
        let responses = document["paths"][path]["post"]["responses"].as_object();
        responses.unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let v2 = [
        "200", "400", "404", "408", "413", "415", "429", "431", "500", "501", "502", "503", "504",
    ];
    assert_eq!(statuses("/v2/models/wine/infer"), v2);
    // In TF Serving's protocol, a handler's failure is a 500.
    let tfs: Vec<_> = v2.into_iter().filter(|status| *status != "502").collect();
    assert_eq!(statuses("/v1/models/wine:predict"), tfs);
}

#[test]
fn authentication_is_described_if_the_server_has_tenants() {
    let wine = wine();
    let without = document_of(&[&[&wine]], Control::Clients).to_string();
    for absent in ["security", "bearer", "Error401", "Tenants", "/v1/limits"] {
        assert!(!without.contains(absent), "{absent}");
    }
    let document = document_with(&[&[&wine]], Control::Clients, Authentication::Keys);
    let scheme = &document["components"]["securitySchemes"]["tenantKey"];
    assert_eq!(scheme["type"], "http");
    assert_eq!(scheme["scheme"], "bearer");
    let of_role = |role: &str| json!([{"tenantKey": [role]}]);
    assert_eq!(document["security"], of_role("infer"));
    let get = |path: &str| document["paths"][path]["get"].clone();
    let post = |path: &str| document["paths"][path]["post"].clone();
    for open in ["/", "/health", "/v2/health/live", "/docs"] {
        assert_eq!(get(open)["security"], json!([]), "{open}");
        assert!(get(open)["responses"].get("401").is_none(), "{open}");
    }
    let itself = get("/openapi.json");
    assert_eq!(itself["security"], json!([{}, {"tenantKey": ["infer"]}]));
    let load = post("/v2/repository/models/{model}/load");
    assert_eq!(load["security"], of_role("deploy"));
    let infer = post("/v2/models/wine/infer");
    assert!(infer.get("security").is_none(), "{infer}");
    for (operation, statuses) in [
        (&itself, &["401"][..]),
        (&load, &["401", "403", "429"]),
        (&infer, &["401", "429"]),
        (&post("/v1/models/wine:predict"), &["401", "429"]),
        (&post("/predict/wine"), &["401", "429"]),
        (&get("/v1/limits"), &["401"]),
        (&get("/v2"), &["401"]),
        (&get("/v2/models/{model}/stats"), &["401", "403"]),
    ] {
        for status in statuses {
            let response = &operation["responses"][status]["$ref"];
            assert!(response.is_string(), "{status}: {operation}");
        }
    }
    let headers = |name: &str| document["components"]["responses"][name]["headers"].clone();
    for unauthenticated in ["Error401", "TfsError401"] {
        let header = &headers(unauthenticated)["WWW-Authenticate"];
        assert_eq!(header["schema"]["const"], "Bearer", "{unauthenticated}");
    }
    assert!(headers("Error429")["Retry-After"].is_object());
}

#[test]
fn features_may_be_flat_if_that_determines_the_shape() {
    let element = || json!({"type": "boolean"});
    let [one, two] = [Dimension::Fixed(1), Dimension::Fixed(2)];
    let list =
        |items, size| json!({"type": "array", "items": items, "minItems": size, "maxItems": size});
    for (shape, expected) in [
        (vec![], json!({"anyOf": [element(), list(element(), 1)]})),
        (vec![two], list(element(), 2)),
        (vec![one], json!({"anyOf": [list(element(), 1), element()]})),
        (
            vec![two, two],
            json!({"anyOf": [list(list(element(), 2), 2), list(element(), 4)]}),
        ),
    ] {
        assert_eq!(element::any_form(element(), &shape), expected, "{shape:?}");
    }
}

#[test]
fn the_bound_of_fp32_is_where_decimals_round_to_infinity() {
    let schema = element::element(ElementType::Fp32, element::Notation::V2).unwrap();
    let bound = schema["exclusiveMaximum"].as_f64().unwrap();
    assert_eq!(bound.to_string().parse(), Ok(f32::INFINITY));
    assert_eq!(bound.next_down().to_string().parse(), Ok(f32::MAX));
}
