//! Tests of `wisp push` and `wisp pull` with a registry that others wrote, `docker-registry`.
//!
//! `registry` starts it. Hostile manifests and damaged files are put into it behind the back of `wisp push`.

mod registry;

use crate::cli::{example, failure, run, stdout, wisp};
use crate::harness::{Certificate, Repository, component, root};
use crate::python;
use anyhow::{Context, Result, ensure};
use registry::{Access, PASSWORD, Registry, USER};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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
    std::fs::write(&stored, manifest.replace("echo.wasm", "evil.wasm"))?;
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
        ("2/model.onnx", "no part of version 1"),
        ("1", "no part of version 1"),
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

#[test]
fn credentials_come_from_options_the_environment_or_docker_and_are_never_shown() -> Result<()> {
    let registry = Registry::with(&Access::Password)?;
    let (directory, echo) = small_component()?;
    let reference = registry.reference("echo:1");
    let text = refusal(&mut push(&echo, &reference), 1)?;
    ensure!(
        text.contains("refuses access") && text.contains("no credentials"),
        "{text}"
    );
    let mut wrong = push(&echo, &reference);
    wrong.args(["--username", USER]);
    wrong.env("WISP_REGISTRY_PASSWORD", "wr0ng");
    let text = refusal(&mut wrong, 1)?;
    ensure!(text.contains("the password of `wisp`"), "{text}");
    ensure!(!text.contains("wr0ng"), "{text}");
    let text = refusal(push(&echo, &reference).args(["--username", USER]), 64)?;
    ensure!(text.contains("set WISP_REGISTRY_PASSWORD"), "{text}");

    let mut environment = push(&echo, &reference);
    environment.env("WISP_REGISTRY_USERNAME", USER);
    environment.env("WISP_REGISTRY_PASSWORD", PASSWORD);
    stdout(&run(&mut environment)?)?;

    let mut input = pull(&reference, &directory.path().join("1.wasm"));
    input.args(["--username", USER, "--password-stdin"]);
    input
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = input.spawn()?;
    let mut password = process.stdin.take().context("the input is piped")?;
    writeln!(password, "{PASSWORD}")?;
    drop(password);
    stdout(&process.wait_with_output()?)?;

    // wisp:s3cret in base64.
    for (file, config) in [
        (
            "2.wasm",
            json!({"auths": {registry.reference("").trim_end_matches('/'): {"auth": "d2lzcDpzM2NyZXQ="}}}),
        ),
        ("3.wasm", json!({"credsStore": "desktop"})),
        ("4.wasm", json!({"auths": "d2lzcDpzM2NyZXQ="})),
    ] {
        let path = directory.path().join("config.json");
        std::fs::write(path, config.to_string())?;
        let mut docker = pull(&reference, &directory.path().join(file));
        docker.env("DOCKER_CONFIG", directory.path());
        match file {
            "2.wasm" => drop(stdout(&run(&mut docker)?)?),
            "3.wasm" => {
                let text = refusal(&mut docker, 1)?;
                ensure!(text.contains("the credential helper `desktop`"), "{text}");
            }
            _ => {
                let text = refusal(&mut docker, 64)?;
                ensure!(text.contains("line 1") && !text.contains("d2lz"), "{text}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_registry_with_tls_needs_a_certificate_that_the_system_trusts() -> Result<()> {
    let certificate = Certificate::new()?;
    let registry = Registry::with(&Access::Tls(certificate.files()))?;
    let (_directory, echo) = small_component()?;
    let reference = registry.reference("echo:1");
    let tls = || {
        let mut push = push(&echo, &reference);
        // The loopback has no TLS by default.
        push.arg("--plain-http=false");
        push
    };
    stdout(&run(tls().env("SSL_CERT_FILE", certificate.authority()))?)?;
    let other = Certificate::new()?;
    let text = refusal(tls().env("SSL_CERT_FILE", other.authority()), 1)?;
    ensure!(
        text.contains("cannot be reached") && text.contains("certificate"),
        "{text}"
    );
    let plain = Registry::start()?;
    let mut push = push(&echo, &plain.reference("echo:1"));
    push.arg("--plain-http=false");
    let text = refusal(push.env("SSL_CERT_FILE", certificate.authority()), 1)?;
    ensure!(text.contains("use --plain-http"), "{text}");
    Ok(())
}

#[test]
fn errors_say_whether_the_reference_the_registry_or_the_source_is_at_fault() -> Result<()> {
    let registry = Registry::start()?;
    let (directory, echo) = small_component()?;
    for reference in [
        "echo:1",
        "acme/echo:1",
        "ghcr.io/Echo:1",
        "https://ghcr.io/echo",
    ] {
        let text = refusal(&mut push(&echo, reference), 64)?;
        ensure!(text.contains("expected REGISTRY/NAME:TAG"), "{text}");
    }
    let pinned = registry.reference(&format!("echo@sha256:{}", "0".repeat(64)));
    let text = refusal(&mut push(&echo, &pinned), 64)?;
    ensure!(text.contains("give a tag"), "{text}");
    let text = refusal(
        &mut push(Path::new("/nonexistent"), &registry.reference("x:1")),
        64,
    )?;
    ensure!(text.contains("cannot open"), "{text}");

    let graph = root().join("examples/wine/1/model.onnx");
    let text = refusal(&mut push(&graph, &registry.reference("x:1")), 1)?;
    ensure!(
        text.contains("only components and directories of models"),
        "{text}"
    );
    let text = refusal(
        &mut push(&root().join("examples"), &registry.reference("x:1")),
        1,
    )?;
    ensure!(text.contains("neither the directory of a model"), "{text}");

    let destination = directory.path().join("none");
    let text = refusal(&mut pull(&registry.reference("none:1"), &destination), 1)?;
    ensure!(text.contains("the registry has no"), "{text}");

    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let text = refusal(&mut pull(&format!("{closed}/echo:1"), &destination), 1)?;
    ensure!(
        text.contains(&format!("`{closed}` cannot be reached")),
        "{text}"
    );
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
