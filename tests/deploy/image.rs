//! The steps of the Dockerfile, and a server of the image with its settings. An engine takes them where one answers:
//! Docker or Podman. Otherwise `image_steps.py` takes those that need no other machine's files, as the root of a file system
//! in namespaces of its own, or in a directory if the machine forbids these. Standard error has the way and its steps, even
//! if the test passes.

use super::container::{environment, health, stages};
use crate::harness::{Repository, root};
use crate::python::succeed;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The name of the image that the test builds.
const TAG: &str = "wisp-image-test";

/// A container that is removed when it is dropped.
struct Container {
    engine: &'static str,
    id: String,
}

impl Container {
    /// Returns the output of a command of the engine for this container.
    fn ask(&self, command: &[&str], arguments: &[&str]) -> Result<String> {
        let mut ask = Command::new(self.engine);
        let output = succeed(ask.args(command).arg(&self.id).args(arguments))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Returns when the log says that the server accepts requests.
    fn wait_until_serving(&self) -> Result<()> {
        let mut logs = Command::new(self.engine)
            .args(["logs", "--follow", &self.id])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = logs.stderr.take().context("it is not piped")?;
        let mut read = String::new();
        let mut is_serving = false;
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            is_serving = line.contains("\"serving\"");
            read += &line;
            if is_serving {
                break;
            }
        }
        // It has ended already if the container has.
        let _ = logs.kill();
        logs.wait()?;
        ensure!(is_serving, "{read}");
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = Command::new(self.engine);
        // The files that it leaves are for the user of the engine to remove.
        let _ = remove.args(["rm", "--force", &self.id]).output();
    }
}

/// Writes a line to standard error. The test harness would hide the output of the macros.
fn report(line: &str) -> Result<()> {
    Ok(writeln!(
        std::io::stderr(),
        "test of deploy/Dockerfile: {line}"
    )?)
}

/// Returns an engine for containers that answers.
fn engine() -> Option<&'static str> {
    let mut engines = ["docker", "podman"].into_iter();
    engines.find(|engine| is_successful(Command::new(engine).arg("ps")))
}

fn is_successful(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Returns the command that runs a program as this user, with a number, in namespaces where it may mount and is alone on the
/// network.
fn in_namespaces(user: &str) -> Result<Command> {
    let (user, group) = user.split_once(':').context("no group")?;
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--user", "--keep-caps", "--mount", "--net"])
        .arg(format!("--map-user={user}"))
        .arg(format!("--map-group={group}"))
        .arg("--");
    Ok(unshare)
}

/// Builds the image and runs it as its comment says.
fn build_and_run(engine: &'static str, models: &Path, user: &str) -> Result<()> {
    let mut build = Command::new(engine);
    build.current_dir(root());
    succeed(build.args(["build", "--file", "deploy/Dockerfile", "--tag", TAG, "."]))?;
    let volume = format!("{}:/models:ro", models.display());
    let mut run = Command::new(engine);
    run.args(["run", "--detach", "--read-only", "--volume", &volume, TAG]);
    let container = Container {
        engine,
        id: String::from_utf8(succeed(&mut run)?.stdout)?
            .trim()
            .to_owned(),
    };
    container.wait_until_serving()?;
    let own = container.ask(&["exec"], &["sh", "-c", "echo $(id -u):$(id -g)"])?;
    ensure!(own == user, "{own}");
    container.ask(&["exec"], &["wisp", "health"])?;
    container.ask(&["stop"], &[])?;
    let code = container.ask(&["inspect", "--format", "{{.State.ExitCode}}"], &[])?;
    ensure!(code == "0", "it ended with {code}");
    Ok(())
}

/// Returns the steps for `image_steps.py`, whose image is at `image`.
fn plan(models: &Path, image: &Path) -> Result<Value> {
    let stages = stages()?;
    let (build, last) = (stages.first(), stages.last());
    let (build, last) = (build.context("no stage")?, last.context("no stage")?);
    // The steps after the compilation.
    let built = build.all("RUN").last().context("no step")?.split("&&");
    let built: Vec<&str> = built
        .map(str::trim)
        .filter(|step| step.starts_with("install "))
        .collect();
    ensure!(!built.is_empty(), "nothing is installed");
    let mut serve = last.words("ENTRYPOINT")?;
    serve.extend(last.words("CMD")?);
    Ok(json!({
        "source": root().display().to_string(),
        "program": env!("CARGO_BIN_EXE_wisp"),
        "modules": wisp_artifacts::EDGE_MODULES,
        "models": models.display().to_string(),
        "root": image.display().to_string(),
        "build": built,
        "run": last.all("RUN").collect::<Vec<_>>(),
        "environment": environment(last),
        "user": last.only("USER")?,
        "serve": serve,
        "health": health(last)?,
    }))
}

/// Runs `image_steps.py`, and returns its report.
fn take_steps(mut python: Command, kind: &str, plan: &Value) -> Result<String> {
    let mut steps = python
        .arg(root().join("tests/deploy/image_steps.py"))
        .arg(kind)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = steps.stdin.take().context("it is not piped")?;
    stdin.write_all(plan.to_string().as_bytes())?;
    drop(stdin);
    let output = steps.wait_with_output()?;
    let done = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{done}{errors}");
    Ok(done)
}

#[test]
fn the_image_serves_as_its_user_without_writing_and_passes_its_health_check() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let models = repository.path();
    // The user of the image is not that of the test.
    std::fs::set_permissions(models, PermissionsExt::from_mode(0o755))?;
    let stages = stages()?;
    let user = stages.last().context("no stage")?.only("USER")?;
    if let Some(engine) = engine() {
        report(&format!("{engine} builds and runs the image"))?;
        return build_and_run(engine, models, user);
    }
    let image = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let plan = plan(models, image.path())?;
    let mut mount = in_namespaces(user)?;
    mount.args(["mount", "--rbind", "/proc", "/proc"]);
    let done = if is_successful(&mut mount) {
        report(
            "neither Docker nor Podman answers: its steps are taken in namespaces, without those that compile and download",
        )?;
        let mut python = in_namespaces(user)?;
        python.arg("python3");
        take_steps(python, "namespace", &plan)?
    } else {
        report(
            "neither Docker nor Podman answers, and `unshare` is missing or may not create namespaces: its steps are \
             taken in a directory, which proves neither that the image can be read-only nor that its user suffices",
        )?;
        take_steps(Command::new("python3"), "directory", &plan)?
    };
    done.lines().try_for_each(report)?;
    ensure!(done.contains("healthy: wisp health\n"), "{done}");
    Ok(())
}

#[test]
fn the_steps_of_the_image_can_be_taken_in_a_directory() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let image = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let plan = plan(repository.path(), image.path())?;
    let done = take_steps(Command::new("python3"), "directory", &plan)?;
    ensure!(done.contains("healthy: wisp health\n"), "{done}");
    Ok(())
}
