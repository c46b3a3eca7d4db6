//! Requests and their responses, with a model in place of the imported one.

use crate::adapter::Adapter;
use crate::model::{Model, ModelError, ModelOutputs};
use crate::request::{Body, BodyError, Head, effective_headers};
use crate::response::{Response, ResponseBody};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use wisp_protocol::call::InferRequest;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// Returns what `outputs` returns, and counts the calls.
struct Fake<F> {
    calls: usize,
    outputs: F,
}

impl<F: Fn(&InferRequest) -> Result<ModelOutputs, ModelError>> Model for Fake<F> {
    fn infer(&mut self, request: &InferRequest) -> Result<ModelOutputs, ModelError> {
        self.calls += 1;
        (self.outputs)(request)
    }
}

/// The bytes of a body.
struct Text<'a>(&'a [u8]);

impl Body for Text<'_> {
    fn read(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        match self.0.len() > limit {
            true => Err(BodyError::TooLarge),
            false => Ok(Bytes::copy_from_slice(self.0)),
        }
    }
}

fn adapter(kind: &str) -> Adapter {
    let manifest = json!({
        "model": {
            "name": "pairs", "version": "2", "platform": "rten_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2], "optional": false}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2], "optional": false}],
            "max_batch_size": 4, "max_rows": 4,
            "class_labels": {"y": ["cat", "dog"]},
            "properties": {},
            "configuration": {
                "version_policy": {"latest": 1}, "image_layouts": {}, "label_files": {},
                "instances": 1, "gpu": null, "file_name": "model.onnx",
            },
        },
        "labels": ["stable"],
        "kind": kind,
        "max_body_bytes": 200,
        "server_version": "0.1.0",
    });
    Adapter::load(manifest.to_string().as_bytes()).expect("the manifest is complete")
}

/// Returns the input as the output `y`.
#[expect(clippy::unnecessary_wraps, reason = "a model may fail")]
fn echo(request: &InferRequest) -> Result<ModelOutputs, ModelError> {
    let tensor = request.inputs[0].tensor.clone();
    let name = "y".to_owned();
    Ok(ModelOutputs {
        outputs: vec![NamedTensor { name, tensor }],
        parameters: Vec::new(),
    })
}

/// Sends a request without headers to a model that returns its input.
fn send(method: Method, path: &str, body: &str) -> (u16, Value) {
    let (status, _, text) = respond(&Head::new(method, path, Default::default()), body, echo);
    (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
}

fn get(path: &str) -> (u16, Value) {
    send(Method::GET, path, "")
}

fn post(path: &str, body: &str) -> (u16, Value) {
    send(Method::POST, path, body)
}

/// Returns the status, the headers and the body of the response of a model with a handler.
fn respond(
    head: &Head,
    body: &str,
    outputs: impl Fn(&InferRequest) -> Result<ModelOutputs, ModelError>,
) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut model = Fake { calls: 0, outputs };
    let response = adapter("handler").respond(head, &mut Text(body.as_bytes()), &mut model);
    parts(response)
}

fn parts(response: Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let headers = response.headers.iter().map(|(name, value)| {
        let value = value.to_str().expect("all headers are text");
        (name.to_string(), value.to_owned())
    });
    let headers = headers.collect();
    let body = match response.body {
        ResponseBody::Chunks(chunks) => chunks.concat(),
        ResponseBody::None => Vec::new(),
    };
    (response.status.as_u16(), headers, body)
}

fn head(method: Method, path: &str, headers: &[(&str, &str)]) -> Head {
    let headers = headers.iter();
    let headers = headers.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    Head::new(method, path, effective_headers(headers.collect()))
}

const ROW: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;

#[test]
fn a_host_may_serve_a_bundle_below_a_route_of_its_own() {
    for route in ["/apps/pairs", "/a/v2x", "/"] {
        let route = route.trim_end_matches('/');
        let (status, ready) = get(&format!("{route}/v2/models/pairs/ready"));
        assert_eq!(
            (status, &ready["ready"]),
            (200, &Value::Bool(true)),
            "{route}"
        );
        assert_eq!(get(&format!("{route}/v1/models/pairs")).0, 200, "{route}");
    }
    assert_eq!(get("/apps/pairs").0, 404);
    assert_eq!(get("/apps/pairs/other").0, 404);
}

