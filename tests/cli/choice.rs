//! Tests of the choice of a model's backend: compared by `wisp bench`, requested, automatic, or unavailable.

use super::serve::{Serve, serve};
use super::{failure, run, stdout, wisp};
use crate::harness::{Repository, onnx, root};
use crate::onnxruntime::library;
use crate::python;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::{Command, Stdio};

#[test]
fn a_comparison_has_every_backend_and_every_batch() -> Result<()> {
    let model = root().join("examples/digits");
    let mut bench = wisp();
    bench
        .arg("bench")
        .arg(&model)
        .args(["--json", "--seconds", "1"]);
    bench.args(["--batch", "1", "--batch", "3", "--onnxruntime-library"]);
    let reports: Value = serde_json::from_str(&stdout(&run(bench.arg(library()?))?)?)?;
    let backends = reports[0]["backends"].as_array().context("no backends")?;
    ensure!(backends.len() == 3, "{reports}");
    for backend in backends {
        ensure!(backend["problem"].is_null(), "{backend}");
        for figure in ["load_microseconds", "memory_bytes"] {
            ensure!(
                backend[figure].as_f64().is_some_and(|f| f > 0.0),
                "{backend}"
            );
        }
    }
    let batches = reports[0]["batches"].as_array().context("no batches")?;
    ensure!(batches.len() == 6, "{reports}");
    for batch in batches {
        ensure!(
            batch["median_microseconds"]
                .as_f64()
                .is_some_and(|f| f > 0.0),
            "{batch}"
        );
        ensure!(
            batch["difference"].as_f64().is_some_and(|d| d < 1e-4),
            "{batch}"
        );
    }
    Ok(())
}

#[test]
fn a_comparison_without_a_library_explains_how_to_install_it() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let mut bench = wisp();
    bench.env_remove("ORT_DYLIB_PATH").arg("bench");
    bench
        .arg(root().join("examples/wine"))
        .args(["--batch", "1", "--seconds", "1"]);
    let text = stdout(&run(bench.arg("--cache-dir").arg(cache.path()))?)?;
    ensure!(text.contains("wisp backend install onnxruntime"), "{text}");
    ensure!(
        text.lines().any(|line| line.starts_with("1      tract ")),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_missing_backend_or_device_prevents_the_start() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let library = library()?;
    let library = library.to_str().context("not UTF-8")?;
    for (model_file, library, reason) in [
        (
            "backend = 'onnxruntime'",
            None,
            "wisp backend install onnxruntime",
        ),
        (
            "backend = 'openvino'",
            None,
            "there is no backend `openvino`, expected one of: tract, rten, onnxruntime",
        ),
        (
            "backend = 'onnxruntime'\ndevice = 'cuda:0'",
            Some(library),
            "device `cuda:0` cannot be used",
        ),
        (
            "device = 'cuda:0'",
            None,
            "build Wisp with `--features cuda`",
        ),
    ] {
        let repository = Repository::of(&["wine"])?.with_file("wine/model.toml", model_file)?;
        let mut command = serve(repository.path());
        command
            .env_remove("ORT_DYLIB_PATH")
            .arg("--cache-dir")
            .arg(cache.path());
        if let Some(library) = library {
            command.args(["--onnxruntime-library", library]);
        }
        let (text, code) = failure(&run(&mut command)?)?;
        ensure!(code == 64 && text.contains(reason), "{code} {text}");
        ensure!(text.contains("model `wine`"), "{text}");
    }
    Ok(())
}

#[test]
fn the_fastest_backend_is_logged_and_kept() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let library = library()?;
    let repository = Repository::of(&["digits"])?;
    let mut decisions = Vec::new();
    for _ in 0..2 {
        let mut command = serve(repository.path());
        command.arg("--cache-dir").arg(cache.path());
        command.arg("--onnxruntime-library").arg(&library);
        command.stderr(Stdio::piped());
        let mut server = Serve::spawn(command)?;
        let line = server.log_line("the fastest backend")?;
        let (_, decision) = line.split_once("decision").context("no decision")?;
        ensure!(
            ["tract", "rten", "onnxruntime"]
                .iter()
                .all(|backend| decision.contains(backend)),
            "{line}"
        );
        decisions.push(decision.to_owned());
    }
    // A second measurement would give different figures.
    ensure!(decisions[0] == decisions[1], "{decisions:?}");
    Ok(())
}

