//! Tests of models that are not bundled: the reason is named, and nothing is written.

use super::bundle;
use crate::cli;
use crate::harness::onnx::Graph;
use crate::harness::{Repository, component, root};
use crate::sklearn;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Runs a command that must fail with this exit code and these words, and must not write `output`.
fn refused(command: &mut Command, output: &Path, (code, words): (i32, &[&str])) -> Result<()> {
    let (text, found) = cli::failure(&cli::run(command)?)?;
    for word in words {
        ensure!(text.contains(word), "`{word}` is not in: {text}");
    }
    ensure!(found == code, "exit code {found}: {text}");
    ensure!(!output.exists(), "a bundle was written");
    Ok(())
}

#[test]
fn an_operator_that_no_engine_has_is_named() -> Result<()> {
    let graph = Graph::from_x_to_y(&[None, Some(3)]).node("NoSuchOperator", &["x"], &["y"]);
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph.bytes())?;
    let output = repository.path().join("m.wasm");
    let mut command = bundle(&repository.path().join("m"), &output);
    refused(&mut command, &output, (1, &["NoSuchOperator"]))
}

#[test]
fn an_operator_that_the_named_engine_has_not_is_named() -> Result<()> {
    let graph = std::fs::read(sklearn::models()?.join("dtree 3.onnx"))?;
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph)?;
    let output = repository.path().join("m.wasm");
    let mut command = bundle(&repository.path().join("m"), &output);
    command.args(["--engine", "rten"]);
    refused(&mut command, &output, (1, &["TreeEnsembleClassifier"]))
}

#[test]
fn a_bundle_that_answers_otherwise_than_the_native_backend_is_not_written() -> Result<()> {
    // Its answers are random numbers and the time.
    let handler = std::fs::read(component("granted_guest")?)?;
    let settings = "[handler]\ngrants = [\"random\", \"clock\"]\n";
    let repository = Repository::empty()?
        .with_file("m/1/handler.wasm", handler)?
        .with_file("m/model.toml", settings)?;
    let output = repository.path().join("m.wasm");
    let mut command = bundle(&repository.path().join("m"), &output);
    let words = [
        "sample request",
        "the outputs of the bundle and of the native backend differ",
    ];
    refused(&mut command, &output, (1, &words))
}

#[test]
fn a_model_that_no_sample_request_tries_is_not_bundled_without_a_golden_case() -> Result<()> {
    let graph = Graph::from_x_to_y(&[Some(2048), Some(2048)]).node("Relu", &["x"], &["y"]);
    let repository = Repository::empty()?.with_file("m/1/model.onnx", graph.bytes())?;
    let output = repository.path().join("m.wasm");
    let mut command = bundle(&repository.path().join("m"), &output);
    refused(
        &mut command,
        &output,
        (1, &["15728640 bytes", "golden case"]),
    )
}

#[test]
fn a_model_above_the_limit_is_refused_with_the_figures() -> Result<()> {
    let repository = Repository::of(&["digits"])?;
    let output = repository.path().join("digits.wasm");
    let mut command = bundle(&repository.path().join("digits"), &output);
    command.args(["--max-model-bytes", "50000"]);
    let words = ["50,000 bytes", "--max-model-bytes"];
    refused(&mut command, &output, (1, &words))
}

#[test]
fn a_handler_that_imports_what_bundles_lack_is_refused_by_import() -> Result<()> {
    let handler = wat::parse_str(
        r#"(component
            (import "wasi:sockets/tcp@0.2.0" (instance))
            (instance $model)
            (export "wisp:handler/model@0.1.0" (instance $model)))"#,
    )?;
    let repository = Repository::empty()?
        .with_model("m", "digits", None)?
        .with_file("m/1/handler.wasm", handler)?;
    let output = repository.path().join("m.wasm");
    let mut command = bundle(&repository.path().join("m"), &output);
    refused(&mut command, &output, (1, &["`wasi:sockets/tcp@0.2.0`"]))
}

#[test]
fn a_model_that_fails_its_own_cases_is_not_bundled() -> Result<()> {
    let case = root().join("examples/wine/cases/one_of_each.json");
    let mut case: Value = serde_json::from_slice(&std::fs::read(case)?)?;
    case["expect"]["outputs"][0]["data"] = json!(["class_0", "class_0", "class_0"]);
    let repository =
        Repository::of(&["wine"])?.with_file("wine/cases/wrong.json", case.to_string())?;
    let output = repository.path().join("wine.wasm");
    let mut command = bundle(&repository.path().join("wine"), &output);
    refused(
        &mut command,
        &output,
        (1, &["wrong.json", "wisp check", "class_1"]),
    )
}

#[test]
fn missing_modules_versions_and_models_are_errors_of_the_arguments() -> Result<()> {
    let repository = Repository::of(&["digits"])?;
    let model = repository.path().join("digits");
    let output = repository.path().join("digits.wasm");
    for (arguments, words) in [
        (
            vec![
                "--modules".to_owned(),
                repository.path().display().to_string(),
            ],
            ["wisp build guest-models/edge", "--modules"],
        ),
        (
            vec!["--version".to_owned(), "9".to_owned()],
            ["has no version 9", "digits"],
        ),
        (
            vec!["--keep-instance".to_owned()],
            ["--keep-instance", "cloudflare"],
        ),
    ] {
        let mut command = bundle(&model, &output);
        refused(command.args(arguments), &output, (64, &words))?;
    }
    let mut command = bundle(&repository.path().join("none"), &output);
    refused(&mut command, &output, (64, &["does not exist"]))
}
