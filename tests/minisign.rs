//! The tool minisign of Debian, unpacked below the workspace's target directory, which signs versions as their authors do.

use crate::{debian, python};
use anyhow::{Result, ensure};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// A pair of keys in a temporary directory.
#[derive(Debug)]
pub(crate) struct SigningKey {
    directory: TempDir,
}

impl SigningKey {
    /// Makes a new pair, without a password.
    pub(crate) fn generate() -> Result<SigningKey> {
        let directory = tempfile::tempdir()?;
        let key = SigningKey { directory };
        let mut command = minisign()?;
        command.args(["-G", "-W", "-p"]).arg(key.public());
        command.arg("-s").arg(key.secret());
        python::succeed(&mut command)?;
        Ok(key)
    }

    /// Returns the file with the public key.
    pub(crate) fn public(&self) -> PathBuf {
        self.directory.path().join("minisign.pub")
    }

    fn secret(&self) -> PathBuf {
        self.directory.path().join("minisign.key")
    }

    /// Writes and signs the digests of these files of a version, with paths from the directory of the repository.
    pub(crate) fn sign(&self, repository: &Path, version: &str, files: &[&str]) -> Result<()> {
        let list = format!("{version}/SHA256SUMS");
        let mut digests = Command::new("sha256sum");
        digests.args(files).current_dir(repository);
        let digests = python::succeed(&mut digests)?;
        std::fs::write(repository.join(&list), digests.stdout)?;
        let mut command = minisign()?;
        command
            .args(["-S", "-W", "-m", &list, "-s"])
            .arg(self.secret());
        python::succeed(command.current_dir(repository))?;
        Ok(())
    }
}

/// Returns the command with its libraries.
fn minisign() -> Result<Command> {
    let (program, libraries) = program()?;
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", libraries);
    Ok(command)
}

/// Returns the path of the program, and the directories of its libraries as in `LD_LIBRARY_PATH`.
pub(crate) fn program() -> Result<(PathBuf, OsString)> {
    let unpacked = unpacked()?;
    let mut directories = Vec::new();
    if let Ok(entries) = std::fs::read_dir(unpacked.join("usr/lib")) {
        for entry in entries {
            directories.push(entry?.path());
        }
    }
    let libraries = std::env::join_paths(directories)?;
    Ok((unpacked.join("usr/bin/minisign"), libraries))
}

fn unpacked() -> Result<&'static Path> {
    static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&UNPACKED, || debian::unpacked("minisign", unpack))
}

/// Downloads the packages into `downloads`, and unpacks them into `directory`.
fn unpack(downloads: &Path, directory: &Path) -> Result<()> {
    debian::unpack_with_dependencies("minisign", &["minisign"], (downloads, directory))?;
    ensure!(directory.join("usr/bin/minisign").exists(), "no minisign");
    Ok(())
}
