//! Tests of bundles: `wisp bundle` on the examples, its refusals, and its bundles on a host that has nothing of
//! Wisp.
//!
//! `wasmtime_server` is that host, `engines` are models for each of the engines, and `refusals` those that are not
//! bundled. `jco` and `workerd` run bundles on V8; `server_process` is the process of either, and `worker_runtime` the
//! program workerd. `predictions` are the requests of TensorFlow Serving, `memory_image` reads what hosts share, `spin` checks
//! the manifests for Spin and SpinKube, and `shipped` the contents of releases.

mod engines;
mod jco;
mod memory_image;
mod predictions;
mod refusals;
mod server_process;
mod shipped;
mod spin;
mod wasmtime_server;
mod worker_runtime;
mod workerd;

use crate::cli;
use crate::harness::fixture::matches;
use crate::harness::{Repository, Response, TIMEOUT, TestServer, root};
use crate::python;
use anyhow::{Context, Result, ensure};
use predictions::compare_predictions;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use wasmparser::{Parser, Payload};
use wasmtime_server::WasmtimeServer;
use wisp_sandbox::component::ComponentSummary;

/// The examples whose graphs are in the repository.
const EXAMPLES: [&str; 3] = ["digits", "progression", "wine"];

/// The largest difference between the answers of a bundle and of the server.
const TOLERANCE: f64 = 1e-4;

/// Returns the command that bundles a model with the modules that were built for the tests.
fn bundle(model: &Path, output: &Path) -> Command {
    let mut command = cli::wisp();
    command
        .env("WISP_EDGE_MODULES", wisp_artifacts::EDGE_MODULES)
        .arg("bundle")
        .arg(model)
        .arg("--output")
        .arg(output);
    command
}

/// Returns the bundle of an example, which the first test that needs it makes.
fn bundle_of(example: &str) -> Result<&'static Path> {
    static BUNDLES: [OnceLock<Result<PathBuf, String>>; EXAMPLES.len()] =
        [const { OnceLock::new() }; EXAMPLES.len()];
    let index = EXAMPLES.iter().position(|name| *name == example);
    let cell = &BUNDLES[index.context("no such example")?];
    python::once(cell, || {
        let repository = cli::example(example)?;
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{example}-bundle.wasm"));
        let output = cli::run(&mut bundle(&repository.path().join(example), &path))?;
        let text = cli::stdout(&output)?;
        for part in [
            "gzipped)",
            "  backend  ",
            "passed, as natively",
            "  time     ",
        ] {
            ensure!(text.contains(part), "{text}");
        }
        Ok(path)
    })
}

/// Sends a request to a server that closes the connection after its response. `head` is the method, the path and, on
/// lines of their own, the headers.
fn send(address: SocketAddr, head: &str, body: &[u8]) -> Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // In this version, a body without a declared length ends with the connection.
    let mut lines = head.split("\r\n");
    let target = lines.next().unwrap_or_default();
    let headers: String = lines.map(|line| format!("{line}\r\n")).collect();
    let head = format!(
        "{target} HTTP/1.0\r\nhost: test\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)
}

/// The headers of a request, by name.
type Headers = Vec<(&'static str, String)>;

/// Returns the headers and the body of the request of a golden case. Files are sent as binary data.
fn request_of(case: &Value, directory: &Path) -> Result<(Headers, Vec<u8>)> {
    let mut document = case["request"].clone();
    let inputs = document["inputs"].as_array_mut().context("no inputs")?;
    let mut binary = Vec::new();
    for input in inputs {
        let Some(file) = input.as_object_mut().and_then(|input| input.remove("file")) else {
            continue;
        };
        let content = std::fs::read(directory.join(file.as_str().context("no path")?))?;
        binary.extend(u32::try_from(content.len())?.to_le_bytes());
        binary.extend(&content);
        input["parameters"] = json!({ "binary_data_size": content.len() + 4 });
    }
    let mut body = serde_json::to_vec(&document)?;
    if binary.is_empty() {
        return Ok((Vec::new(), body));
    }
    let length = ("inference-header-content-length", body.len().to_string());
    body.extend(binary);
    Ok((vec![length], body))
}

/// Sends every golden case of an example to both, and compares the answers. Returns the number of cases.
fn compare_cases(example: &str, host: SocketAddr, server: &TestServer) -> Result<usize> {
    let directory = root().join("examples").join(example).join("cases");
    let mut count = 0;
    for entry in std::fs::read_dir(&directory)? {
        let path = entry?.path();
        let case: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let (headers, body) = request_of(&case, &directory)?;
        let target = format!("POST /v2/models/{example}/infer");
        let named: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let native = server.request(&target, &named, &body)?;
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("\r\n{name}: {value}"))
            .collect();
        let found = send(host, &format!("{target}{lines}"), &body)?;
        let same =
            found.status == native.status && matches(&native.json()?, &found.json()?, TOLERANCE);
        ensure!(
            same,
            "{}: the server answers {} {}, the bundle {} {}",
            path.display(),
            native.status,
            native.json()?,
            found.status,
            found.json()?
        );
        count += 1;
    }
    Ok(count)
}

