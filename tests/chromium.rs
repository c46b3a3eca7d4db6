//! The Chromium of the tests: Debian's `chromium-headless-shell` with what it needs that is not installed, 87 MB of
//! packages, unpacked below the workspace's target directory.
//!
//! Nothing is installed. A marker file, which is written last, shows that the directory is complete.

use crate::python;
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The directory of the program and of its data files, within the unpacked packages.
const PROGRAM: &str = "usr/lib/chromium";

/// Prints the packages to download. `apt-get` resolves the dependencies for the packages that are installed here.
const LIST: &str = "apt-get install --simulate --no-install-recommends chromium-headless-shell";

/// Returns the path of the executable, which needs the libraries in [`library_path`].
pub(crate) fn executable() -> Result<PathBuf> {
    Ok(unpacked()?.join(PROGRAM).join("chromium-headless-shell"))
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
    python::once(&UNPACKED, || {
        let directory = python::target_directory()?.join("chromium");
        let _guard = python::lock("chromium")?;
        if !directory.join(python::WHOLE).is_file() {
            if directory.exists() {
                std::fs::remove_dir_all(&directory)?;
            }
            std::fs::create_dir_all(&directory)?;
            unpack(&directory)?;
            std::fs::write(directory.join(python::WHOLE), "")?;
        }
        Ok(directory)
    })
}

/// Downloads the packages into a temporary directory, and unpacks them into `directory`.
fn unpack(directory: &Path) -> Result<()> {
    let list = python::succeed(Command::new("sh").args(["-c", LIST]))
        .context("the test needs Debian's apt-get, and package lists: apt-get update")?;
    let list = String::from_utf8(list.stdout)?;
    let installed = list.lines().filter_map(|line| line.strip_prefix("Inst "));
    let packages = installed.filter_map(|rest| rest.split(' ').next());
    let packages: Vec<&str> = packages.collect();
    ensure!(
        packages.contains(&"chromium-headless-shell"),
        "no chromium-headless-shell to download: {list}"
    );
    let downloads = tempfile::tempdir_in(python::target_directory()?)?;
    let mut download = Command::new("apt-get");
    download
        .arg("download")
        .args(packages)
        .current_dir(downloads.path());
    python::succeed(&mut download)?;
    for entry in std::fs::read_dir(downloads.path())? {
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.arg("-x").arg(entry?.path()).arg(directory);
        python::succeed(&mut dpkg)?;
    }
    Ok(())
}
