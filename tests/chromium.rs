//! The Chromium of the tests: Debian's `chromium-headless-shell` with what it needs that is not installed, 87 MB of
//! packages.

use crate::harness::root;
use crate::{debian, python};
use anyhow::{Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The directory of the program and of its data files, within the unpacked packages.
const PROGRAM: &str = "usr/lib/chromium";

/// The package, and the name of the program.
const PACKAGE: &str = "chromium-headless-shell";

/// Returns the path of the executable, which needs the libraries in [`library_path`].
pub(crate) fn executable() -> Result<PathBuf> {
    Ok(unpacked()?.join(PROGRAM).join(PACKAGE))
}

/// Returns the value of `LD_LIBRARY_PATH` with which the executable finds its libraries.
pub(crate) fn library_path() -> Result<OsString> {
    let libraries = unpacked()?.join("usr/lib");
    let mut directories = Vec::new();
    for entry in std::fs::read_dir(&libraries)? {
        let directory = entry?.path();
        // Such as `x86_64-linux-gnu`, and in it the library that PulseAudio's client keeps for itself.
        directories.push(directory.join("pulseaudio"));
        directories.push(directory);
    }
    Ok(std::env::join_paths(directories)?)
}

/// Runs a script of `tests/clients` that drives the browser at the pages of the server at `address`, and returns the lines
/// that it prints: what each of its steps shows. Screenshots are stored in `target/console-screenshots`.
pub(crate) fn browse(
    script: &str,
    address: &str,
    complete: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<BTreeMap<String, Value>> {
    let screenshots = python::target_directory()?.join("console-screenshots");
    std::fs::create_dir_all(&screenshots)?;
    let mut browse = Command::new("python3");
    browse
        .arg("-B")
        .arg(root().join("tests/clients").join(script))
        .arg(address)
        .arg(executable()?)
        .arg(screenshots)
        .env("LD_LIBRARY_PATH", library_path()?);
    let printed = String::from_utf8(python::succeed(complete(&mut browse))?.stdout)?;
    let mut steps = BTreeMap::new();
    for line in printed.lines() {
        let step: BTreeMap<String, Value> = serde_json::from_str(line)?;
        steps.extend(step);
    }
    Ok(steps)
}

fn unpacked() -> Result<&'static Path> {
    static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&UNPACKED, || debian::unpacked("chromium", unpack))
}

/// Downloads the packages into `downloads`, and unpacks them into `directory`.
fn unpack(downloads: &Path, directory: &Path) -> Result<()> {
    debian::unpack_with_dependencies(PACKAGE, &[PACKAGE], (downloads, directory))?;
    let executable = directory.join(PROGRAM).join(PACKAGE);
    ensure!(executable.exists(), "no {}", executable.display());
    Ok(())
}
