//! Tests of the `wisp` command as a process: its output, its exit, and the files it leaves.
//!
//! `single_file` contains the tests of commands on a model file without a directory, `serve` those of servers
//! that run until a signal, `tls` those with TLS, `memory` those with little memory, `config` those of
//! configurations, `cage` those of the rules that lock a server in, `handler_output` those of what handlers log, `health` those of `wisp health`, `log` those of the
//! log's formats, `metering` those of the usage log, `native_code` those of backends in the workers of tenants, `probes` those of readiness, `release` those of `wisp release`, `hangup` those of SIGHUP, `threads` those of
//! many models, `on_demand` those that load them with their first requests, `uploads` those of `--allow-upload`, `workers` those of the processes of tenants, and
//! `backend` those that install backends. `soak` and `tenant_soak` mix all kinds of requests for as long as you like. `floods`, `conformance`, `connections` and `slowness` contain those with hostile clients; `footprint` counts what a server has in use before and after.

mod backend;
mod cage;
mod choice;
mod config;
mod conformance;
mod connections;
mod control;
mod ending;
mod floods;
mod footprint;
mod handler_output;
mod hangup;
mod hardship;
mod health;
mod log;
mod memory;
mod metering;
mod native_code;
mod on_demand;
mod probes;
mod release;
mod serve;
mod single_file;
mod slowness;
mod soak;
mod tenant_soak;
mod threads;
mod tls;
mod uploads;
mod workers;

use crate::harness::{Repository, root};
use anyhow::{Context, Result, ensure};
use serve::Serve;
use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Output};

pub(crate) fn wisp() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wisp"));
    // Compiled guests are kept for the next test, outside the user's cache.
    command.env(
        "XDG_CACHE_HOME",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
    );
    // A guest is built with the test's toolchain, in a separate target directory.
    command.env_remove("CARGO_TARGET_DIR");
    command.env_remove("RUST_LOG");
    // The default port is that of one server at a time.
    command.env("WISP_METRICS", "none");
    command
}

pub(crate) fn run(command: &mut Command) -> Result<Output> {
    command.output().context("failed to run wisp")
}

pub(crate) fn stdout(output: &Output) -> Result<String> {
    let (out, err) = (&output.stdout, &output.stderr);
    let text = String::from_utf8_lossy(out).into_owned();
    ensure!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(err)
    );
    Ok(text)
}

/// Returns the standard error and the exit code of a command that must have failed.
pub(crate) fn failure(output: &Output) -> Result<(String, i32)> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().context("ended by a signal")?;
    ensure!(code != 0, "succeeded");
    Ok((text, code))
}

/// Creates a repository with an example, its cases and samples.
pub(crate) fn example(name: &str) -> Result<Repository> {
    with_cases(Repository::of(&[name])?, name)
}

/// Adds the cases and samples of an example to the model of the same name.
fn with_cases(mut repository: Repository, name: &str) -> Result<Repository> {
    for directory in ["cases", "samples"] {
        let source = root().join("examples").join(name).join(directory);
        let Ok(entries) = std::fs::read_dir(&source) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let file = entry.file_name().into_string().ok().context("not UTF-8")?;
            let content = std::fs::read(entry.path())?;
            repository = repository.with_file(&format!("{name}/{directory}/{file}"), content)?;
        }
    }
    Ok(repository)
}

#[test]
fn infer_runs_without_a_server() -> Result<()> {
    let repository = Repository::of(&["digits"])?;
    let image = root().join("examples/digits/samples/7.png");
    let mut command = wisp();
    command
        .arg("infer")
        .arg(repository.path().join("digits"))
        .arg("--input")
        .arg(format!("image=@{}", image.display()))
        .args(["--parameter", "top_k=1"]);
    let text = stdout(&run(&mut command)?)?;
    ensure!(text.contains("label  BYTES [1, 1]  [\"7\"]"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&stdout(&run(command.arg("--json"))?)?)?;
    ensure!(json["outputs"][0]["data"][0] == "7", "{json}");
    Ok(())
}

#[test]
fn infer_lists_the_inputs_of_the_model() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut command = wisp();
    command
        .arg("infer")
        .arg(repository.path().join("progression"))
        .args(["--input", "x=1"]);
    let (text, code) = failure(&run(&mut command)?)?;
    ensure!(
        text.contains("no input `x`") && text.contains("features"),
        "{text}"
    );
    ensure!(code == 64);
    Ok(())
}

