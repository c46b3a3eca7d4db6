//! Tests of compressed bodies: the limits are those of plain bodies, and responses are compressed only
//! on request.
//!
//! `clients` tests compression with real clients, and `wisp_protocol` all forms of the headers.

use crate::harness::{Repository, Response, TestOptions, TestServer};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use wisp_protocol::content_coding::{Coding, Inflater, Progress};
use wisp_serving::ServingOptions;

const CODINGS: [Coding; 2] = [Coding::Gzip, Coding::Deflate];

const LIMIT: usize = 300_000;

fn server() -> Result<TestServer> {
    let repository = Repository::empty()?.with_model("bare", "progression", None)?;
    let defaults = TestOptions::default();
    let options = TestOptions {
        serving: ServingOptions {
            max_body_bytes: LIMIT,
            ..defaults.serving
        },
        ..defaults
    };
    TestServer::with_options(repository, options)
}

/// Returns a request of `rows` rows, padded with spaces to `length` bytes.
fn question(rows: usize, length: usize) -> Result<Vec<u8>> {
    let request = json!({"inputs": [{
        "name": "features", "datatype": "FP32", "shape": [rows, 10], "data": vec![50.0; rows * 10],
    }]});
    let mut body = serde_json::to_vec(&request)?;
    body.resize(body.len().max(length), b' ');
    Ok(body)
}

fn compress(coding: Coding, plain: Vec<u8>) -> Bytes {
    coding.compress(&[Bytes::from(plain)])
}

fn infer(server: &TestServer, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
    server.request("POST /v2/models/bare/infer", headers, body)
}

/// Returns the response in a compressed body.
fn inflated(coding: Coding, response: &Response) -> Result<Value> {
    ensure!(response.status == 200, "{}", response.status);
    let name = response.header("content-encoding");
    ensure!(name == Some(coding.name()), "{name:?}, expected {coding}");
    let body = Bytes::copy_from_slice(&response.body);
    let mut inflater = Inflater::new(coding, body, 1 << 20);
    while inflater.step()? == Progress::Started {}
    Ok(serde_json::from_slice(&inflater.into_inflated())?)
}

#[test]
fn a_compressed_request_is_answered_like_a_plain_one_on_every_route() -> Result<()> {
    let server = server()?;
    let row = vec![50.0; 10];
    for (path, body) in [
        ("/v2/models/bare/infer", question(1, 0)?),
        (
            "/v1/models/bare:predict",
            serde_json::to_vec(&json!({"instances": [row]}))?,
        ),
        ("/predict", serde_json::to_vec(&json!({"features": row}))?),
        (
            "/batch_predict/bare",
            serde_json::to_vec(&json!({"features": [row]}))?,
        ),
        ("/v2/repository/index", b"{\"ready\": true}".to_vec()),
    ] {
        let post = format!("POST {path}");
        let plain = server.request(&post, &[], &body)?.ok().context(path)?;
        for coding in CODINGS {
            let headers = [("content-encoding", coding.name())];
            let answer = server.request(&post, &headers, &compress(coding, body.clone()))?;
            ensure!(answer.ok()? == plain, "{path} in {coding}");
        }
    }
    Ok(())
}

#[test]
fn the_size_limit_applies_to_the_decompressed_body() -> Result<()> {
    let server = server()?;
    for coding in CODINGS {
        let headers = [("content-encoding", coding.name())];
        let largest = compress(coding, question(1, LIMIT)?);
        infer(&server, &headers, &largest)?.ok()?;
        let larger = compress(coding, question(1, LIMIT + 1)?);
        ensure!(larger.len() < 2_000, "{coding}: {}", larger.len());
        let error = infer(&server, &headers, &larger)?.error(413)?;
        ensure!(error.contains("300000"), "{error}");
        let bomb = compress(coding, vec![0; 64 << 20]);
        infer(&server, &headers, &bomb)?.error(413)?;
        // The next request is not delayed.
        infer(&server, &headers, &largest)?.ok()?;
    }
    Ok(())
}

