//! Tests of SIGHUP, which reloads files and never ends the server. Those of the certificate are in `tls`.

use super::serve::{Serve, read_up_to, serve};
use super::wisp;
use crate::harness::Repository;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn a_hangup_without_anything_to_reload_is_logged() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut command = serve(repository.path());
    command.stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;
    server.signal("-HUP")?;
    let _log = server.log_up_to("neither a certificate nor a configuration file")?;
    server.get("/v2/health/live")?.ok()?;
    Ok(())
}

#[test]
fn a_hangup_while_models_are_loaded_is_ignored() -> Result<()> {
    let repository = Repository::of(&["progression"])?;
    let mut child = serve(repository.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut log = BufReader::new(child.stderr.take().context("it is piped")?);
    // Logged after the signal handlers are installed, and before anything is loaded.
    read_up_to(&mut log, "limit on open connections")?;
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-HUP", &pid]).status()?;
    let mut banner = String::new();
    let output = child.stdout.take().context("it is piped")?;
    BufReader::new(output).read_line(&mut banner)?;
    child.kill()?;
    child.wait()?;
    ensure!(sent.success());
    ensure!(banner.contains("1 of 1 models ready"), "{banner}");
    Ok(())
}

#[test]
fn a_hangup_reloads_the_levels_of_the_log_from_the_configuration_file() -> Result<()> {
    let configuration = "repository = '.'\n";
    let repository = Repository::of(&["progression"])?.with_file("wisp.toml", configuration)?;
    let file = repository.path().join("wisp.toml");
    let mut command = wisp();
    command
        .args([
            "serve",
            "--http",
            "127.0.0.1:0",
            "--grpc",
            "none",
            "--config",
        ])
        .arg(&file)
        .stderr(Stdio::piped());
    let mut server = Serve::spawn(command)?;

    std::fs::write(
        &file,
        format!("{configuration}log = 'debug'\nthreads = 3\n"),
    )?;
    server.signal("-HUP")?;
    let mut log = server.log_up_to("apply after a restart keys=threads")?;
    server.get("/v2/health/live")?.ok()?;
    read_up_to(&mut log, " DEBUG ")?;

    std::fs::write(&file, format!("{configuration}log = 'wisp=loud'\n"))?;
    server.signal("-HUP")?;
    let refused = read_up_to(&mut log, "failed to reload the configuration")?;
    ensure!(
        refused.contains("ERROR") && refused.contains("wisp=loud"),
        "{refused}"
    );

    std::fs::write(&file, configuration)?;
    server.signal("-HUP")?;
    read_up_to(
        &mut log,
        "INFO wisp::serve::hangup: reloaded the configuration",
    )?;
    server.get("/v2/health/live")?.ok()?;
    Ok(())
}