#[test]
fn check_passes_every_example() -> Result<()> {
    for name in ["digits", "progression", "wine"] {
        let repository = example(name)?;
        let text = stdout(&run(wisp().arg("check").arg(repository.path().join(name)))?)?;
        let cases = std::fs::read_dir(root().join("examples").join(name).join("cases"))?.count();
        ensure!(text.matches("  ok  ").count() == cases + 1, "{text}");
    }
    Ok(())
}

#[test]
fn check_on_a_repository_checks_every_model_and_names_those_that_failed() -> Result<()> {
    let repository = with_cases(Repository::of(&["progression", "wine"])?, "wine")?;
    let text = stdout(&run(wisp().arg("check").arg(repository.path()))?)?;
    ensure!(text.contains("\n  ok    it can be served"), "{text}");
    ensure!(text.ends_with("\n2 of 2 models passed\n"), "{text}");

    let repository = repository
        .with_file("broken/1/model.onnx", "not a model")?
        .with_file("cases/model.toml", "")?
        .with_model("cases", "progression", None)?
        .with_file("cases/cases/wrong.json", "{")?
        .with_model("label", "progression", None)?
        .with_file("label/model.toml", "labels = { stable = 7 }")?
        .with_file("notes/read.me", "no model")?;
    let output = run(wisp().arg("check").arg(repository.path()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{text}");
    let failed = ["broken", "cases", "label"].map(|model| repository.path().join(model));
    let failed = failed.map(|path| path.display().to_string()).join(", ");
    let summary = format!("\n2 of 5 models passed, 1 skipped; failed: {failed}\n");
    ensure!(text.ends_with(&summary), "{text}");
    let skipped = format!(
        "{}\n  skip  it contains no version, such as `1/model.onnx`, and no model.toml\n",
        repository.path().join("notes").display()
    );
    ensure!(text.contains(&skipped), "{text}");
    ensure!(text.contains("label `stable` is for version 7"), "{text}");
    ensure!(
        text.contains("FAIL  its golden cases can be read"),
        "{text}"
    );
    // The models after a broken one are checked too.
    let wine = format!(
        "{}\n  ok    it can be served",
        repository.path().join("wine").display()
    );
    ensure!(text.contains(&wine), "{text}");
    Ok(())
}

#[test]
fn check_on_a_repository_skips_optional_models_that_have_not_been_created() -> Result<()> {
    let export = "export = 'python3 export.py'\n";
    let optional = format!("{export}optional = true\n");
    let handler = std::fs::read(crate::harness::component("embed")?)?;
    let repository = Repository::of(&["progression"])?
        .with_file("built/model.toml", &optional)?
        .with_file("built/1/handler.wasm", &handler)?
        .with_file("fresh/model.toml", &optional)?;
    let text = stdout(&run(wisp().arg("check").arg(repository.path()))?)?;
    for line in [
        "\n  skip  it is optional: version 1 has no model.onnx; create it with `python3 export.py`, then try again\n",
        "\n  skip  it is optional: there is no version: no directory with a decimal name; create model.onnx with \
         `python3 export.py`, then try again\n",
    ] {
        ensure!(text.contains(line), "{text}");
    }
    ensure!(
        text.ends_with("\n1 of 1 models passed, 2 skipped\n"),
        "{text}"
    );

    // One that the command names is wanted.
    let fresh = repository.path().join("fresh");
    let output = run(wisp().arg("check").arg(&fresh))?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    // So are those that are not optional, and those that have been created wrongly.
    let repository = repository
        .with_file("needed/model.toml", export)?
        .with_file("wrong/model.toml", &optional)?
        .with_file("wrong/1/model.onnx", "not a model")?;
    let output = run(wisp().arg("check").arg(repository.path()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{text}");
    let failed = ["needed", "wrong"].map(|model| repository.path().join(model));
    let failed = failed.map(|path| path.display().to_string()).join(", ");
    let summary = format!("\n1 of 3 models passed, 2 skipped; failed: {failed}\n");
    ensure!(text.ends_with(&summary), "{text}");
    Ok(())
}

#[test]
fn infer_and_bench_on_a_repository_name_one_of_its_models() -> Result<()> {
    let repository = Repository::of(&["progression", "wine"])?;
    for args in [["bench"].as_slice(), &["infer", "--input", "x=1"]] {
        let (text, code) = failure(&run(wisp().args(args).arg(repository.path()))?)?;
        let hint = repository.path().join("progression");
        ensure!(text.contains("is a repository"), "{args:?}: {text}");
        ensure!(
            text.contains(&format!("such as `{}`", hint.display())),
            "{args:?}: {text}"
        );
        ensure!(code == 64, "{args:?}: {code}");
    }
    Ok(())
}

#[test]
fn check_and_infer_name_the_command_that_makes_a_missing_model() -> Result<()> {
    let repository = Repository::empty()?.with_file("embed/model.toml", "export = 'make it'")?;
    let model = repository.path().join("embed");
    let reason = "there is no version: no directory with a decimal name; create model.onnx with \
                  `make it`, then try again";
    let checked = run(wisp().arg("check").arg(&model))?;
    let text = String::from_utf8_lossy(&checked.stdout);
    ensure!(checked.status.code() == Some(1), "{text}");
    ensure!(text.contains(reason), "{text}");
    let (text, _) = failure(&run(wisp()
        .arg("infer")
        .arg(&model)
        .args(["--input", "text=[\"a\"]"]))?)?;
    ensure!(text.contains(reason), "{text}");
    Ok(())
}

#[test]
fn check_ends_quietly_when_its_output_is_closed() -> Result<()> {
    let repository = example("progression")?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let output = run(wisp()
        .arg("check")
        .arg(repository.path().join("progression"))
        .stdout(writer))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && text.is_empty(), "{text}");
    Ok(())
}

#[test]
fn check_fails_on_a_wrong_response_and_prints_the_difference() -> Result<()> {
    let case = r#"{"request":{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]},
        "expect":{"outputs":[{"name":"progression","datatype":"FP32","shape":[1],"data":[1.0]}]}}"#;
    let repository =
        Repository::of(&["progression"])?.with_file("progression/cases/wrong.json", case)?;
    let output = run(wisp()
        .arg("check")
        .arg(repository.path().join("progression")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{text}");
    ensure!(
        text.contains("FAIL  wrong.json") && text.contains("expected 1 within"),
        "{text}"
    );
    Ok(())
}

#[test]
fn check_compares_the_handler_with_the_graph() -> Result<()> {
    let component = crate::harness::component("wine")?;
    let repository = Repository::empty()?.with_model("mixed", "progression", Some(component))?;
    let output = run(wisp().arg("check").arg(repository.path().join("mixed")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "{text}");
    ensure!(
        text.contains("different signatures") && text.contains("probabilities"),
        "{text}"
    );
    Ok(())
}

#[test]
fn new_makes_a_project_that_builds_tests_and_serves() -> Result<()> {
    for template in ["image", "tabular", "text"] {
        let directory = tempfile::tempdir()?;
        let project = directory.path().join("fresh");
        stdout(&run(wisp().current_dir(directory.path()).args([
            "new",
            "fresh",
            "--template",
            template,
        ]))?)?;
        // All templates share one target directory, since their dependencies are the same.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new");
        let test = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
            .current_dir(&project)
            .args(["test", "--target", "host-tuple", "--target-dir"])
            .arg(&target)
            .output()?;
        stdout(&test).with_context(|| template.to_owned())?;
        stdout(&run(wisp()
            .current_dir(&project)
            .args(["build", "models"]))?)?;
        stdout(&run(wisp()
            .current_dir(&project)
            .args(["check", "models/fresh"]))?)?;
        let server = Serve::start(&project.join("models"))?;
        ensure!(
            server.banner.contains("1 of 1 models ready"),
            "{}",
            server.banner
        );
    }
    Ok(())
}

#[test]
fn a_watched_handler_is_rebuilt_and_its_model_reloaded() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let new = ["new", "fresh", "--template", "tabular"];
    stdout(&run(wisp().current_dir(directory.path()).args(new))?)?;
    let project = directory.path().join("fresh");
    let mut command = serve::serve(&project.join("models"));
    command
        .args(["--build", "--watch"])
        .stderr(std::process::Stdio::piped());
    let mut server = Serve::spawn(command)?;
    let mut log = server.log_up_to("watching the sources of handlers")?;
    let output = |server: &Serve| -> Result<String> {
        let metadata = server.get("/v2/models/fresh")?.ok()?;
        let name = metadata["outputs"][0]["name"].as_str();
        Ok(name.context("no output")?.to_owned())
    };
    ensure!(output(&server)? == "class");

    let source = project.join("src/lib.rs");
    let text = std::fs::read_to_string(&source)?;
    let renamed = text.replace(".output(\"class\"", ".output(\"size\"");
    ensure!(renamed != text, "the template has another output");
    std::fs::write(&source, &renamed)?;
    serve::read_up_to(&mut log, "the handler is rebuilt, and the model reloaded")?;
    ensure!(output(&server)? == "size");

    // A source that does not compile changes nothing, and the compiler's message comes once.
    std::fs::write(&source, format!("{renamed}\nmisplaced!();\n"))?;
    serve::read_up_to(&mut log, "cannot find macro `misplaced`")?;
    serve::read_up_to(&mut log, "the handler is not rebuilt")?;
    ensure!(output(&server)? == "size");
    std::fs::write(&source, &text)?;
    let mut line = String::new();
    while !line.contains("the handler is rebuilt, and the model reloaded") {
        line.clear();
        ensure!(log.read_line(&mut line)? > 0, "it is not rebuilt");
        ensure!(!line.contains("misplaced"), "printed again: {line}");
        ensure!(!line.contains("is not rebuilt"), "built again: {line}");
    }
    ensure!(output(&server)? == "class");
    Ok(())
}

#[test]
fn a_watch_needs_a_build_and_a_source() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    for (arguments, expected) in [
        (
            &["--watch"][..],
            "--watch rebuilds handlers and needs --build",
        ),
        (&["--watch", "--check-config"], "needs --build"),
        (
            &["--build", "--watch"],
            "has the path of a handler's source",
        ),
    ] {
        let mut command = serve::serve(repository.path());
        let (text, code) = failure(&run(command.args(arguments))?)?;
        ensure!(
            code == 64 && text.contains(expected),
            "{arguments:?}: {code}: {text}"
        );
    }
    Ok(())
}

#[test]
fn new_refuses_an_existing_directory() -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join("taken"))?;
    let args = ["new", "taken", "--template", "text"];
    let (text, _) = failure(&run(wisp().current_dir(directory.path()).args(args))?)?;
    ensure!(text.contains("taken"), "{text}");
    Ok(())
}

#[test]
fn inspect_shows_the_names_of_classes() -> Result<()> {
    let repository = Repository::of(&["wine"])?
        .with_file("wine/labels.txt", "barolo\ngrignolino\nbarbera\n")?
        .with_file(
            "wine/model.toml",
            "[outputs.probabilities]\nlabels = 'labels.txt'",
        )?;
    let model = repository.path().join("wine");
    let text = stdout(&run(wisp().arg("inspect").arg(&model))?)?;
    let line = "  classes      probabilities  barolo, grignolino, barbera\n";
    ensure!(text.matches(line).count() == 1, "{text}");
    let json = stdout(&run(wisp().args(["inspect", "--json"]).arg(&model))?)?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    let files = json.as_array().context("no array")?;
    let named = files.iter().filter_map(|file| file.get("class_names"));
    let expected = serde_json::json!({"probabilities": ["barolo", "grignolino", "barbera"]});
    ensure!(named.collect::<Vec<_>>() == [&expected], "{json}");
    Ok(())
}

#[test]
fn inspect_shows_imports_and_signatures() -> Result<()> {
    let repository = Repository::of(&["wine"])?;
    let version = repository.path().join("wine/1");
    let text = stdout(&run(wisp()
        .arg("inspect")
        .arg(version.join("handler.wasm")))?)?;
    for part in [
        "wasi:nn/graph@0.2.0-rc-2024-10-28",
        "  input        features: FP32 [-1, 13]\n",
        "  input        hue: FP32 [-1], optional\n",
        "  output       class: BYTES [-1]\n",
        "  graph        model\n    input      features: FP32 [-1, 13]\n",
    ] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    let json = stdout(&run(wisp()
        .args(["inspect", "--json"])
        .arg(version.join("handler.wasm")))?)?;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    let graph = &json[0]["signature"]["graphs"][0];
    ensure!(graph["outputs"][0]["datatype"] == "FP32", "{json}");
    let text = stdout(&run(wisp().arg("inspect").arg(version.join("model.onnx")))?)?;
    ensure!(text.contains("features") && text.contains("FP32"), "{text}");
    Ok(())
}
