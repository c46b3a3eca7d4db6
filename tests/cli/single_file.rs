//! Tests of commands on a single model file: with an odd name, of another format, and with inputs that a
//! backend refuses or panics on.

use super::serve::Serve;
use super::{failure, run, stdout, wisp};
use crate::harness::onnx::{Attribute, Graph};
use anyhow::{Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// Writes a file in a new directory.
fn file(name: &str, content: impl AsRef<[u8]>) -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join(name);
    std::fs::write(&path, content)?;
    Ok((directory, path))
}

/// Returns a graph that negates rows of four numbers.
fn negation() -> Vec<u8> {
    let graph = Graph::from_x_to_y(&[None, Some(4)]);
    graph.node("Neg", &["x"], &["y"]).bytes()
}

#[test]
fn a_file_with_an_odd_name_is_checked_computed_and_served() -> Result<()> {
    let (_directory, path) = file("my model (1).onnx", negation())?;
    let text = stdout(&run(wisp().arg("check").arg(&path))?)?;
    for line in [
        "  ok    it can be served: ",
        "x: FP32 [-1, 4]",
        "no golden cases",
    ] {
        ensure!(text.contains(line), "{text}");
    }
    let infer = |arguments: &[&str]| stdout(&run(wisp().arg("infer").arg(&path).args(arguments))?);
    let text = infer(&["--input", "x=[[1, 2, 3, 4]]"])?;
    ensure!(text.contains("y  FP32 [1, 4]  [-1, -2, -3, -4]"), "{text}");
    let text = infer(&["--input", "x=[1, 2, 3, 4, 5, 6, 7, 8]", "--shape", "x=2x4"])?;
    ensure!(text.contains("y  FP32 [2, 4]  [-1, -2, "), "{text}");
    let server = Serve::start(&path)?;
    ensure!(server.get("/v2/models/my_model_1")?.status == 200);
    Ok(())
}

#[test]
fn a_shape_without_its_input_is_refused() -> Result<()> {
    let (_directory, path) = file("model.onnx", negation())?;
    let mut infer = wisp();
    infer
        .arg("infer")
        .arg(&path)
        .args(["--input", "x=[[1, 2, 3, 4]]"]);
    let (text, code) = failure(&run(infer.args(["--shape", "z=1x4"]))?)?;
    ensure!(code == 64 && text.contains("`z`"), "{text}");
    Ok(())
}

#[test]
fn a_file_of_another_format_is_named_with_what_to_do() -> Result<()> {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 90\n";
    for (content, name, advice) in [
        (pointer, "Git LFS pointer", "git lfs pull"),
        (
            "<!doctype html><title>Sign in</title>",
            "HTML page",
            "/resolve/",
        ),
        (
            "\u{18}\0\0\0ORTM",
            "ONNX Runtime's own format",
            "converted from",
        ),
    ] {
        let (_directory, path) = file("model.onnx", content)?;
        let checked = run(wisp().arg("check").arg(&path))?;
        let text = String::from_utf8_lossy(&checked.stdout);
        ensure!(checked.status.code() == Some(1), "{text}");
        ensure!(text.contains(name) && text.contains(advice), "{text}");
        let (text, _) = failure(&run(wisp().arg("inspect").arg(&path))?)?;
        ensure!(text.contains(name) && text.contains(advice), "{text}");
    }
    Ok(())
}

#[test]
fn a_panic_of_a_backend_is_caught_without_a_line() -> Result<()> {
    // tract panics at the first sizes that are tried, which are too small for this border.
    let graph = Graph::from_x_to_y(&[Some(1), None])
        .integers("border", &[4], &[0, 0, 0, 64])
        .node("Pad", &["x", "border"], &["y"])
        .with(Attribute::string("mode", "reflect"));
    let (_directory, path) = file("model.onnx", graph.bytes())?;
    let checked = run(wisp().arg("check").arg(&path).env("RUST_BACKTRACE", "0"))?;
    stdout(&checked)?;
    let text = String::from_utf8_lossy(&checked.stderr);
    ensure!(!text.contains("panicked"), "{text}");
    Ok(())
}

#[test]
fn a_comparison_without_results_fails_with_the_reason_of_each_backend() -> Result<()> {
    let (_directory, path) = file("model.onnx", "not a model")?;
    let mut command = wisp();
    command.arg("bench").arg(&path).args(["--seconds", "1"]);
    for arguments in [&[][..], &["--json"]] {
        let (text, code) = failure(&run(command.args(arguments))?)?;
        let expected = "no backend could be measured with graph `model`";
        ensure!(code == 1 && text.contains(expected), "{text}");
        for backend in ["tract", "rten"] {
            ensure!(text.contains(&format!("{backend}: ")), "{text}");
        }
    }
    Ok(())
}

#[test]
fn a_comparison_uses_the_given_shape_and_refuses_one_that_does_not_fit() -> Result<()> {
    let (_directory, path) = file("model.onnx", negation())?;
    let bench = |shape: &str| {
        let mut command = wisp();
        command.arg("bench").arg(&path);
        run(command.args(["--json", "--seconds", "1", "--shape", shape]))
    };
    let reports: Value = serde_json::from_str(&stdout(&bench("x=3x4")?)?)?;
    let batches = reports[0]["batches"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    ensure!(!batches.is_empty(), "{reports}");
    ensure!(batches.iter().all(|batch| batch["batch"] == 3), "{reports}");
    for (shape, expected) in [("x=3x5", "`x`"), ("z=3x4", "its inputs are: x")] {
        let (text, code) = failure(&bench(shape)?)?;
        ensure!(code == 64 && text.contains(expected), "{text}");
    }
    Ok(())
}
