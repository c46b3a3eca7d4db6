//! Tests of `wisp push` and `wisp pull` with a registry that others wrote, `docker-registry`.
//!
//! `registry` starts it. `refusals` contains the tests of artifacts that are hostile, damaged or not what they should
//! be, and `access` those of credentials, certificates and the errors of operators.

mod access;
mod refusals;
mod registry;

use crate::cli::{example, failure, run, stdout, wisp};
use crate::harness::{Repository, root};
use crate::python;
use anyhow::{Context, Result, ensure};
use registry::Registry;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The annotation with the name of a file or of a model.
const TITLE: &str = "org.opencontainers.image.title";

/// Returns a command that is independent of the user's settings.
fn command(subcommand: &str) -> Command {
    let mut command = wisp();
    for variable in [
        "WISP_REGISTRY_USERNAME",
        "WISP_REGISTRY_PASSWORD",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ] {
        command.env_remove(variable);
    }
    command.env("NO_PROXY", "127.0.0.1");
    command.env("DOCKER_CONFIG", "/nonexistent");
    command.arg(subcommand);
    command
}

fn push(source: &Path, reference: &str) -> Command {
    let mut command = command("push");
    command.arg(source).arg(reference);
    command
}

fn pull(reference: &str, output: &Path) -> Command {
    let mut command = command("pull");
    command.arg(reference).arg("--output").arg(output);
    command
}

/// Runs a push that must succeed, and returns the reference that it prints.
fn pushed(source: &Path, reference: &str) -> Result<String> {
    let text = stdout(&run(&mut push(source, reference))?)?;
    let printed = text.trim_end();
    let digest = printed.strip_prefix(&format!("{reference}@sha256:"));
    ensure!(digest.is_some_and(|digest| digest.len() == 64), "{text}");
    Ok(printed.to_owned())
}

/// Returns the error of a command, which must have this exit code.
fn refusal(command: &mut Command, expected_code: i32) -> Result<String> {
    let (text, code) = failure(&run(command)?)?;
    ensure!(code == expected_code, "{code}: {text}");
    Ok(text)
}

/// Returns the model `digits` with its handler, cases and samples.
fn digits() -> Result<Repository> {
    let settings = std::fs::read(root().join("examples/digits/model.toml"))?;
    example("digits")?.with_file("digits/model.toml", settings)
}

/// Returns a small component in a file `echo.wasm`.
fn small_component() -> Result<(TempDir, PathBuf)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("echo.wasm");
    let text = r#"(component
        (import "wasi:cli/stderr@0.2.0" (instance $stderr (export "f" (func))))
        (export "test:test/run@0.1.0" (instance $stderr)))"#;
    std::fs::write(&path, wat::parse_str(text)?)?;
    Ok((directory, path))
}

/// Returns every file below a directory, by its path relative to it.
fn files(directory: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                let content = std::fs::read(&path)?;
                files.insert(path.strip_prefix(directory)?.to_owned(), content);
            }
        }
    }
    Ok(files)
}

/// Returns the digest of the layer with this title.
fn digest_of(manifest: &Value, title: &str) -> Result<String> {
    let layers = manifest["layers"].as_array().context("no layers")?;
    let layer = layers
        .iter()
        .find(|layer| layer["annotations"][TITLE] == title);
    let digest = layer.context("no such layer")?["digest"].as_str();
    Ok(digest.context("no digest")?.to_owned())
}

#[test]
fn a_component_comes_back_as_it_was_pushed() -> Result<()> {
    let registry = Registry::start()?;
    let (directory, echo) = small_component()?;
    let reference = registry.reference("acme/echo:1");
    let pinned = pushed(&echo, &reference)?;
    ensure!(pushed(&echo, &reference)? == pinned, "another digest");

    let manifest = registry.manifest("acme/echo", "1")?;
    ensure!(manifest["config"]["mediaType"] == "application/vnd.wasm.config.v0+json");
    ensure!(manifest["layers"][0]["mediaType"] == "application/wasm");
    let digest = manifest["config"]["digest"].as_str().context("no digest")?;
    let config: Value = serde_json::from_slice(&std::fs::read(registry.stored(digest)?)?)?;
    ensure!(
        config["architecture"] == "wasm" && config["os"] == "wasip2",
        "{config}"
    );
    ensure!(
        config["layerDigests"] == json!([manifest["layers"][0]["digest"]])
            && config["component"]["imports"] == json!(["wasi:cli/stderr@0.2.0"])
            && config["component"]["exports"] == json!(["test:test/run@0.1.0"]),
        "{config}"
    );

    // Without a path, it has the name that it was pushed with.
    let mut here = command("pull");
    let destination = tempfile::tempdir()?;
    here.arg(&reference).current_dir(destination.path());
    let printed = stdout(&run(&mut here)?)?;
    ensure!(printed.trim_end() == pinned, "{printed}");
    ensure!(files(destination.path())? == files(directory.path())?);

    let path = destination.path().join("deep/other.wasm");
    stdout(&run(&mut pull(&pinned, &path))?)?;
    ensure!(std::fs::read(&path)? == std::fs::read(&echo)?);
    std::fs::write(&path, "mine")?;
    let text = refusal(&mut pull(&pinned, &path), 1)?;
    ensure!(text.contains("other.wasm` exists; --force"), "{text}");
    ensure!(std::fs::read(&path)? == b"mine");
    stdout(&run(pull(&pinned, &path).arg("--force"))?)?;
    ensure!(std::fs::read(&path)? == std::fs::read(&echo)?);
    Ok(())
}