#[test]
fn a_body_that_is_not_in_its_coding_is_refused() -> Result<()> {
    let server = server()?;
    for coding in CODINGS {
        let headers = [("content-encoding", coding.name())];
        let whole = compress(coding, question(1, 0)?);
        let mut behind = whole.to_vec();
        behind.push(0);
        for body in [&whole[..whole.len() - 1], &behind, b"{}", b""] {
            let error = infer(&server, &headers, body)?.error(400)?;
            ensure!(error.contains(coding.name()), "{error}");
        }
    }
    Ok(())
}

#[test]
fn the_inference_header_length_counts_decompressed_bytes() -> Result<()> {
    let server = server()?;
    let json = br#"{"inputs": [{"name": "features", "datatype": "FP32", "shape": [32, 10], "parameters": {"binary_data_size": 1280}}], "parameters": {"binary_data_output": true}}"#;
    let rows: Vec<u8> = (0..320u16)
        .flat_map(|n| f32::from(n).to_le_bytes())
        .collect();
    let body = [&json[..], &rows].concat();
    let length = json.len().to_string();
    let plain = infer(
        &server,
        &[("inference-header-content-length", &length)],
        &body,
    )?;
    ensure!(plain.status == 200);
    for coding in CODINGS {
        let headers = [
            ("inference-header-content-length", length.as_str()),
            ("content-encoding", coding.name()),
        ];
        let answer = infer(&server, &headers, &compress(coding, body.clone()))?;
        ensure!(answer.body == plain.body, "{coding}");
    }
    Ok(())
}

#[test]
fn large_responses_are_compressed_for_clients_that_accept_it() -> Result<()> {
    let server = server()?;
    let (small, large) = (question(1, 0)?, question(32, 0)?);
    // Thirty-two numbers alone are below the threshold for compression; with an id the response is above
    // it.
    let id = format!("{{\"id\":\"{}\",", "x".repeat(1_000));
    let large = [id.as_bytes(), &large[1..]].concat();
    let plain = infer(&server, &[], &large)?;
    ensure!(plain.header("content-encoding").is_none());
    ensure!(plain.header("vary") == Some("accept-encoding"));
    ensure!(plain.body.len() > 1024, "{}", plain.body.len());
    for (accept, coding) in [
        ("gzip", Coding::Gzip),
        ("deflate", Coding::Deflate),
        ("gzip;q=0.2, deflate;q=0.9", Coding::Deflate),
        ("br, gzip, deflate", Coding::Gzip),
    ] {
        let answer = infer(&server, &[("accept-encoding", accept)], &large)?;
        ensure!(inflated(coding, &answer)? == plain.json()?, "{accept}");
        ensure!(answer.header("vary") == Some("accept-encoding"));
        ensure!(answer.body.len() < plain.body.len(), "{accept}");
    }
    for accept in ["br", "identity", "gzip;q=0", "identity;q=0"] {
        let answer = infer(&server, &[("accept-encoding", accept)], &large)?;
        ensure!(answer.body == plain.body, "{accept}");
        ensure!(answer.header("content-encoding").is_none(), "{accept}");
        ensure!(answer.header("vary") == plain.header("vary"), "{accept}");
    }
    let answer = infer(&server, &[("accept-encoding", "gzip")], &small)?;
    ensure!(answer.header("content-encoding").is_none());
    ensure!(answer.header("vary").is_none());
    answer.ok()?;
    let headers = [("accept-encoding", "gzip, identity;q=0")];
    let answer = infer(&server, &headers, &small)?;
    inflated(Coding::Gzip, &answer)?;
    ensure!(answer.header("vary") == Some("accept-encoding"));
    // Errors and documents are not compressed, so that every client can read them.
    infer(&server, &headers, b"{}")?.error(400)?;
    server.request("GET /v2/models/bare", &headers, b"")?.ok()?;
    Ok(())
}
