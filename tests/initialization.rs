//! Tests of the initialization of handlers, and of the settings and files that they read: one component
//! serves models that differ in both, and is initialized once for each version.

use crate::harness::{Repository, TestOptions, TestServer, component, output, root};
use crate::python;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;
use wisp_serving::ServingOptions;

/// Adds a model that is served by the handler with this `[handler]` section.
fn with_model(repository: Repository, model: &str, handler: &str) -> Result<Repository> {
    repository
        .with_file(
            &format!("{model}/1/handler.wasm"),
            std::fs::read(component("initialized_guest")?)?,
        )?
        .with_file(
            &format!("{model}/model.toml"),
            format!("[handler]\n{handler}"),
        )
}

/// Creates a repository of two models, whose files are those of the model and of the version.
fn two_models() -> Result<Repository> {
    let files = "files = ['labels.txt']\n";
    let english = format!("{files}[handler.config]\ngreeting = 'hello'\n");
    let german = format!("{files}[handler.config]\ngreeting = 'hallo'\n");
    let repository = with_model(Repository::empty()?, "english", &english)?;
    with_model(repository, "german", &german)?
        .with_file("english/labels.txt", "one\ntwo\n")?
        .with_file("german/labels.txt", "not read")?
        .with_file("german/1/labels.txt", "eins\nzwei\ndrei\n")
}

/// Returns the status and output of `wisp check` on a model.
fn check(repository: &Repository, model: &str) -> Result<(ExitStatus, String)> {
    // Compiled guests are kept for the next test.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
    let check = Command::new(env!("CARGO_BIN_EXE_wisp"))
        .env("XDG_CACHE_HOME", cache)
        .arg("check")
        .arg(repository.path().join(model))
        .output()?;
    let text = String::from_utf8_lossy(&check.stdout).into_owned();
    Ok((check.status, text + &String::from_utf8_lossy(&check.stderr)))
}

fn number(number: u32) -> Value {
    json!({ "inputs": [{
        "name": "number", "datatype": "UINT32", "shape": [1], "data": [number],
    }] })
}

/// Returns the square, the label and the counts of initializations and requests.
fn infer(server: &TestServer, model: &str, input: u32) -> Result<(u64, String, Value)> {
    let response = server.infer(model, &number(input))?.ok()?;
    let square = output(&response, "square")?["data"][0].as_u64();
    let label = output(&response, "label")?["data"][0].as_str();
    Ok((
        square.context("the square is no number")?,
        label.context("the label is no string")?.to_owned(),
        output(&response, "counts")?["data"].clone(),
    ))
}

fn reason(server: &TestServer, model: &str) -> Result<String> {
    let index = server.request("POST /v2/repository/index", &[], b"")?;
    let index = index.ok()?;
    let entries = index.as_array().context("the index is no array")?;
    let entry = entries.iter().find(|entry| entry["name"] == model);
    let entry = entry.context("the model is not in the index")?;
    ensure!(entry["state"] == "UNAVAILABLE", "{entry}");
    let reason = entry["reason"].as_str().context("there is no reason")?;
    Ok(reason.to_owned())
}

#[test]
fn one_component_serves_models_with_settings_and_files_of_their_own() -> Result<()> {
    let server = TestServer::start(two_models()?)?;
    let (square, label, _) = infer(&server, "english", 7)?;
    assert_eq!((square, label.as_str()), (49, "hello two"));
    let (square, label, _) = infer(&server, "german", 200_000)?;
    assert_eq!((square, label.as_str()), (40_000_000_000, "hallo drei"));
    Ok(())
}

#[test]
fn a_handler_is_initialized_once_and_no_request_sees_what_another_wrote() -> Result<()> {
    let server = TestServer::start(two_models()?)?;
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for request in 0..8 {
                        // Both counters are in memory. One initialization is what every instance begins
                        // with, and the request that it then counts is its own.
                        let (_, _, counts) = infer(&server, "english", request)?;
                        ensure!(counts == json!([1, 1]), "{counts}");
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for caller in callers {
            caller.join().expect("it does not panic")?;
        }
        Ok(())
    })
}

