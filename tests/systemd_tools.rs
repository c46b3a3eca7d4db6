//! The tools of systemd, downloaded from Debian's archive. Nothing is installed.

use crate::python::{self, succeed};
use anyhow::Result;
use std::path::Path;
use std::process::Command;

/// Packages of Debian: the programs, and those of their libraries that small systems lack.
const PACKAGES: &str =
    "systemd libsystemd-shared libacl1 libapparmor1 libip4tc2 libkmod2 libseccomp2";

/// Returns the command of a tool, such as `systemd-analyze`.
pub(crate) fn tool(name: &str) -> Result<Command> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("systemd");
    let program = home.join("usr/bin").join(name);
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