#[test]
fn every_rest_protocol_answers() {
    for (path, body, expected) in [
        (
            "/v2/models/pairs/infer",
            ROW,
            json!({"model_name": "pairs", "model_version": "2", "outputs":
                [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}]}),
        ),
        (
            "/v1/models/pairs:predict",
            r#"{"instances":[[1,2]]}"#,
            json!({"predictions": [[1.0, 2.0]]}),
        ),
        (
            "/v1/models/pairs/versions/2:classify",
            r#"{"examples":[{"x":[1,2]}]}"#,
            json!({"results": [[["cat", 1.0], ["dog", 2.0]]]}),
        ),
        (
            "/predict/pairs",
            r#"{"features":[1,2],"class_names":true}"#,
            json!({"prediction": "dog", "probabilities": {"cat": 1.0, "dog": 2.0}, "model_version": "2"}),
        ),
        (
            "/batch_predict?version=2",
            r#"{"features":[[1,2],[1]]}"#,
            Value::Null,
        ),
    ] {
        let (status, document) = post(path, body);
        assert_eq!(status, 200, "{path}: {document}");
        if expected != Value::Null {
            assert_eq!(document, expected, "{path}");
        }
    }
}

#[test]
fn control_routes_describe_the_only_model() {
    for (path, key, expected) in [
        ("/v2/health/live", "/live", json!(true)),
        ("/v2/health/ready", "/ready", json!(true)),
        ("/health", "/status", json!("healthy")),
        ("/v2", "/version", json!("0.1.0")),
        ("/v2/models/pairs", "/versions", json!(["2"])),
        ("/v2/models/pairs/versions/2/ready", "/ready", json!(true)),
        ("/v2/models/pairs/config", "/max_batch_size", json!(4)),
        (
            "/v2/models/pairs/stats",
            "/model_stats/0/inference_count",
            json!(0),
        ),
        ("/v2/models", "/models", json!(["pairs"])),
        ("/v1/models", "/models", json!(["pairs"])),
        (
            "/v1/models/pairs",
            "/model_version_status/0/state",
            json!("AVAILABLE"),
        ),
        (
            "/v1/models/pairs/labels/stable/metadata",
            "/model_spec/name",
            json!("pairs"),
        ),
        ("/v2/systemsharedmemory/status", "", json!([])),
    ] {
        let (status, document) = get(path);
        assert_eq!(status, 200, "{path}: {document}");
        assert_eq!(document.pointer(key), Some(&expected), "{path}: {document}");
    }
    let (status, index) = post("/v2/repository/index", r#"{"ready":true}"#);
    assert_eq!(status, 200);
    assert_eq!(
        index,
        json!([{"name": "pairs", "version": "2", "state": "READY"}])
    );
}

#[test]
fn refusals_have_the_statuses_and_texts_of_the_server() {
    let long = " ".repeat(201);
    for (path, body, status, text) in [
        (
            "/v2/models/other/infer",
            ROW,
            404,
            "Request for unknown model: 'other' is not found",
        ),
        (
            "/v2/models/pairs/versions/1/infer",
            ROW,
            404,
            "Request for unknown model: 'pairs' version 1 is not found",
        ),
        (
            "/v1/models/other:predict",
            "",
            404,
            "unknown model: `other`",
        ),
        (
            "/v1/models/pairs/labels/canary:predict",
            "",
            404,
            "unknown version label: `pairs` has no label `canary`",
        ),
        ("/nowhere", "", 404, "this server has no such route"),
        (
            "/v2/health/live",
            "",
            405,
            "this route supports only GET, HEAD",
        ),
        (
            "/v2/models/pairs/infer",
            r#"{"inputs":[]}"#,
            400,
            "the request has no inputs",
        ),
        (
            "/v2/models/pairs/infer",
            &long,
            413,
            "the body is larger than 200 bytes, the limit of this server",
        ),
        (
            "/v2/repository/models/pairs/load",
            "",
            400,
            "loading and unloading is disabled: a bundle serves the model in it",
        ),
    ] {
        let (actual, document) = post(path, body);
        assert_eq!(actual, status, "{path}: {document}");
        assert_eq!(document["error"], text, "{path}");
    }
    let (status, document) = get("/v2/models/other/ready");
    assert_eq!((status, &document["ready"]), (400, &json!(false)));
}

#[test]
fn binary_outputs_and_the_id_of_the_request_are_in_the_headers() {
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}],"parameters":{"binary_data_output":true}}"#;
    let headers = [("X-Request-Id", "r1"), ("cookie", "x")];
    let head = head(Method::POST, "/v2/models/pairs/infer", &headers);
    let (status, headers, body) = respond(&head, body, echo);
    let header = |name: &str| {
        let found = headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(status, 200);
    assert_eq!(header("x-request-id"), Some("r1"));
    assert_eq!(header("content-type"), Some("application/octet-stream"));
    let length = body.len().to_string();
    assert_eq!(header("content-length"), Some(&*length));
    let json = (body.len() - 8).to_string();
    assert_eq!(header("inference-header-content-length"), Some(&*json));
    assert_eq!(body[body.len() - 8..], [0, 0, 128, 63, 0, 0, 0, 64]);
}

