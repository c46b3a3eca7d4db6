//! The bytes of the requests that are sent.

use crate::png;
use crate::repository::SHAPES;

const WINE: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,13],"data":[12.37,0.94,1.36,10.6,88.0,1.98,0.57,0.28,0.42,1.95,1.05,1.82,520.0]}]}"#;

const PATIENT: &str = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[45.0,1.0,32.0,110.0,224.0,134.2,45.0,5.0,5.4116,93.0]}]}"#;

const LOOP: &str =
    r#"{"inputs":[{"name":"behaviour","datatype":"BYTES","shape":[1],"data":["loop"]}]}"#;

/// The height and width of the picture of [`picture`], which a processor decodes in about 20 ms.
const PICTURE_SIDE: u32 = 2000;

/// The height and width of the tensor of [`maximal_tensor`]. Its text has 64 MB, and the default limit
/// of a body is 67 MB.
const TENSOR_SHAPE: [usize; 2] = [4000, 8000];

/// Returns a small request of `wine`.
pub(crate) fn wine() -> Vec<u8> {
    json("/v2/models/wine/infer", WINE)
}

/// Returns a small request of `progression`.
pub(crate) fn progression() -> Vec<u8> {
    json("/v2/models/progression/infer", PATIENT)
}

/// Returns a request that makes the hostile handler loop until the server stops it.
pub(crate) fn endless_loop() -> Vec<u8> {
    json("/v2/models/hostile/infer", LOOP)
}

/// Returns a request of `digits` with a small file of a large picture, whose cost is almost all in the
/// guest.
pub(crate) fn picture() -> Vec<u8> {
    let file = png::blank(PICTURE_SIDE);
    let length = u32::try_from(file.len()).expect("a blank picture is small");
    let content = [length.to_le_bytes().as_slice(), &file].concat();
    let input = r#""name":"image","datatype":"BYTES","shape":[1]"#;
    binary("/v2/models/digits/infer", input, &content)
}

/// Returns a request of `digits` with as many pixels in JSON as a body may contain.
pub(crate) fn maximal_tensor() -> Vec<u8> {
    let [height, width] = TENSOR_SHAPE;
    let zeros = "0,".repeat(height * width - 1);
    let body = format!(
        r#"{{"inputs":[{{"name":"pixels","datatype":"UINT8","shape":[1,{height},{width}],"data":[{zeros}0]}}]}}"#
    );
    json("/v2/models/digits/infer", &body)
}

/// Returns requests of `shapes` that each have another number of rows. There are more of them than a
/// backend keeps plans.
pub(crate) fn new_shapes() -> Vec<Vec<u8>> {
    let request = |rows: usize| {
        let input = format!(r#""name":"pixels","datatype":"FP32","shape":[{rows},1,8,8]"#);
        binary(
            "/v2/models/shapes/infer",
            &input,
            &vec![0; rows * 8 * 8 * 4],
        )
    };
    (1..=SHAPES).map(request).collect()
}

/// Returns the head of a request of `digits` with a body of `length` bytes.
pub(crate) fn upload(length: usize) -> Vec<u8> {
    head("/v2/models/digits/infer", "", length)
}

/// Returns a request of the graph of `digits` with one picture of 8 by 8 pixels, without a handler.
pub(crate) fn bare() -> Vec<u8> {
    let input = r#""name":"pixels","datatype":"FP32","shape":[1,1,8,8]"#;
    binary("/v2/models/shapes/infer", input, &[0; 8 * 8 * 4])
}

/// Returns a request to load the model `own` of a tenant again.
pub(crate) fn load() -> Vec<u8> {
    json("/v2/repository/models/own/load", "{}")
}

/// Returns a request of a matrix: one row of this many ones.
pub(crate) fn ones(model: &str, columns: u16) -> Vec<u8> {
    let data = vec!["1"; usize::from(columns)].join(",");
    let body = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{columns}],"data":[{data}]}}]}}"#
    );
    json(&format!("/v2/models/{model}/infer"), &body)
}

/// Returns the request with a key.
pub(crate) fn with_key(request: &[u8], key: &str) -> Vec<u8> {
    with_header(request, &format!("authorization: Bearer {key}"))
}

/// Returns the request with another header.
pub(crate) fn with_header(request: &[u8], header: &str) -> Vec<u8> {
    let line = request.windows(2).position(|bytes| bytes == b"\r\n");
    let (line, rest) = request.split_at(line.unwrap_or(request.len()));
    [line, b"\r\n", header.as_bytes(), rest].concat()
}

/// Returns a request of the metrics.
pub(crate) fn metrics() -> Vec<u8> {
    b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()
}

/// Returns a health check.
pub(crate) fn health() -> Vec<u8> {
    b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()
}

fn json(path: &str, body: &str) -> Vec<u8> {
    let mut request = head(path, "content-type: application/json\r\n", body.len());
    request.extend(body.as_bytes());
    request
}

/// Returns a request with one binary tensor. `input` contains the fields that describe it.
fn binary(path: &str, input: &str, content: &[u8]) -> Vec<u8> {
    let size = content.len();
    let document =
        format!(r#"{{"inputs":[{{{input},"parameters":{{"binary_data_size":{size}}}}}]}}"#);
    let headers = format!(
        "inference-header-content-length: {}\r\ncontent-type: application/octet-stream\r\n",
        document.len()
    );
    let mut request = head(path, &headers, document.len() + size);
    request.extend(document.as_bytes());
    request.extend(content);
    request
}

fn head(path: &str, headers: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n")
        .into_bytes()
}
