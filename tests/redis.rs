//! The Redis server of Debian, unpacked below the workspace's target directory, as a process of a test.

use crate::harness::wait_until;
use crate::{debian, python};
use anyhow::{Context, Result, ensure};
use std::ffi::OsString;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The packages that are unpacked even if they are installed.
const PACKAGES: [&str; 2] = ["redis-server", "redis-tools"];

/// A Redis server without persistence. Killed on drop.
#[derive(Debug)]
pub(crate) struct Redis {
    port: u16,
    arguments: Vec<String>,
    directory: TempDir,
    process: Option<Child>,
}

impl Redis {
    /// Starts a server with these arguments in addition. `--port` is the argument for its port.
    pub(crate) fn start(port_argument: &str, arguments: &[&str]) -> Result<Redis> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut own = vec![port_argument.to_owned(), port.to_string()];
        own.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut redis = Redis {
            port,
            arguments: own,
            directory: tempfile::tempdir()?,
            process: None,
        };
        redis.restart()?;
        Ok(redis)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Starts the process again, on the same port and without its values.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let process = Command::new(program("redis-server")?)
            .args(["--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.directory.path())
            .args(&self.arguments)
            .env("LD_LIBRARY_PATH", library_path()?)
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start redis-server")?;
        self.process = Some(process);
        let address = ("127.0.0.1", self.port);
        wait_until("redis-server listens", || {
            TcpStream::connect(address).is_ok()
        })
    }

    /// Runs a command with `redis-cli` and returns its output.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program("redis-cli")?);
        command
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(arguments)
            .env("LD_LIBRARY_PATH", library_path()?);
        let output = python::succeed(&mut command)?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Returns the names of all values.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let names = self.command(&["KEYS", "*"])?;
        Ok(names.lines().map(str::to_owned).collect())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn program(name: &str) -> Result<PathBuf> {
    Ok(unpacked()?.join("usr/bin").join(name))
}

/// Returns the value of `LD_LIBRARY_PATH` with which the programs find their libraries.
fn library_path() -> Result<OsString> {
    let libraries = unpacked()?.join("usr/lib");
    let mut directories = Vec::new();
    for entry in std::fs::read_dir(&libraries)? {
        directories.push(entry?.path());
    }
    Ok(std::env::join_paths(directories)?)
}

fn unpacked() -> Result<&'static Path> {
    static UNPACKED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&UNPACKED, || debian::unpacked("redis", unpack))
}

/// Downloads the packages into `downloads`, and unpacks them into `directory`.
fn unpack(downloads: &Path, directory: &Path) -> Result<()> {
    debian::unpack_with_dependencies("redis-server", &PACKAGES, (downloads, directory))?;
    let server = directory.join("usr/bin/redis-server");
    ensure!(server.exists(), "no {}", server.display());
    Ok(())
}
