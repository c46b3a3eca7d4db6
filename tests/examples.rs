//! Tests that the examples work as described in their READMEs: golden cases, scripts, and agreement with
//! a computation that shares no code with Wisp (`clients/oracle.py`).

use crate::cli;
use crate::harness::{Repository, Response, TestOptions, TestServer, fixture, output, root};
use crate::python::{self, succeed};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use wisp_serving::ServingOptions;

/// Starts a server of the example and, if its graph is in the repository, of the graph without the
/// handler.
fn server(model: &str) -> Result<TestServer> {
    if model == "embed" {
        return python::embed_server();
    }
    let bare = format!("{model}-bare");
    TestServer::start(Repository::of(&[model])?.with_model(&bare, model, None)?)
}

fn example(model: &str) -> PathBuf {
    root().join("examples").join(model)
}

// === Agreement with onnxruntime ===

/// Checks that all responses agree with `clients/oracle.py`, within the tolerances stated there.
fn agrees_with_onnxruntime(model: &str) -> Result<()> {
    let server = server(model)?;
    let address = server.address().to_string();
    let examples = root().join("examples");
    let mut arguments = vec![model, &address, unicode(&examples)?];
    if model == "embed" {
        arguments.push(unicode(python::embed_graph()?)?);
    }
    python::run("oracle.py", &arguments)?;
    Ok(())
}

fn unicode(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not Unicode")
}

#[test]
fn digits_agrees_with_onnxruntime() -> Result<()> {
    agrees_with_onnxruntime("digits")
}

#[test]
fn wine_agrees_with_onnxruntime() -> Result<()> {
    agrees_with_onnxruntime("wine")
}

#[test]
fn progression_agrees_with_onnxruntime() -> Result<()> {
    agrees_with_onnxruntime("progression")
}

#[test]
fn embed_agrees_with_onnxruntime() -> Result<()> {
    agrees_with_onnxruntime("embed")
}

// === Golden cases, by way of the server ===

/// Checks the response to every golden case of the model.
fn answers_its_golden_cases(model: &str, at_least: usize) -> Result<()> {
    let server = server(model)?;
    let mut cases = 0;
    for entry in std::fs::read_dir(example(model).join("cases"))? {
        let path = entry?.path();
        answers(&server, model, &path).with_context(|| path.display().to_string())?;
        cases += 1;
    }
    ensure!(cases >= at_least, "only {cases} cases");
    Ok(())
}

fn answers(server: &TestServer, model: &str, path: &Path) -> Result<()> {
    let case: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let directory = path.parent().context("a file lies in a directory")?;
    let response = ask(server, model, &case["request"], directory)?;
    let expect = &case["expect"];
    let Some(outputs) = expect["outputs"].as_array() else {
        let status = match expect["failure"].as_str() {
            Some("client") => 400,
            Some("handler") => 502,
            other => anyhow::bail!("a failure of {other:?}"),
        };
        let text = response.error(status)?;
        let message = expect["message"].as_str().unwrap_or_default();
        ensure!(text.contains(message), "expected `{message}` in: {text}");
        return Ok(());
    };
    let answer = response.ok()?;
    let tolerance = expect["tolerance"].as_f64().unwrap_or(fixture::TOLERANCE);
    for expected in outputs {
        let name = expected["name"]
            .as_str()
            .context("an output without a name")?;
        let actual = output(&answer, name)?;
        for member in ["datatype", "shape"] {
            ensure!(actual[member] == expected[member], "{name}: {actual}");
        }
        ensure!(
            fixture::matches(&expected["data"], &actual["data"], tolerance),
            "{name}: {actual}"
        );
    }
    Ok(())
}

