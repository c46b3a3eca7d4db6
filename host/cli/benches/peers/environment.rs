//! Python environments below target/peers, installed from PyPI on first use, and servers that run in
//! them.

use crate::load;
use crate::process::{self, Server};
use anyhow::{Context, Result, bail, ensure};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The time that a server may take until it responds.
const START: Duration = Duration::from_secs(60);

/// A marker file that is written when an environment is complete. It contains the package list that the
/// environment was installed from.
const WHOLE: &str = "whole";

/// The path of ONNX Runtime's library within an environment. Every package list pins this version.
const ONNXRUNTIME: &str = "site-packages/onnxruntime/capi/libonnxruntime.so.1.31.1";

/// A list of packages. `complete` is true if the list includes all transitive dependencies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packages<'a> {
    pub(crate) list: &'a Path,
    pub(crate) complete: bool,
}

/// A Python virtual environment with installed packages.
pub(crate) struct Environment {
    pub(crate) directory: PathBuf,
}

/// Returns the root of the repository.
pub(crate) fn root() -> Result<&'static Path> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.context("the crate lies two levels below the root")
}

/// Returns a directory of this crate's benches.
pub(crate) fn scripts(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("benches")
        .join(name)
}

impl Environment {
    /// Installs these packages, unless the environment of this name was installed from the same list.
    pub(crate) fn install(name: &str, packages: Packages<'_>) -> Result<Environment> {
        let directory = root()?.join("target/peers").join(name);
        let environment = Environment { directory };
        let whole = environment.directory.join(WHOLE);
        let list = std::fs::read_to_string(packages.list)?;
        if std::fs::read_to_string(&whole).is_ok_and(|installed| installed == list) {
            return Ok(environment);
        }
        println!("installing {name}");
        let mut venv = Command::new("python3");
        succeed(
            venv.args(["-m", "venv", "--clear"])
                .arg(&environment.directory),
        )?;
        let mut pip = Command::new(environment.directory.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet"]);
        pip.arg("--disable-pip-version-check");
        if packages.complete {
            pip.arg("--no-deps");
        }
        succeed(pip.arg("--requirement").arg(packages.list))?;
        std::fs::write(whole, list)?;
        Ok(environment)
    }

    /// Returns a command that runs a program of this environment in `scripts`, from which it can import
    /// modules.
    pub(crate) fn command(&self, program: &str, scripts: &Path) -> Command {
        let mut command = Command::new(self.directory.join("bin").join(program));
        command
            .current_dir(scripts)
            .env("PYTHONPATH", scripts)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("OMP_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Returns the path of ONNX Runtime's library, for any Python version.
    pub(crate) fn onnxruntime_library(&self) -> Result<PathBuf> {
        let pythons = std::fs::read_dir(self.directory.join("lib"))?;
        let mut libraries = pythons
            .flatten()
            .map(|python| python.path().join(ONNXRUNTIME));
        let found = libraries.find(|library| library.is_file());
        found.with_context(|| format!("no {ONNXRUNTIME} in {}", self.directory.display()))
    }
}

/// Starts uvicorn with the application of this module.
pub(crate) fn uvicorn(command: &mut Command, application: &str) -> Result<Server> {
    let port = free_port()?;
    command.arg(application);
    command.args(["--log-level", "warning", "--no-access-log"]);
    start(command.args(["--port", &port.to_string()]), port, "/health")
}

/// Starts MLServer with the models below `directory`, and waits until `model` is ready. It runs in its
/// own process (`parallel_workers` 0), the fastest of its settings on one core.
pub(crate) fn mlserver(command: &mut Command, directory: &Path, model: &str) -> Result<Server> {
    let [port, grpc, metrics] = [free_port()?, free_port()?, free_port()?];
    command.arg("start").arg(directory);
    command.env("MLSERVER_HTTP_PORT", port.to_string());
    command.env("MLSERVER_GRPC_PORT", grpc.to_string());
    command.env("MLSERVER_METRICS_PORT", metrics.to_string());
    let server = start(command, port, &format!("/v2/models/{model}/ready"))?;
    Ok(server.with_grpc(grpc))
}

/// Starts the process on cpu 0, and waits until `path` responds with status 200.
pub(crate) fn start(command: &mut Command, port: u16, path: &str) -> Result<Server> {
    let child = process::spawn(command)?;
    let mut server = Server::new(child, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let request = load::Request::get(path);
    let started = Instant::now();
    while load::once(server.address, &request).is_err() {
        if let Some(ended) = server.ended()? {
            bail!("{command:?} ended with {ended}");
        }
        ensure!(started.elapsed() < START, "{command:?} does not answer");
        #[expect(
            clippy::disallowed_methods,
            reason = "nothing else runs on this thread"
        )]
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}

/// Returns a port that was free a moment ago. These servers do not report a port that they chose
/// themselves.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
