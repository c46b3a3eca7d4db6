//! Tests with many connections: idle ones cost little memory, and connections that come and go, or that never send
//! anything, keep nobody out.

use super::floods::victim_is_well;
use super::footprint::{Footprint, resident_bytes};
use super::serve::{Serve, serve};
use crate::harness::{Repository, TIMEOUT, scale, wait_until};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;

/// The number of idle connections, and that of connections that come and go at scale 1.
const IDLE: usize = 500;
const FLEETING: usize = 2000;
const MAX_FLEETING: usize = 10_000;

/// The maximum growth of memory for each idle connection, of a program that is not optimized.
const MAX_BYTES_EACH: u64 = 64 << 10;

/// The growth of memory that the allocator may keep in any case.
const RESERVE: u64 = 16 << 20;

const LIVE: &[u8] = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

fn start(repository: &Repository) -> Result<Serve> {
    let mut command = serve(repository.path());
    command.args(["--max-connections", "1000"]);
    let server = Serve::spawn(command)?;
    victim_is_well(&server)?;
    Ok(server)
}

#[test]
fn idle_connections_cost_little_memory_and_keep_nobody_out() -> Result<()> {
    let repository = Repository::of(&["wine"])?;
    let server = start(&repository)?;
    let at_rest = Footprint::of(server.id())?;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(LIVE)?;
        let mut reply = [0; 12];
        stream.read_exact(&mut reply)?;
        ensure!(reply == *b"HTTP/1.1 200", "{reply:?}");
        idle.push(stream);
    }
    victim_is_well(&server)?;
    let growth = resident_bytes(server.id())?.saturating_sub(at_rest.memory);
    let limit = RESERVE + MAX_BYTES_EACH * u64::try_from(IDLE)?;
    ensure!(growth < limit, "{} KiB more", growth >> 10);
    drop(idle);
    victim_is_well(&server)?;
    at_rest.wait_for(server.id())
}

#[test]
fn connections_that_come_and_go_or_stay_silent_keep_nobody_out() -> Result<()> {
    let repository = Repository::of(&["wine"])?;
    let server = start(&repository)?;
    let at_rest = Footprint::of(server.id())?;
    let mut silent = Vec::new();
    // Each of them occupies a port of this machine for a while.
    for number in 0..(FLEETING * scale()).min(MAX_FLEETING) {
        let mut stream =
            TcpStream::connect(server.address()).with_context(|| format!("connection {number}"))?;
        match number % 8 {
            // A part of a head, of a handshake of TLS, and of the preface of HTTP/2.
            0 => drop(stream.write_all(b"GET / HTT")),
            1 => drop(stream.write_all(b"\x16\x03\x01\x02\x00\x01")),
            2 => drop(stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n")),
            3 => drop(stream.write_all(LIVE)),
            // Some stay open without a byte.
            4 if silent.len() < 200 => silent.push(stream),
            _ => {}
        }
        if number % 500 == 0 {
            victim_is_well(&server).with_context(|| format!("after {number} connections"))?;
        }
    }
    wait_until("others are answered", || victim_is_well(&server).is_ok())?;
    let growth = resident_bytes(server.id())?.saturating_sub(at_rest.memory);
    let limit = RESERVE + MAX_BYTES_EACH * 1000;
    ensure!(growth < limit, "{} KiB more", growth >> 10);
    drop(silent);
    at_rest.wait_for(server.id())
}
