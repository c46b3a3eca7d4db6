//! A process that serves a bundle, which is not part of Wisp and listens on a port that the OS assigns.
//!
//! The process reports the port on one of its streams. It ends when it is dropped, with the processes that it
//! has started itself.

use crate::harness::TIMEOUT;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

/// A process that serves.
#[derive(Debug)]
pub(super) struct ServerProcess {
    process: Child,
    /// Open as long as the process shall run.
    input: Option<ChildStdin>,
    /// The lines of both streams. Disconnected when no process has them any more.
    lines: Receiver<String>,
    address: SocketAddr,
}

impl ServerProcess {
    /// Starts the process. `port` finds the port in the line that reports it.
    pub(super) fn start(
        command: &mut Command,
        port: impl Fn(&str) -> Option<u16>,
    ) -> Result<ServerProcess> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to run {command:?}"))?;
        let (sender, lines) = channel();
        forward(process.stdout.take(), sender.clone());
        forward(process.stderr.take(), sender);
        let mut server = ServerProcess {
            input: process.stdin.take(),
            process,
            lines,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        let port = server.wait_for(port)?;
        server.address.set_port(port);
        Ok(server)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the line in which `find` finds a value.
    fn wait_for<T>(&self, find: impl Fn(&str) -> Option<T>) -> Result<T> {
        let end = Instant::now() + TIMEOUT;
        let mut seen = Vec::new();
        loop {
            match self
                .lines
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(line) => match find(&line) {
                    Some(found) => return Ok(found),
                    None => seen.push(line),
                },
                Err(_) => bail!("the process does not report its port:\n{}", seen.join("\n")),
            }
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Ends the processes that the process has started.
        self.input.take();
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let end = Instant::now() + TIMEOUT;
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => break,
            }
        }
    }
}

/// Sends the lines of a stream until its end.
fn forward(stream: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(stream) = stream else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if lines
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                break;
            }
        }
    });
}
