//! The servers of others: installed from PyPI, each in an environment of its own, and started.

use crate::load;
use crate::process::{self, Server};
use anyhow::{Context, Result, bail, ensure};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(60);

/// Written when an environment is whole.
const WHOLE: &str = "whole";

/// The environments of the servers. The lists of their packages contradict each other, so that each has
/// one of its own.
pub(crate) struct Peers {
    root: PathBuf,
    environments: PathBuf,
}

/// The repository's root.
pub(crate) fn root() -> Result<&'static Path> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.context("the crate lies two levels below the root")
}

impl Peers {
    pub(crate) fn install() -> Result<Peers> {
        let peers = Peers {
            root: root()?.to_owned(),
            environments: root()?.join("target/peers"),
        };
        for name in ["fastapi", "mlserver", "kserve"] {
            peers.make(name)?;
        }
        Ok(peers)
    }

    fn make(&self, name: &str) -> Result<()> {
        let environment = self.environments.join(name);
        if environment.join(WHOLE).is_file() {
            return Ok(());
        }
        println!("installing {name}");
        let mut venv = Command::new("python3");
        succeed(venv.args(["-m", "venv", "--clear"]).arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ]);
        succeed(pip.arg(self.sources().join(format!("{name}.txt"))))?;
        Ok(std::fs::write(environment.join(WHOLE), "")?)
    }

    pub(crate) fn fastapi(&self) -> Result<Server> {
        let port = free_port()?;
        let mut command = self.python("fastapi", "uvicorn");
        command.args([
            "fastapi_wine:app",
            "--log-level",
            "warning",
            "--no-access-log",
        ]);
        start(command.args(["--port", &port.to_string()]), port, "/health")
    }

    /// In its own process, as it is with `parallel_workers` 0, the fastest of its settings on one core.
    pub(crate) fn mlserver(&self) -> Result<Server> {
        let [port, grpc, metrics] = [free_port()?, free_port()?, free_port()?];
        let mut command = self.python("mlserver", "mlserver");
        command.arg("start").arg(self.sources().join("mlserver"));
        command.env("MLSERVER_HTTP_PORT", port.to_string());
        command.env("MLSERVER_GRPC_PORT", grpc.to_string());
        command.env("MLSERVER_METRICS_PORT", metrics.to_string());
        let server = start(&mut command, port, "/v2/models/wine/ready")?;
        Ok(server.with_grpc(grpc))
    }

    pub(crate) fn kserve(&self) -> Result<Server> {
        let [port, grpc] = [free_port()?, free_port()?];
        let mut command = self.python("kserve", "python");
        command.arg("kserve_wine.py");
        command.args(["--http_port", &port.to_string()]);
        command.args(["--grpc_port", &grpc.to_string()]);
        let server = start(&mut command, port, "/v2/models/wine/ready")?;
        Ok(server.with_grpc(grpc))
    }

    /// A program of this environment, with our scripts to import.
    fn python(&self, environment: &str, program: &str) -> Command {
        let program = self
            .environments
            .join(environment)
            .join("bin")
            .join(program);
        let mut command = Command::new(program);
        command
            .current_dir(self.sources())
            .env("PYTHONPATH", self.sources())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("OMP_NUM_THREADS", "1")
            .env("WINE_MODEL", self.root.join("examples/wine/1/model.onnx"))
            .env(
                "WINE_FEATURES",
                self.root.join("guest-models/wine/src/features.rs"),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn sources(&self) -> PathBuf {
        self.root.join("host/cli/benches/peers")
    }
}

/// Start on cpu 0, and wait until this path is answered with 200.
fn start(command: &mut Command, port: u16, path: &str) -> Result<Server> {
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

/// One that was free a moment ago: these servers do not tell which they got.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
