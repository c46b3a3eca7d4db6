//! Tests of the systemd unit, with the tools of systemd.

use super::{check_settings, longest_end, wisp};
use crate::harness::root;
use crate::python::{self, succeed};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// The highest exposure that `systemd-analyze security` may find, of 100.
const MAX_EXPOSURE: &str = "20";

/// Packages of Debian: the program, and those of its libraries that small systems lack.
const PACKAGES: &str =
    "systemd libsystemd-shared libacl1 libapparmor1 libip4tc2 libkmod2 libseccomp2";

/// Returns the command `systemd-analyze`, downloaded from Debian's archive.
fn systemd_analyze() -> Result<Command> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd");
    let program = home.join("usr/bin/systemd-analyze");
    let _guard = python::lock("systemd")?;
    if !program.exists() {
        std::fs::create_dir_all(&home)?;
        let script = format!(
            "apt-get download {PACKAGES} && for package in *.deb; do dpkg-deb -x \"$package\" . || exit; done"
        );
        let mut fetch = Command::new("sh");
        succeed(fetch.args(["-c", &script]).current_dir(&home))?;
    }
    let target = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = [
        home.join("usr/lib").join(&target).join("systemd"),
        home.join("usr/lib").join(&target),
        home.join("lib").join(&target),
    ];
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?);
    // The units that ours is ordered after are those of the package, whatever this machine has.
    let units = ["lib/systemd/system", "usr/lib/systemd/system"].map(|units| home.join(units));
    command.env("SYSTEMD_UNIT_PATH", std::env::join_paths(units)?);
    Ok(command)
}

fn unit() -> Result<String> {
    Ok(std::fs::read_to_string(root().join("deploy/wisp.service"))?)
}

/// Returns the values of a directive in the unit, in order.
fn values<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let values = lines.filter(|(name, _)| *name == directive);
    values.map(|(_, value)| value).collect()
}

/// Returns a directory with the unit, whose program is the one under test.
fn installed() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let unit = unit()?.replace("/usr/local/bin/wisp", env!("CARGO_BIN_EXE_wisp"));
    std::fs::write(directory.path().join("wisp.service"), unit)?;
    Ok(directory)
}

#[test]
fn systemd_accepts_every_line_of_the_unit() -> Result<()> {
    let directory = installed()?;
    let mut verify = systemd_analyze()?;
    verify
        .args(["verify", "--man=no"])
        .arg(directory.path().join("wisp.service"));
    let output = succeed(&mut verify)?;
    let remarks = String::from_utf8(output.stderr)?;
    // Remarks on the units of the package are not about ours.
    let ours: Vec<_> = remarks
        .lines()
        .filter(|line| line.contains("wisp.service"))
        .collect();
    ensure!(ours.is_empty(), "{}", ours.join("\n"));
    Ok(())
}

#[test]
fn systemd_finds_little_exposure() -> Result<()> {
    let directory = installed()?;
    let mut security = systemd_analyze()?;
    security
        .args(["security", "--offline=yes", "--no-pager"])
        .args(["--threshold", MAX_EXPOSURE])
        .arg(directory.path().join("wisp.service"));
    succeed(&mut security)?;
    Ok(())
}

#[test]
fn the_machine_code_of_handlers_can_be_made_executable() -> Result<()> {
    let unit = unit()?;
    ensure!(values(&unit, "MemoryDenyWriteExecute").is_empty());
    ensure!(values(&unit, "SystemCallFilter") == ["@system-service"]);
    Ok(())
}

#[test]
fn the_service_has_time_to_drain() -> Result<()> {
    let unit = unit()?;
    ensure!(values(&unit, "KillSignal") == ["SIGTERM"]);
    let seconds = values(&unit, "TimeoutStopSec");
    let seconds: u64 = seconds.first().context("no TimeoutStopSec")?.parse()?;
    ensure!(
        Duration::from_secs(seconds) > longest_end(),
        "{seconds} seconds"
    );
    Ok(())
}

#[test]
fn the_command_and_the_variables_of_the_unit_exist() -> Result<()> {
    let unit = unit()?;
    let commands = values(&unit, "ExecStart");
    let command = commands.first().context("no ExecStart")?;
    let (program, arguments) = command.split_once(' ').context("no subcommand")?;
    ensure!(program == "/usr/local/bin/wisp", "{program}");
    let mut arguments: Vec<_> = arguments.split(' ').collect();
    arguments.push("--help");
    succeed(&mut wisp(&arguments))?;
    let variables = values(&unit, "Environment");
    ensure!(!variables.is_empty());
    check_settings(variables.iter().filter_map(|line| line.split('=').next()))
}
