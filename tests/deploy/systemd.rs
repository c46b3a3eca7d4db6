//! Tests of the systemd units, with the tools of systemd.

use super::{check_settings, longest_end, wisp};
use crate::harness::root;
use crate::python::succeed;
use crate::systemd_tools::tool;
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tempfile::TempDir;

/// The highest exposure that `systemd-analyze security` may find, of 100.
const MAX_EXPOSURE: &str = "20";

/// The units, of which the socket's is optional.
const UNITS: [&str; 2] = ["wisp.service", "wisp.socket"];

fn read(unit: &str) -> Result<String> {
    Ok(std::fs::read_to_string(root().join("deploy").join(unit))?)
}

/// Returns the unit of the service.
fn unit() -> Result<String> {
    read("wisp.service")
}

/// Returns the values of a directive in the unit, in order.
fn values<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let values = lines.filter(|(name, _)| *name == directive);
    values.map(|(_, value)| value).collect()
}

/// Returns a directory with the units, whose program is the one under test.
fn installed() -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for name in UNITS {
        let unit = read(name)?.replace("/usr/local/bin/wisp", env!("CARGO_BIN_EXE_wisp"));
        std::fs::write(directory.path().join(name), unit)?;
    }
    Ok(directory)
}

#[test]
fn systemd_accepts_every_line_of_the_units() -> Result<()> {
    let directory = installed()?;
    let mut verify = tool("systemd-analyze")?;
    verify
        .args(["verify", "--man=no"])
        .args(UNITS.map(|unit| directory.path().join(unit)));
    let output = succeed(&mut verify)?;
    let remarks = String::from_utf8(output.stderr)?;
    // Remarks on the units of the package are not about ours.
    let is_ours = |line: &&str| UNITS.iter().any(|unit| line.contains(unit));
    let ours: Vec<_> = remarks.lines().filter(is_ours).collect();
    ensure!(ours.is_empty(), "{}", ours.join("\n"));
    Ok(())
}

#[test]
fn the_socket_is_that_of_the_service_for_http() -> Result<()> {
    let socket = read("wisp.socket")?;
    ensure!(values(&socket, "FileDescriptorName") == ["http"]);
    ensure!(values(&socket, "ListenStream") == ["127.0.0.1:8000"]);
    // A socket for each connection would not be a listening one.
    ensure!(values(&socket, "Accept").is_empty());
    // The service needs no socket, and `systemctl start` returns when it is ready.
    let unit = unit()?;
    ensure!(values(&unit, "Requires").is_empty() && values(&unit, "Sockets").is_empty());
    ensure!(values(&unit, "Type") == ["notify"]);
    Ok(())
}

#[test]
fn systemd_finds_little_exposure() -> Result<()> {
    let directory = installed()?;
    let mut security = tool("systemd-analyze")?;
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
    let own = "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self";
    ensure!(values(&unit, "SystemCallFilter") == ["@system-service", own]);
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