/// Sends a case's request. If an input is a file, all inputs that are not JSON follow as binary data.
fn ask(server: &TestServer, model: &str, request: &Value, directory: &Path) -> Result<Response> {
    let mut request = request.clone();
    let mut binary = Vec::new();
    let inputs = request["inputs"].as_array_mut().context("no inputs")?;
    for input in inputs.iter_mut().filter_map(Value::as_object_mut) {
        let Some(file) = input.remove("file") else {
            continue;
        };
        let content = std::fs::read(directory.join(file.as_str().context("no path")?))?;
        let length = u32::try_from(content.len())?;
        input.insert(
            "parameters".to_owned(),
            json!({ "binary_data_size": length + 4 }),
        );
        binary.extend(length.to_le_bytes());
        binary.extend(content);
    }
    if binary.is_empty() {
        return server.infer(model, &request);
    }
    let text = serde_json::to_vec(&request)?;
    let length = text.len().to_string();
    let headers = [("inference-header-content-length", length.as_str())];
    let path = format!("/v2/models/{model}/infer");
    server.request(&format!("POST {path}"), &headers, &[text, binary].concat())
}

#[test]
fn digits_answers_its_golden_cases() -> Result<()> {
    answers_its_golden_cases("digits", 6)
}

#[test]
fn wine_answers_its_golden_cases() -> Result<()> {
    answers_its_golden_cases("wine", 5)
}

#[test]
fn progression_answers_its_golden_cases() -> Result<()> {
    answers_its_golden_cases("progression", 4)
}

#[test]
fn embed_answers_its_golden_cases() -> Result<()> {
    answers_its_golden_cases("embed", 5)
}

// === Scripts ===

