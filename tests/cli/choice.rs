//! Tests of the choice of a model's backend: compared by `wisp bench`, requested, or unavailable.

use super::serve::{Serve, serve};
use super::{failure, run, stdout, wisp};
use crate::harness::{Repository, root};
use crate::onnxruntime::library;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Stdio;

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
    ensure!(backends.len() == 2, "{reports}");
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
    ensure!(batches.len() == 4, "{reports}");
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
            "there is no backend `openvino`, expected one of: tract, onnxruntime",
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
    let repository = Repository::of(&["wine"])?.with_file("wine/model.toml", "backend = 'auto'")?;
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
            decision.contains("tract ") && decision.contains("onnxruntime "),
            "{line}"
        );
        decisions.push(decision.to_owned());
    }
    // A second measurement would give different figures.
    ensure!(decisions[0] == decisions[1], "{decisions:?}");
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
    let server = Serve::start(&single)?;
    ensure!(
        server.banner.contains("torch.onnx.export"),
        "{}",
        server.banner
    );
    Ok(())
}
