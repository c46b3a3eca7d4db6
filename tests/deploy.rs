//! Tests of the files in `deploy`: third-party tools check them, and their commands and settings are compared with
//! those of the program.

mod container;
mod image;
mod kubernetes;
mod systemd;

use crate::harness::root;
use crate::python::{self, DEPLOY};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use wisp_server::ServerOptions;

/// Returns the command for arguments that follow the name of the program.
fn wisp(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wisp"));
    command.args(arguments);
    command
}

/// Checks a file of `deploy`, and returns its content as `tests/clients/deploy_files.py` prints it.
fn checked(kind: &str, file: &str) -> Result<Value> {
    let path = root().join("deploy").join(file);
    let path = path.to_str().context("not UTF-8")?;
    let printed = python::run_in(&DEPLOY, "deploy_files.py", &[kind, path])?;
    Ok(serde_json::from_str(&printed)?)
}

/// Returns the longest time between a signal and the end of a server.
fn longest_end() -> Duration {
    let options = ServerOptions::default();
    // The program adds two seconds to the limits of its server.
    options.drain_delay + options.drain_timeout + Duration::from_secs(2)
}

/// Checks that `wisp serve` takes its settings from these variables.
fn check_settings<'a>(variables: impl Iterator<Item = &'a str>) -> Result<()> {
    let help = python::succeed(&mut wisp(&["serve", "--help"]))?.stdout;
    let help = String::from_utf8(help)?;
    for variable in variables {
        ensure!(
            help.contains(&format!("[env: {variable}]")),
            "there is no {variable}"
        );
    }
    Ok(())
}
