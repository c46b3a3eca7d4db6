//! Packages of Debian for the tests, unpacked below the workspace's target directory. Nothing is installed.
//!
//! A marker file, which is written last, shows that a directory is complete.

use crate::python;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the directory `name` in the workspace's target directory, which `unpack` fills on first use. Its other
/// argument is a directory for downloads.
pub(crate) fn unpacked(
    name: &str,
    unpack: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let directory = python::target_directory()?.join(name);
    let _guard = python::lock(name)?;
    if !directory.join(python::WHOLE).is_file() {
        if directory.exists() {
            std::fs::remove_dir_all(&directory)?;
        }
        std::fs::create_dir_all(&directory)?;
        let downloads = tempfile::tempdir_in(python::target_directory()?)?;
        unpack(downloads.path(), &directory)?;
        std::fs::write(directory.join(python::WHOLE), "")?;
    }
    Ok(directory)
}

/// Downloads a package with what it needs that is not installed here into `downloads`, and unpacks all into `directory`.
/// The packages `always` are among them even if they are installed.
pub(crate) fn unpack_with_dependencies(
    package: &str,
    always: &[&str],
    (downloads, directory): (&Path, &Path),
) -> Result<()> {
    let mut simulate = Command::new("apt-get");
    simulate.args(["install", "--simulate", "--no-install-recommends", package]);
    let list = python::succeed(&mut simulate)
        .context("the test needs Debian's apt-get, and package lists: apt-get update")?;
    let list = String::from_utf8(list.stdout)?;
    let missing = list.lines().filter_map(|line| line.strip_prefix("Inst "));
    let mut packages: Vec<&str> = missing.filter_map(|rest| rest.split(' ').next()).collect();
    packages.extend(always);
    packages.sort_unstable();
    packages.dedup();
    download(&packages, downloads)?;
    extract(downloads, directory)
}

/// Downloads packages of the system's own suite into `downloads`.
pub(crate) fn download(packages: &[&str], downloads: &Path) -> Result<()> {
    let mut download = Command::new("apt-get");
    download
        .arg("download")
        .args(packages)
        .current_dir(downloads);
    python::succeed(&mut download)?;
    Ok(())
}

/// Unpacks all packages in `downloads` into `directory`.
pub(crate) fn extract(downloads: &Path, directory: &Path) -> Result<()> {
    for package in std::fs::read_dir(downloads)? {
        let mut dpkg = Command::new("dpkg-deb");
        dpkg.arg("-x").arg(package?.path()).arg(directory);
        python::succeed(&mut dpkg)?;
    }
    Ok(())
}
