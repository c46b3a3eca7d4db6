//! The time from the first connection to the response, of a server that this connection starts.
//!
//! `systemd-socket-activate` listens, and becomes the server with the first connection. A unit of systemd takes
//! longer by the time in which systemd starts a process and sets up its sandbox.

use crate::load::{self, Request, median};
use crate::process::{self, Server};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{ChildStderr, Command, Stdio};
use std::time::Instant;

/// A program that listens, and becomes a server with the first connection.
struct Activator {
    server: Server,
    /// Open until the end, because the server writes to it.
    log: BufReader<ChildStderr>,
}

/// Measures the first request, and a second one on a new connection to the same server, for comparison.
pub(crate) fn measure(model: &Path, request: &Request, rounds: usize) -> Result<()> {
    let cache = tempfile::tempdir()?;
    // Compiles the handler, and selects the backend.
    Activator::start(model, cache.path())?.ask(request)?;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let activator = Activator::start(model, cache.path())?;
        first.push(activator.ask(request)?);
        second.push(activator.ask(request)?);
    }
    println!("| request | median, ms | p90, ms |\n|---|---|---|");
    for (name, times) in [
        ("the first, which starts the server", first),
        ("the second, on a new connection", second),
    ] {
        let tail = ninth_decile(times.clone());
        println!("| {name} | {:.2} | {tail:.2} |", median(times));
    }
    Ok(())
}

/// Returns the value that nine tenths of the values do not exceed, or NaN if there are none.
fn ninth_decile(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let position = (values.len() * 9).div_ceil(10);
    let value = values.get(position.saturating_sub(1));
    value.copied().unwrap_or(f64::NAN)
}

impl Activator {
    fn start(model: &Path, cache: &Path) -> Result<Activator> {
        // Free again when this returns.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new("systemd-socket-activate");
        command
            .args(["--listen", &address.to_string()])
            .args([env!("CARGO_BIN_EXE_wisp"), "serve", "--cache-dir"])
            .args([cache, model])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = process::spawn(&mut command);
        let mut child = child.context("this part needs systemd-socket-activate of systemd")?;
        let log = child.stderr.take().context("it is piped")?;
        let mut activator = Activator {
            server: Server::new(child, address),
            log: BufReader::new(log),
        };
        activator.expect_listening(address)?;
        Ok(activator)
    }

    fn expect_listening(&mut self, address: SocketAddr) -> Result<()> {
        let text = format!("Listening on {address}");
        let mut line = String::new();
        while !line.contains(&text) {
            line.clear();
            ensure!(self.log.read_line(&mut line)? > 0, "it does not listen");
        }
        Ok(())
    }

    /// Sends the request on a new connection, and returns the milliseconds until its response.
    fn ask(&self, request: &Request) -> Result<f64> {
        let connecting = Instant::now();
        load::once(self.server.address, request)?;
        Ok(connecting.elapsed().as_secs_f64() * 1e3)
    }
}
