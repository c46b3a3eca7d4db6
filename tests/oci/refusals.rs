//! Tests of artifacts that must not be pulled. The registry is given them behind the back of `wisp push`.

use super::registry::Registry;
use super::{TITLE, digest_of, files, pull, pushed, refusal, small_component};
use crate::cli::{run, stdout};
use crate::harness::{Repository, component};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::path::Path;

#[test]
fn a_pinned_reference_is_this_artifact_or_an_error() -> Result<()> {
    let registry = Registry::start()?;
    let (directory, echo) = small_component()?;
    let reference = registry.reference("echo:latest");
    let first = pushed(&echo, &reference)?;
    let other = directory.path().join("other.wasm");
    std::fs::copy(component("progression")?, &other)?;
    ensure!(pushed(&other, &reference)? != first);
    let pulled = directory.path().join("pulled.wasm");
    stdout(&run(&mut pull(&first, &pulled))?)?;
    ensure!(
        std::fs::read(&pulled)? == std::fs::read(&echo)?,
        "the tag's"
    );
    std::fs::remove_file(&pulled)?;

    let unknown = registry.reference(&format!("echo@sha256:{}", "0".repeat(64)));
    let text = refusal(&mut pull(&unknown, &pulled), 1)?;
    ensure!(text.contains("the registry has no"), "{text}");

    // A registry that has changed the manifest, still valid and of the same size.
    let (_, digest) = first.split_once('@').context("no digest")?;
    let stored = registry.stored(digest)?;
    let manifest = std::fs::read_to_string(&stored)?;
    std::fs::write(&stored, manifest.replace("echo.wasm", "fake.wasm"))?;
    let text = refusal(&mut pull(&first, &pulled), 1)?;
    ensure!(
        text.contains("the content of the manifest is not what its digest says"),
        "{text}"
    );
    ensure!(!pulled.exists());
    Ok(())
}

#[test]
fn a_file_that_the_registry_has_changed_is_refused_and_nothing_is_written() -> Result<()> {
    let registry = Registry::start()?;
    let repository = Repository::of(&["wine"])?;
    let reference = registry.reference("wine:1");
    pushed(&repository.path().join("wine"), &reference)?;
    let digest = digest_of(&registry.manifest("wine", "1")?, "1/model.onnx")?;
    let stored = registry.stored(&digest)?;
    let whole = std::fs::read(&stored)?;
    let mut changed = whole.clone();
    changed[10] ^= 1;
    for (content, expected) in [
        (Some(changed), "`1/model.onnx` is not what its digest says"),
        (Some(whole[..100].to_vec()), "`1/model.onnx`"),
        (
            Some([whole.as_slice(), b"x"].concat()),
            "`1/model.onnx` has more bytes than the manifest states",
        ),
        (None, "the registry has no `1/model.onnx` of"),
    ] {
        match content {
            Some(content) => std::fs::write(&stored, content)?,
            None => std::fs::remove_file(&stored)?,
        }
        let destination = tempfile::tempdir()?;
        let text = refusal(&mut pull(&reference, destination.path()), 1)?;
        ensure!(text.contains(expected), "{expected}: {text}");
        ensure!(files(destination.path())?.is_empty(), "{expected}");
    }
    Ok(())
}

#[test]
fn hostile_names_of_files_are_refused_and_nothing_is_written() -> Result<()> {
    let registry = Registry::start()?;
    let repository = Repository::of(&["wine"])?;
    pushed(
        &repository.path().join("wine"),
        &registry.reference("wine:1"),
    )?;
    let manifest = registry.manifest("wine", "1")?;
    let layer = manifest["layers"][0].clone();
    for (title, expected) in [
        ("../escaped", "leads out of the directory"),
        ("1/../../../escaped", "leads out of the directory"),
        ("/tmp/wisp-escaped", "absolute path"),
        ("..\\escaped", "backslash"),
        ("1/a\u{0}b", "control character"),
        ("", "empty name"),
        (".bashrc", "hidden files"),
        ("2/model.onnx", "not part of version 1"),
        ("1", "not part of version 1"),
        ("1/model.onnx", "two files"),
        ("1/model.onnx/x", "as a directory"),
    ] {
        let mut hostile = manifest.clone();
        let mut added = layer.clone();
        added["annotations"] = json!({ TITLE: title });
        let layers = hostile["layers"].as_array_mut().context("no layers")?;
        layers.push(added);
        registry.put_manifest("wine", "hostile", &hostile)?;
        let parent = tempfile::tempdir()?;
        let destination = parent.path().join("models");
        let mut pull = pull(&registry.reference("wine:hostile"), &destination);
        let text = refusal(pull.arg("--force"), 1)?;
        ensure!(text.contains(expected), "{title:?}: {text}");
        ensure!(std::fs::read_dir(parent.path())?.count() == 0, "{title:?}");
        ensure!(!Path::new("/tmp/wisp-escaped").exists());
    }
    for name in ["..", "a/b", "/tmp", ""] {
        let mut hostile = manifest.clone();
        hostile["annotations"][TITLE] = json!(name);
        registry.put_manifest("wine", "hostile", &hostile)?;
        let parent = tempfile::tempdir()?;
        let destination = parent.path().join("models");
        let text = refusal(
            &mut pull(&registry.reference("wine:hostile"), &destination),
            1,
        )?;
        ensure!(
            text.contains("no valid model and version"),
            "{name:?}: {text}"
        );
        ensure!(std::fs::read_dir(parent.path())?.count() == 0, "{name:?}");
    }
    Ok(())
}

#[test]
fn an_artifact_above_the_limit_and_one_of_another_kind_are_refused() -> Result<()> {
    let registry = Registry::start()?;
    let (_directory, echo) = small_component()?;
    let reference = registry.reference("echo:1");
    pushed(&echo, &reference)?;
    let destination = tempfile::tempdir()?;
    let path = destination.path().join("echo.wasm");
    let text = refusal(pull(&reference, &path).args(["--max-bytes", "20"]), 1)?;
    ensure!(
        text.contains("more than the limit of 20; --max-bytes"),
        "{text}"
    );

    let mut image = registry.manifest("echo", "1")?;
    image["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    registry.put_manifest("echo", "image", &image)?;
    let text = refusal(&mut pull(&registry.reference("echo:image"), &path), 1)?;
    ensure!(text.contains("it is a container image"), "{text}");
    ensure!(files(destination.path())?.is_empty());
    Ok(())
}

#[test]
fn a_link_in_the_destination_is_not_followed() -> Result<()> {
    let registry = Registry::start()?;
    let repository = Repository::of(&["wine"])?;
    let reference = registry.reference("wine:1");
    pushed(&repository.path().join("wine"), &reference)?;
    let (outside, destination) = (tempfile::tempdir()?, tempfile::tempdir()?);
    std::os::unix::fs::symlink(outside.path(), destination.path().join("wine"))?;
    let text = refusal(pull(&reference, destination.path()).arg("--force"), 1)?;
    ensure!(text.contains("is a symbolic link"), "{text}");
    ensure!(files(outside.path())?.is_empty());
    Ok(())
}