#[test]
fn a_version_of_a_model_comes_back_with_its_cases_and_passes_them() -> Result<()> {
    let registry = Registry::start()?;
    let repository = digits()?.with_file("digits/train.py", "secret")?;
    let model = repository.path().join("digits");
    let reference = registry.reference("acme/digits:1");
    let pinned = pushed(&model, &reference)?;
    ensure!(
        pushed(&model.join("1"), &reference)? == pinned,
        "another digest"
    );

    let destination = tempfile::tempdir()?;
    let printed = stdout(&run(&mut pull(&pinned, destination.path()))?)?;
    ensure!(printed.trim_end() == pinned, "{printed}");
    let (original, pulled) = (files(repository.path())?, files(destination.path())?);
    for (path, content) in &pulled {
        ensure!(original.get(path) == Some(content), "{}", path.display());
    }
    let missing = original.keys().filter(|path| !pulled.contains_key(*path));
    let mut missing: Vec<_> = missing.map(|path| path.display().to_string()).collect();
    // Of the samples, only those of cases are needed.
    missing.retain(|path| !path.starts_with("digits/samples/"));
    ensure!(missing == ["digits/train.py"], "{missing:?}");
    let mut check = wisp();
    let text = stdout(&run(check
        .arg("check")
        .arg(destination.path().join("digits")))?)?;
    ensure!(text.contains("top_k_too_large"), "{text}");

    let text = refusal(&mut pull(&reference, destination.path()), 1)?;
    ensure!(text.contains("digits/1` exists; --force"), "{text}");
    stdout(&run(pull(&reference, destination.path()).arg("--force"))?)?;
    ensure!(files(destination.path())? == pulled);
    Ok(())
}

#[test]
fn versions_share_the_files_that_they_have_in_common() -> Result<()> {
    let registry = Registry::start()?;
    let repository = Repository::of(&["wine"])?;
    let model = repository.path().join("wine");
    std::fs::create_dir(model.join("2"))?;
    std::fs::copy(model.join("1/model.onnx"), model.join("2/model.onnx"))?;
    pushed(&model.join("1"), &registry.reference("wine:1"))?;
    // The highest version.
    pushed(&model, &registry.reference("wine:2"))?;
    let first = digest_of(&registry.manifest("wine", "1")?, "1/model.onnx")?;
    let second = digest_of(&registry.manifest("wine", "2")?, "2/model.onnx")?;
    ensure!(first == second, "{first} {second}");

    let destination = tempfile::tempdir()?;
    for tag in ["1", "2"] {
        let reference = registry.reference(&format!("wine:{tag}"));
        stdout(&run(&mut pull(&reference, destination.path()))?)?;
    }
    ensure!(files(destination.path())? == files(repository.path())?);
    Ok(())
}

#[test]
fn another_client_reads_what_wisp_has_pushed_and_the_other_way_round() -> Result<()> {
    let registry = Registry::start()?;
    let oras =
        |arguments: &[&str]| python::run_in(&python::REGISTRY, "oras_registry.py", arguments);
    let shown = |path: &Path| path.to_str().map(str::to_owned).context("not UTF-8");

    let repository = digits()?;
    let reference = registry.reference("digits:1");
    pushed(&repository.path().join("digits"), &reference)?;
    let (by_oras, by_wisp) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let directory = shown(&by_oras.path().join("digits"))?;
    let printed = oras(&["pull", &reference, &directory])?;
    ensure!(
        printed.trim() == "application/vnd.wisp.model.v1",
        "{printed}"
    );
    stdout(&run(&mut pull(&reference, by_wisp.path()))?)?;
    ensure!(files(by_oras.path())? == files(by_wisp.path())?);

    let (directory, echo) = small_component()?;
    let configuration = directory.path().join("configuration.json");
    std::fs::write(&configuration, "{}")?;
    let reference = registry.reference("echo:1");
    oras(&["push", &reference, &shown(&echo)?, &shown(&configuration)?])?;
    let pulled = by_wisp.path().join("echo.wasm");
    stdout(&run(&mut pull(&reference, &pulled))?)?;
    ensure!(std::fs::read(&pulled)? == std::fs::read(&echo)?);
    Ok(())
}
