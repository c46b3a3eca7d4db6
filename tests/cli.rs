//! The `wisp` command as a process: what it prints, how it ends, what it leaves behind.

use crate::harness::{Repository, Response, root};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn wisp() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wisp"));
    // Compiled guests stay for the next test, and out of the user's cache.
    command.env(
        "XDG_CACHE_HOME",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
    );
    // A guest is built by the toolchain of the test, in a target directory of its own.
    command.env_remove("CARGO_TARGET_DIR");
    command
}

fn run(command: &mut Command) -> Result<Output> {
    command.output().context("failed to run wisp")
}

fn stdout(output: &Output) -> Result<String> {
    let (out, err) = (&output.stdout, &output.stderr);
    let text = String::from_utf8_lossy(out).into_owned();
    ensure!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(err)
    );
    Ok(text)
}

/// What a failed command said on standard error, and its exit code.
fn failure(output: &Output) -> Result<(String, i32)> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().context("ended by a signal")?;
    ensure!(code != 0, "succeeded");
    Ok((text, code))
}

/// A repository whose models have their cases and samples, as the examples do.
fn example(name: &str) -> Result<Repository> {
    let mut repository = Repository::of(&[name])?;
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
fn infer_answers_once_without_a_server() -> Result<()> {
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
fn infer_names_the_inputs_there_are() -> Result<()> {
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
fn check_fails_on_a_wrong_answer_and_says_what_differs() -> Result<()> {
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
        text.contains("do not fit each other") && text.contains("probabilities"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_missing_model_file_names_the_command_that_makes_it() -> Result<()> {
    let repository = Repository::empty()?
        .with_file("embed/model.toml", "export = \"python3 export.py\"")?
        .with_file(
            "embed/1/handler.wasm",
            std::fs::read(crate::harness::component("embed")?)?,
        )?;
    let server = Serve::start(repository.path())?;
    ensure!(server.banner.contains("UNAVAILABLE"), "{}", server.banner);
    ensure!(
        server.banner.contains("python3 export.py"),
        "{}",
        server.banner
    );
    ensure!(
        server.get("/v2/health/ready")?.status == 200,
        "the server itself is ready"
    );
    Ok(())
}

#[test]
fn a_bad_configuration_ends_with_64_before_a_port_is_bound() -> Result<()> {
    for args in [
        ["serve", "--http", "nowhere"],
        ["serve", "--max-body-bytes", "0"],
        ["serve", "--no-such-flag", "1"],
    ] {
        let (text, code) = failure(&run(wisp().args(args).arg("."))?)?;
        ensure!(code == 64, "{args:?}: {code}: {text}");
    }
    let (text, code) = failure(&run(wisp().args(["serve", "/no/such/place"]))?)?;
    ensure!(code == 64 && text.contains("does not exist"), "{text}");
    Ok(())
}

#[test]
fn a_single_onnx_file_is_served_as_a_model_of_its_name() -> Result<()> {
    let model = root().join("examples/progression/1/model.onnx");
    let server = Serve::start(&model)?;
    let metadata = server.get("/v2/models/model")?.ok()?;
    ensure!(metadata["inputs"][0]["name"] == "features", "{metadata}");
    Ok(())
}

#[test]
fn the_banners_curl_lines_work_when_pasted() -> Result<()> {
    let repository = example("digits")?;
    let server = Serve::start(&repository.path().join("digits"))?;
    let line = server
        .banner
        .lines()
        .find(|line| line.contains("curl"))
        .context("no line")?;
    let output = Command::new("sh").arg("-c").arg(line.trim()).output()?;
    let text = stdout(&output)?;
    ensure!(text.contains("\"label\""), "{line}: {text}");
    Ok(())
}

#[test]
fn sigterm_answers_what_is_in_flight_and_ends_with_success() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut server = Serve::start(repository.path())?;
    let body = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}]}"#;
    let mut stream = TcpStream::connect(&server.address)?;
    write!(
        stream,
        "POST /v2/models/progression/infer HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on)?;
    let pid = server.child.id().to_string();
    ensure!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()?
            .success()
    );
    // The notice that it drains is written before anything is refused.
    stream.write_all(body.as_bytes())?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    ensure!(Response::parse(&reply)?.status == 200);
    ensure!(server.child.wait()?.success());
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
        // One target directory for all of them: their dependencies are the same.
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
fn new_refuses_a_directory_that_is_there() -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::create_dir(directory.path().join("taken"))?;
    let args = ["new", "taken", "--template", "text"];
    let (text, _) = failure(&run(wisp().current_dir(directory.path()).args(args))?)?;
    ensure!(text.contains("taken"), "{text}");
    Ok(())
}

#[test]
fn inspect_shows_imports_and_signatures() -> Result<()> {
    let repository = Repository::of(&["wine"])?;
    let version = repository.path().join("wine/1");
    let text = stdout(&run(wisp()
        .arg("inspect")
        .arg(version.join("handler.wasm")))?)?;
    ensure!(text.contains("wasi:nn/graph@0.2.0-rc-2024-10-28"), "{text}");
    let text = stdout(&run(wisp().arg("inspect").arg(version.join("model.onnx")))?)?;
    ensure!(text.contains("features") && text.contains("FP32"), "{text}");
    Ok(())
}

/// `wisp serve` as a process; killed when dropped.
struct Serve {
    child: Child,
    address: String,
    banner: String,
}

impl Serve {
    /// Start on a free port, and read the banner to the end of its models.
    fn start(path: &Path) -> Result<Serve> {
        let mut child = wisp()
            .args(["serve", "--http", "127.0.0.1:0"])
            .arg(path)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let first = lines.next().context("no banner")??;
        let address = first
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split(": ").next());
        let address = address.with_context(|| first.clone())?.to_owned();
        let models = first
            .split(" of ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let models: usize = models.context("no count")?.parse()?;
        let mut banner = first;
        // An empty line, then for each model its line, a curl line or a reason, and an empty line.
        for line in lines.by_ref().take(1 + 3 * models) {
            banner += "\n";
            banner += &line?;
        }
        Ok(Serve {
            child,
            address,
            banner,
        })
    }

    fn get(&self, path: &str) -> Result<Response> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
        )?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Response::parse(&reply)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
