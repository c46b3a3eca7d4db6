//! The Chromium of the tests: Debian's `chromium-headless-shell` with what it needs that is not installed, 87 MB of
//! packages.

use crate::{debian, python};
use anyhow::{Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
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
