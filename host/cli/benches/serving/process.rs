//! A server as a process of its own, on cpu 0, and what the kernel says it used.

use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running server; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where gRPC is, if not there too.
    grpc: Option<SocketAddr>,
}

/// Keep the calling process on one cpu. Where there is only one, or no `taskset`, so be it.
pub(crate) fn pin(cpu: usize) {
    let process = std::process::id().to_string();
    let _ = Command::new("taskset")
        .args(["--cpu-list", "--pid", &cpu.to_string(), &process])
        .stdout(Stdio::null())
        .status();
}

/// Start a process on cpu 0, while the calling one stays on cpu 1.
pub(crate) fn spawn(command: &mut Command) -> Result<Child> {
    // Children inherit the affinity of whoever starts them.
    pin(0);
    let child = command.spawn().with_context(|| format!("{command:?}"));
    pin(1);
    child
}

impl Server {
    /// Start on cpu 0, and wait until it says `http://ADDRESS`.
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
        }
    }

    /// The same, which serves gRPC on a port of its own.
    pub(crate) fn with_grpc(mut self, port: u16) -> Server {
        self.grpc = Some(SocketAddr::new(self.address.ip(), port));
        self
    }

    /// Where a server takes gRPC.
    pub(crate) fn grpc_address(&self) -> SocketAddr {
        self.grpc.unwrap_or(self.address)
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// User and system time so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = stat.rsplit(") ").next().context("no fields")?;
        let fields: Vec<&str> = after_name.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        // 100 ticks a second on every Linux that is in use.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Proportional set size in bytes.
    pub(crate) fn proportional_memory(&self) -> Result<f64> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        let line = rollup.lines().find(|line| line.starts_with("Pss:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kilobytes.context("no Pss")?.parse::<f64>()? * 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