#[test]
fn an_automatic_choice_is_shown_wherever_its_model_is() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let repository = Repository::of(&["digits", "wine"])?;
    let mut command = serve(repository.path());
    command.env_remove("ORT_DYLIB_PATH");
    command.arg("--cache-dir").arg(cache.path());
    let server = Serve::spawn(command)?;
    let start = |text: &str| {
        let found = server
            .banner
            .lines()
            .find_map(|line| line.strip_prefix(text));
        found.context(server.banner.clone()).map(str::to_owned)
    };
    let measured = start("  digits 1  READY  ")?;
    ensure!(
        measured.contains("tract") && measured.contains("rten"),
        "{measured}"
    );
    let metadata = server.get("/v2/models/digits")?.ok()?;
    let shown = metadata["parameters"]["backend_selection"].as_str();
    ensure!(shown == Some(measured.as_str()), "{metadata}");
    ensure!(
        start("  wine 1  READY  ")? == "auto: tract, the graph is tiny",
        "{}",
        server.banner
    );
    for (command, model) in [("inspect", "digits/1/model.onnx"), ("check", "digits")] {
        let mut shows = wisp();
        shows.env_remove("ORT_DYLIB_PATH");
        shows.arg(command).arg(repository.path().join(model));
        let text = stdout(&run(shows.arg("--cache-dir").arg(cache.path()))?)?;
        ensure!(text.contains(&measured), "{measured}: {text}");
    }
    Ok(())
}

/// The graphs refuse zeros, or the smallest sizes.
#[test]
fn the_commands_of_the_start_list_are_answered_without_an_error() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let pair = |name| onnx::Value::of(name, onnx::INT64, &[Some(2)]);
    let quotient = onnx::Graph {
        name: "quotient".to_owned(),
        input: vec![pair("a"), pair("b")],
        output: vec![pair("y")],
        ..onnx::Graph::default()
    };
    let quotient = quotient.node("Div", &["a", "b"], &["y"]).bytes();
    let mut repository = Repository::empty()?.with_file("quotient/1/model.onnx", quotient)?;
    let shapes = python::regression_models()?.join("shapes");
    for model in ["pyramid_Concat_32", "axis_in_two_places"] {
        let content = std::fs::read(shapes.join(format!("{model}.onnx")))?;
        repository = repository.with_file(&format!("{model}/1/model.onnx"), content)?;
    }
    let mut command = serve(repository.path());
    command.env_remove("ORT_DYLIB_PATH");
    command.arg("--cache-dir").arg(cache.path());
    let server = Serve::spawn(command)?;
    let lines = server.banner.lines().map(str::trim);
    let commands: Vec<&str> = lines.filter(|line| line.starts_with("curl ")).collect();
    ensure!(commands.len() == 3, "{}", server.banner);
    let mut inferences = 0;
    for command in commands {
        let mut shell = Command::new("sh");
        let answer = stdout(&run(shell.args(["-c", command]))?)?;
        let answer: Value = serde_json::from_str(&answer).context(answer)?;
        ensure!(answer["error"].is_null(), "{command}: {answer}");
        inferences += usize::from(answer["outputs"][0]["data"].is_array());
    }
    // The image is too large for a terminal.
    ensure!(inferences == 2, "{}", server.banner);
    Ok(())
}

#[test]
fn inspect_shows_the_batching_that_a_load_has_measured() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let repository = Repository::empty()?.with_model("m", "progression", None)?;
    let model = repository.path().join("m");
    let shown = |command: &str| -> Result<String> {
        let mut shows = wisp();
        shows.env_remove("ORT_DYLIB_PATH");
        shows.arg(command).arg(&model);
        let text = stdout(&run(shows.arg("--cache-dir").arg(cache.path()))?)?;
        let mut lines = text.lines().map(str::trim_start);
        let batching = lines.find_map(|line| line.strip_prefix("batching "));
        let batching = batching.with_context(|| text.clone())?;
        Ok(batching.trim_start().to_owned())
    };
    let before = shown("inspect")?;
    ensure!(before.contains("measured when"), "{before}");
    let measured = shown("check")?;
    ensure!(measured.contains(" us"), "{measured}");
    ensure!(shown("inspect")? == measured, "{measured}");
    ensure!(shown("check")? == measured, "it is measured once");
    Ok(())
}

#[test]
fn a_model_that_no_backend_serves_has_the_reasons_of_all() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let repository = Repository::empty()?.with_file("junk/1/model.onnx", "junk")?;
    let mut command = serve(repository.path());
    command.arg("--no-exit-on-error");
    command.env_remove("ORT_DYLIB_PATH");
    command.arg("--cache-dir").arg(cache.path());
    let server = Serve::spawn(command)?;
    let index = server.get("/v2/models/junk")?.error(503)?;
    for text in [&server.banner, &index] {
        let reason = "tract and rten refuse: it is a text file, not an ONNX model";
        ensure!(text.contains(reason), "{text}");
        // No other backend reads it either.
        ensure!(!text.contains("wisp backend install"), "{text}");
    }
    Ok(())
}

#[test]
fn the_error_for_another_format_names_its_converter() -> Result<()> {
    let repository = Repository::empty()?.with_file("cats/1/model.pt", "weights")?;
    let output = run(wisp().arg("check").arg(repository.path().join("cats")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        text.contains("the format of `model.pt` is not supported"),
        "{text}"
    );
    ensure!(text.contains("torch.onnx.export"), "{text}");
    let single = repository.path().join("cats/1/model.pt");
    let (text, code) = failure(&run(&mut serve(&single))?)?;
    ensure!(
        code == 1 && text.contains("torch.onnx.export"),
        "{code}: {text}"
    );
    Ok(())
}
