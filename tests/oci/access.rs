//! Tests of the access to a registry, and of the errors that say who has to change something.

use super::registry::{Access, PASSWORD, Registry, USER};
use super::{pull, push, refusal, small_component};
use crate::cli::{run, stdout};
use crate::harness::{Certificate, root};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

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
