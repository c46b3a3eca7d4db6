//! Builds the handlers that pages show in projects made by `wisp new`, and calls them.
//!
//! All of them are the example of `guest-models/sdk`: it predicts frost from temperatures in Celsius.

use super::terminal::share_target_directory;
use super::wisp;
use crate::harness::onnx::{FLOAT, Graph, Value};
use crate::python::{lock, succeed};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Builds a crate of this source with this part of a manifest, compares it with a graph, and calls it.
pub(super) fn answers(source: &str, manifest: &str) -> Result<()> {
    // The same path for each handler, so that Cargo compiles the SDK once.
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book/projects");
    let _guard = lock("book-projects")?;
    let project = directory.join("frost");
    if project.exists() {
        fs::remove_dir_all(&project)?;
    }
    share_target_directory(&directory)?;
    run(&directory, &["new", "frost", "--template", "tabular"])?;
    fs::remove_dir_all(project.join("src"))?;
    fs::create_dir(project.join("src"))?;
    fs::write(project.join("src/lib.rs"), source)?;
    set_metadata(&project.join("Cargo.toml"), manifest)?;
    let model = project.join("models/frost");
    fs::remove_dir_all(model.join("cases"))?;
    fs::write(model.join("1/model.onnx"), frost())?;

    run(&project, &["build"])?;
    run(&project, &["check", "models/frost"])?;
    let infer = ["infer", "models/frost", "--input"];
    let printed = run(&project, &[&infer[..], &["celsius=[-4.0, 21.0]"]].concat())?;
    ensure!(printed.contains("[true, false]"), "{printed}");
    let impossible = wisp()
        .current_dir(&project)
        .args(infer)
        .arg("celsius=[-300.0]")
        .output()?;
    let text = String::from_utf8_lossy(&impossible.stderr).into_owned();
    ensure!(text.contains("below absolute zero"), "{text}");
    Ok(())
}

fn run(directory: &Path, arguments: &[&str]) -> Result<String> {
    let mut command: Command = wisp();
    let output = succeed(command.current_dir(directory).args(arguments))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Puts a part of a manifest in the place of the section for Wisp, up to the next section.
fn set_metadata(path: &Path, part: &str) -> Result<()> {
    let manifest = fs::read_to_string(path)?;
    let header = "[package.metadata.wisp]\n";
    ensure!(part.starts_with(header), "not `{}`: {part}", header.trim());
    let (before, rest) = manifest.split_once(header).context("no such section")?;
    let (_, after) = rest.split_once("\n[").context("no further section")?;
    fs::write(path, format!("{before}{part}\n[{after}"))?;
    Ok(())
}

/// Returns a graph in which the probability of frost is greater than one half below 273.15 K.
fn frost() -> Vec<u8> {
    let shape = [None, Some(1)];
    let graph = Graph {
        name: "frost".to_owned(),
        input: vec![Value::of("kelvin", FLOAT, &shape)],
        output: vec![Value::of("probability", FLOAT, &shape)],
        ..Graph::default()
    };
    graph
        .floats("freezing", &[1], &[273.15])
        .node("Sub", &["freezing", "kelvin"], &["below"])
        .node("Sigmoid", &["below"], &["probability"])
        .bytes()
}