/// Returns the responses that the example's `request.sh` prints, one per line.
fn request_script(model: &str) -> Result<Vec<Value>> {
    succeed(Command::new("curl").arg("--version"))
        .context("the scripts of the examples need curl; on Debian: apt-get install curl")?;
    let server = server(model)?;
    let mut script = Command::new("sh");
    script
        .arg(example(model).join("request.sh"))
        .env("WISP_URL", format!("http://{}", server.address()))
        .env("no_proxy", "127.0.0.1");
    let printed = succeed(&mut script)?.stdout;
    let lines = std::str::from_utf8(&printed)?.lines();
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
fn the_script_of_digits_recognises_a_seven_and_a_four() -> Result<()> {
    let answers = request_script("digits")?;
    ensure!(answers.len() == 2, "{answers:?}");
    ensure!(
        output(&answers[0], "label")?["data"][0] == "7",
        "{}",
        answers[0]
    );
    ensure!(
        output(&answers[1], "label")?["data"] == json!(["4"]),
        "{}",
        answers[1]
    );
    Ok(())
}

#[test]
fn the_script_of_wine_names_cultivars() -> Result<()> {
    let answers = request_script("wine")?;
    ensure!(answers.len() == 2, "{answers:?}");
    let classes = [["class_0", "class_1"].as_slice(), &["class_2"]];
    for (answer, classes) in answers.iter().zip(classes) {
        ensure!(
            output(answer, "class")?["data"] == json!(classes),
            "{answer}"
        );
    }
    Ok(())
}

#[test]
fn the_script_of_progression_has_one_patient_corrected() -> Result<()> {
    let answers = request_script("progression")?;
    ensure!(answers.len() == 1, "{answers:?}");
    let corrected = &output(&answers[0], "corrected")?["data"];
    ensure!(*corrected == json!([false, true]), "{}", answers[0]);
    Ok(())
}

#[test]
fn the_script_of_embed_returns_equal_embeddings_for_equal_sentences() -> Result<()> {
    let answers = request_script("embed")?;
    ensure!(answers.len() == 2, "{answers:?}");
    // The body of the second request is the first sentence of the first request.
    let both = output(&answers[0], "embedding")?["data"].as_array();
    let first: Value = both.context("no list")?.iter().take(384).cloned().collect();
    let alone = &output(&answers[1], "embedding")?["data"];
    ensure!(
        fixture::matches(&first, alone, fixture::TOLERANCE),
        "{first} and {alone}"
    );
    Ok(())
}

// === Large inputs ===

#[test]
fn a_noisy_photograph_of_12_megapixels_is_classified_within_the_default_limits() -> Result<()> {
    let folder = tempfile::tempdir()?;
    python::run("photograph.py", &[unicode(folder.path())?])?;
    // The limits of the handler are those of a server without options. The time of the request counts what waits too.
    let options = TestOptions {
        serving: ServingOptions {
            request_timeout: Duration::from_secs(60),
            ..TestOptions::default().serving
        },
        ..TestOptions::default()
    };
    let server = TestServer::with_options(Repository::of(&["digits"])?, options)?;
    // The metadata of the JPEG turn it upright.
    for (name, least_megabytes) in [("photograph.jpg", 4), ("photograph.png", 24)] {
        let file = std::fs::read(folder.path().join(name))?;
        ensure!(file.len() > least_megabytes << 20, "{} bytes", file.len());
        let length = u32::try_from(file.len())?;
        let request = serde_json::to_vec(&json!({ "inputs": [{
            "name": "image", "datatype": "BYTES", "shape": [1],
            "parameters": { "binary_data_size": length + 4 },
        }] }))?;
        let header_length = request.len().to_string();
        let headers = [("inference-header-content-length", header_length.as_str())];
        let body = [request, length.to_le_bytes().to_vec(), file].concat();
        let response = server.request("POST /v2/models/digits/infer", &headers, &body)?;
        let response = response.ok().context(name)?;
        let label = &output(&response, "label")?["shape"];
        ensure!(*label == json!([1, 3]), "{name}: {label}");
    }
    Ok(())
}

#[test]
fn a_photograph_of_24_megapixels_needs_a_setting_of_the_model_and_an_option_of_the_operator()
-> Result<()> {
    let repository =
        Repository::of(&["digits"])?.with_file("photograph.jpg", photograph(6000, 4000)?)?;
    let infer = |options: &[&str]| -> Result<Output> {
        let mut infer = cli::wisp();
        infer.arg("infer").arg(repository.path().join("digits"));
        let image = repository.path().join("photograph.jpg");
        infer.arg(format!("--input=image=@{}", unicode(&image)?));
        // On a busy machine, decoding may take longer than the default time.
        infer.arg("--max-handler-time-milliseconds=60000");
        cli::run(infer.args(options))
    };
    let (text, _) = cli::failure(&infer(&[])?)?;
    let refusal = "image of 6000x4000 pixels, more than 13000000 in all";
    ensure!(text.contains(refusal), "{text}");

    let settings = "[handler.config]\nmax_pixels = 24000000\n";
    std::fs::write(repository.path().join("digits/model.toml"), settings)?;
    let (text, _) = cli::failure(&infer(&[])?)?;
    ensure!(text.contains("--max-handler-memory-bytes"), "{text}");

    let answered = cli::stdout(&infer(&["--max-handler-memory-bytes=268435456"])?)?;
    ensure!(answered.contains("label  BYTES [1, 3]"), "{answered}");
    Ok(())
}

/// Returns a JPEG of gray pixels in three channels, with orientation 6, as cameras write them. Each code of
/// its scan is one bit.
fn photograph(width: u16, height: u16) -> Result<Vec<u8>> {
    const EXIF: &[u8] = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
    let [height_bytes, width_bytes] = [height, width].map(u16::to_be_bytes);
    let quantization = [&[0_u8][..], &[1; 64]].concat();
    let frame = [
        &[8_u8][..],
        &height_bytes,
        &width_bytes,
        &[3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0],
    ]
    .concat();
    // A single code, for a difference of zero or for the end of a block.
    let code = |table: u8| [&[table, 1][..], &[0; 16]].concat();
    let mut file = b"\xff\xd8".to_vec();
    for (marker, content) in [
        (0xe1, EXIF.to_vec()),
        (0xdb, quantization),
        (0xc0, frame),
        (0xc4, code(0)),
        (0xc4, code(0x10)),
        (0xda, vec![3, 1, 0, 2, 0, 3, 0, 0, 63, 0]),
    ] {
        file.extend([0xff_u8, marker]);
        file.extend(u16::try_from(content.len() + 2)?.to_be_bytes());
        file.extend(content);
    }
    // Six blocks of two bits for each 16 x 16 pixels, of which there is an even number.
    let units = usize::from(width.div_ceil(16)) * usize::from(height.div_ceil(16));
    file.resize(file.len() + units * 12 / 8, 0);
    file.extend(b"\xff\xd9");
    Ok(file)
}