#[test]
fn a_head_request_has_the_headers_of_get_and_no_body() {
    let (_, of_get, body) = respond(&head(Method::GET, "/v2", &[]), "", echo);
    let (status, of_head, nothing) = respond(&head(Method::HEAD, "/v2", &[]), "", echo);
    assert_eq!((status, &of_head), (200, &of_get));
    assert!(!body.is_empty() && nothing.is_empty());
}

#[test]
fn compressed_bodies_are_refused() {
    for (coding, status) in [("gzip", 415), ("identity", 200), ("identity, br", 415)] {
        let headers = [("Content-Encoding", coding)];
        let head = head(Method::POST, "/v2/models/pairs/infer", &headers);
        assert_eq!(respond(&head, ROW, echo).0, status, "{coding}");
    }
}

#[test]
fn a_request_that_does_not_fit_reaches_no_model() {
    let rows =
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[5,2],"data":[1,2,3,4,5,6,7,8,9,0]}]}"#;
    let other = r#"{"inputs":[{"name":"z","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;
    for body in [rows, other] {
        let mut model = Fake {
            calls: 0,
            outputs: echo,
        };
        let head = head(Method::POST, "/v2/models/pairs/infer", &[]);
        let response = adapter("handler").respond(&head, &mut Text(body.as_bytes()), &mut model);
        assert_eq!((parts(response).0, model.calls), (400, 0), "{body}");
    }
}

#[test]
fn a_failure_of_the_model_is_put_down_to_who_is_at_fault() {
    let tensor = |sizes: &[u32]| {
        let shape = Shape::new(sizes.to_vec()).expect("a small shape");
        let content = Bytes::from(vec![0; shape.elements() * 4]);
        Tensor::new(ElementType::Fp32, shape, content).expect("it has these bytes")
    };
    let outputs = |names: &[&str], sizes: &[u32]| {
        let outputs = names.iter().map(|name| NamedTensor {
            name: (*name).to_owned(),
            tensor: tensor(sizes),
        });
        Ok(ModelOutputs {
            outputs: outputs.collect(),
            parameters: Vec::new(),
        })
    };
    let long = "x".repeat(2000);
    let cut = format!("{}…", &long[..999]);
    let failed = "the model's handler failed";
    let other = "the model's handler returned outputs that do not match its signature";
    for (result, kind, status, text) in [
        (Err(ModelError::Client(long)), "handler", 400, cut.as_str()),
        (Err(ModelError::Model("a\nb".into())), "handler", 502, "a b"),
        (
            Err(ModelError::Model("op".into())),
            "graph",
            500,
            "the model failed to compute",
        ),
        (Err(ModelError::Invalid("x".into())), "handler", 502, failed),
        (outputs(&["y", "y"], &[1, 2]), "handler", 502, failed),
        (outputs(&["z"], &[1, 2]), "handler", 502, other),
        (outputs(&["y"], &[1, 3]), "handler", 502, other),
        (outputs(&[], &[]), "handler", 502, other),
    ] {
        let mut model = Fake {
            calls: 0,
            outputs: |_: &InferRequest| result.clone(),
        };
        let head = head(Method::POST, "/v2/models/pairs/infer", &[]);
        let response = adapter(kind).respond(&head, &mut Text(ROW.as_bytes()), &mut model);
        let has_cause = response.cause.is_some();
        let (actual, _, body) = parts(response);
        let document: Value = serde_json::from_slice(&body).expect("errors are JSON");
        assert_eq!((actual, &document["error"]), (status, &json!(text)));
        assert_eq!(
            has_cause,
            text == failed || text == other || kind == "graph"
        );
    }
}

#[test]
fn the_computed_shapes_of_a_graph_are_right() {
    let mut model = Fake {
        calls: 0,
        outputs: |request: &InferRequest| {
            let mut response = echo(request)?;
            let tensor = &response.outputs[0].tensor;
            let shape = Shape::new(vec![2, 1]).expect("a small shape");
            let reshaped = Tensor::new(tensor.element_type(), shape, tensor.content().clone());
            response.outputs[0].tensor = reshaped.expect("as many elements");
            Ok(response)
        },
    };
    let head = head(Method::POST, "/v2/models/pairs/infer", &[]);
    let response = adapter("graph").respond(&head, &mut Text(ROW.as_bytes()), &mut model);
    assert_eq!(parts(response).0, 200);
}

#[test]
fn a_manifest_that_is_wrong_is_refused() {
    assert!(Adapter::load(b"{}").is_err());
    assert!(Adapter::load(b"not JSON").is_err());
}