#[test]
fn a_changed_file_has_its_effect_when_the_model_is_loaded_again() -> Result<()> {
    let server = TestServer::start(two_models()?)?;
    assert_eq!(infer(&server, "english", 0)?.1, "hello one");
    std::fs::write(server.repository().join("english/labels.txt"), "first\n")?;
    assert_eq!(infer(&server, "english", 0)?.1, "hello one");
    let load = "POST /v2/repository/models/english/load";
    ensure!(server.request(load, &[], b"")?.status == 200);
    assert_eq!(infer(&server, "english", 0)?.1, "hello first");
    Ok(())
}

#[test]
fn the_lines_of_an_initialization_are_shown_once() -> Result<()> {
    let repository = two_models()?;
    for (model, labels) in [("english", 2), ("german", 3)] {
        let (status, text) = check(&repository, model)?;
        ensure!(status.success(), "{text}");
        let line = format!("initialized with {labels} labels");
        assert_eq!(text.matches(&line).count(), 1, "{text}");
    }
    Ok(())
}

#[test]
fn a_setting_that_the_handler_needs_is_named_when_it_is_missing() -> Result<()> {
    let repository = with_model(Repository::empty()?, "m", "files = ['labels.txt']\n")?
        .with_file("m/labels.txt", "one\n")?;
    let (status, text) = check(&repository, "m")?;
    ensure!(!status.success(), "{text}");
    ensure!(text.contains("`greeting` is missing"), "{text}");
    let server = TestServer::start(repository)?;
    assert_eq!(
        reason(&server, "m")?,
        "the handler's initialization failed: `greeting` is missing in [handler.config] of model.toml"
    );
    Ok(())
}

#[test]
fn a_file_that_is_missing_or_not_listed_is_named() -> Result<()> {
    let config = "[handler.config]\ngreeting = 'hello'\n";
    let listed = format!("files = ['labels.txt']\n{config}");
    let repository = with_model(Repository::empty()?, "missing", &listed)?;
    let repository = with_model(repository, "unlisted", config)?;
    let server = TestServer::start(repository)?;
    assert_eq!(
        reason(&server, "missing")?,
        "there is no file `labels.txt` in the directory of the version or of the model, which \
         handler.files in model.toml lists"
    );
    let unlisted = reason(&server, "unlisted")?;
    ensure!(
        unlisted.contains("the model has no file `labels.txt`: list it in `files`"),
        "{unlisted}"
    );
    Ok(())
}

#[test]
fn a_handler_with_the_crate_tokenizers_has_the_ids_of_the_python_package() -> Result<()> {
    const SCRIPT: &str = "huggingface_tokenizers.py";
    let repository = Repository::empty()?;
    let models = repository.path().to_str();
    let models = models.context("a path that is not Unicode")?.to_owned();
    let examples = root().join("examples");
    let examples = examples.to_str().context("a path that is not Unicode")?;
    python::run(SCRIPT, &["make", &models, examples])?;
    for model in std::fs::read_dir(repository.path())? {
        let handler = model?.path().join("1/handler.wasm");
        std::fs::copy(component("tokenize")?, handler)?;
    }
    let defaults = TestOptions::default();
    let options = TestOptions {
        serving: ServingOptions {
            // The test is about the response, which may take long on a busy machine.
            request_timeout: Duration::from_secs(50),
            ..defaults.serving
        },
        ..defaults
    };
    let server = TestServer::with_options(repository, options)?;
    let address = server.address().to_string();
    python::run(SCRIPT, &["ask", &models, examples, &address])?;
    // One round, to show that the measurement works. Its figures are those of `benchmarks.md`.
    let printed = python::run(SCRIPT, &["time", &address, "1"])?;
    for model in ["wordpiece", "bpe", "unigram"] {
        for row in [format!("\n{model} "), format!("\n{model}_in_requests ")] {
            ensure!(printed.contains(&row), "{row}: {printed}");
        }
    }
    Ok(())
}