/// Compares a host's answers to golden cases, samples and other requests for an example with those of a server.
fn compare_answers(example: &str, host: SocketAddr) -> Result<()> {
    let server = TestServer::start(Repository::of(&[example])?)?;
    let count = compare_cases(example, host, &server)?;
    ensure!(count >= 4, "only {count} cases");
    for path in [
        "/v2/health/ready".to_owned(),
        format!("/v2/models/{example}"),
        format!("/v2/models/{example}/ready"),
        "/v2/models/none".to_owned(),
        "/none".to_owned(),
    ] {
        let (native, found) = (server.get(&path)?, send(host, &format!("GET {path}"), b"")?);
        ensure!(
            native.status == found.status,
            "{path}: the server answers {}, the bundle {}",
            native.status,
            found.status
        );
    }
    let answered = compare_predictions(example, host, &server)?;
    ensure!(answered > 0, "no prediction of {example} is answered");
    compare_samples(example, host, &server)
}

/// Sends the pictures among the samples of an example to both, each as the whole body, and compares the answers.
fn compare_samples(example: &str, host: SocketAddr, server: &TestServer) -> Result<()> {
    let target = format!("POST /v2/models/{example}/infer");
    let headers = [
        ("inference-header-content-length", "0"),
        ("accept", "application/json"),
    ];
    let Ok(samples) = std::fs::read_dir(root().join("examples").join(example).join("samples"))
    else {
        return Ok(());
    };
    for entry in samples {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "png") {
            continue;
        }
        let picture = std::fs::read(&path)?;
        let native = server.request(&target, &headers, &picture)?.ok()?;
        let lines = headers.map(|(name, value)| format!("\r\n{name}: {value}"));
        let found = send(host, &format!("{target}{}", lines.concat()), &picture)?.ok()?;
        ensure!(
            matches(&native["outputs"], &found["outputs"], TOLERANCE),
            "{}: {native} {found}",
            path.display()
        );
    }
    Ok(())
}

#[test]
fn bundles_answer_golden_cases_as_the_server_does_in_both_protocols() -> Result<()> {
    let server = TestServer::start(Repository::of(&EXAMPLES)?)?;
    for example in EXAMPLES {
        let host = WasmtimeServer::start(bundle_of(example)?).map_err(anyhow::Error::msg)?;
        let count = compare_cases(example, host.address(), &server).context(example)?;
        ensure!(count >= 4, "{example} has {count} cases");
        let answered = compare_predictions(example, host.address(), &server).context(example)?;
        ensure!(answered > 0, "no prediction of {example} is answered");
    }
    Ok(())
}

#[test]
fn tritonclient_drives_bundles() -> Result<()> {
    let examples = root().join("examples");
    let examples = examples.to_str().context("a path that is not Unicode")?;
    for example in EXAMPLES {
        let host = WasmtimeServer::start(bundle_of(example)?).map_err(anyhow::Error::msg)?;
        let address = host.address().to_string();
        python::run("triton_http.py", &[example, &address, examples])?;
    }
    Ok(())
}

/// Returns the size of a component without the names of its functions, which shipped modules do not have.
fn bytes_without_names(component: &[u8]) -> Result<usize> {
    let mut bytes = component.len();
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::CustomSection(section) = payload?
            && section.name() == "name"
        {
            bytes -= section.data().len();
        }
    }
    Ok(bytes)
}

/// Returns the interfaces that the page about bundles lists for every bundle.
fn listed_imports() -> Result<Vec<String>> {
    let page = std::fs::read_to_string(root().join("docs/src/edge.md"))?;
    let is_listed = |line: &&str| line.starts_with("| `wasi:") && !line.contains("grants");
    let words = page
        .lines()
        .filter(is_listed)
        .flat_map(|row| row.split('`'));
    let interfaces = words.filter(|word| word.starts_with("wasi:"));
    Ok(interfaces.map(str::to_owned).collect())
}

#[test]
fn bundles_import_what_their_page_lists_and_are_small() -> Result<()> {
    let listed = listed_imports()?;
    ensure!(listed.len() == 5, "{listed:?}");
    for example in EXAMPLES {
        let bytes = std::fs::read(bundle_of(example)?)?;
        let summary = ComponentSummary::read(&bytes)?;
        for import in &summary.imports {
            let (interface, version) = import.split_once('@').context("no version")?;
            let is_listed = listed.iter().any(|listed| listed == interface);
            ensure!(
                is_listed && version.starts_with("0.2."),
                "{example} imports {import}"
            );
        }
        let export = summary.exports.first().context("no export")?;
        ensure!(
            export.starts_with("wasi:http/incoming-handler@0.2."),
            "{export}"
        );
        ensure!(summary.exports.len() == 1, "{:?}", summary.exports);
    }
    let digits = bytes_without_names(&std::fs::read(bundle_of("digits")?)?)?;
    ensure!(digits < 3_000_000, "digits has {digits} bytes");
    Ok(())
}

#[test]
fn a_bundle_of_a_file_is_named_after_it_in_the_current_directory() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let graph = root().join("examples/digits/1/model.onnx");
    std::fs::copy(graph, directory.path().join("seven.onnx"))?;
    let mut command = cli::wisp();
    command
        .env("WISP_EDGE_MODULES", wisp_artifacts::EDGE_MODULES)
        .current_dir(directory.path())
        .args(["bundle", "seven.onnx"]);
    let text = cli::stdout(&cli::run(&mut command)?)?;
    ensure!(text.starts_with("seven.wasm  "), "{text}");
    ensure!(directory.path().join("seven.wasm").is_file(), "{text}");
    Ok(())
}
