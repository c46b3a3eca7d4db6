//! A server in a separate process on cpu 0, and the resources that it used according to the kernel.

use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running server. Killed on drop.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// The address for gRPC, if it differs from `address`.
    grpc: Option<SocketAddr>,
    /// The address of the metrics, if it is known.
    pub(crate) metrics: Option<SocketAddr>,
}

/// Pins the calling process to one cpu. Does nothing if there is only one cpu, or no `taskset`.
pub(crate) fn pin(cpu: usize) {
    let process = std::process::id().to_string();
    let _ = Command::new("taskset")
        .args(["--cpu-list", "--pid", &cpu.to_string(), &process])
        .stdout(Stdio::null())
        .status();
}

/// Starts a process on cpu 0, and keeps the calling process on cpu 1.
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    // Child processes inherit the affinity of their parent.
    pin(0);
    // Only one server at a time can have the default port.
    let child = command
        .env("WISP_METRICS", "none")
        .spawn()
        .with_context(|| format!("{command:?}"));
    pin(1);
    child
}

impl Server {
    /// Starts the server on cpu 0, and waits until it prints `http://ADDRESS`.
    pub(crate) fn start(program: &Path, args: &[&OsStr]) -> Result<Server> {
        let mut command = Command::new(program);
        command.args(args).stdout(Stdio::piped());
        let mut child = spawn(command.stderr(Stdio::null()))?;
        let stdout = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.split("http://").nth(1).context("no address")?;
        let address = address.split_whitespace().next().unwrap_or_default();
        let address = address.trim_end_matches(':');
        let address = address.parse().with_context(|| line.clone())?;
        Ok(Server::new(child, address))
    }

    pub(crate) fn new(child: Child, address: SocketAddr) -> Server {
        Server {
            child,
            address,
            grpc: None,
            metrics: None,
        }
    }

    /// Returns the same server, with gRPC on a separate port.
    pub(crate) fn with_grpc(mut self, port: u16) -> Server {
        self.grpc = Some(SocketAddr::new(self.address.ip(), port));
        self
    }

    /// Returns the address for gRPC.
    pub(crate) fn grpc_address(&self) -> SocketAddr {
        self.grpc.unwrap_or(self.address)
    }

    /// Returns the exit status, if the process has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Returns the user and system time so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit(") ").next().context("no fields")?;
        let fields: Vec<&str> = after_name.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        // Linux reports 100 ticks per second on all common configurations.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Returns the proportional set size in bytes.
    pub(crate) fn proportional_memory(&self) -> Result<f64> {
        self.memory("smaps_rollup", "Pss:")
    }

    /// Returns the resident memory in bytes.
    pub(crate) fn resident_memory(&self) -> Result<f64> {
        self.memory("status", "VmRSS:")
    }

    /// Returns the highest resident memory so far in bytes.
    pub(crate) fn peak_memory(&self) -> Result<f64> {
        self.memory("status", "VmHWM:")
    }

    /// Returns a size in bytes from a file of the kernel about the process.
    fn memory(&self, file: &str, field: &str) -> Result<f64> {
        let sizes = std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let line = sizes.lines().find(|line| line.starts_with(field));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        let kilobytes = kilobytes.with_context(|| format!("no {field}"))?;
        Ok(kilobytes.parse::<f64>()? * 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
