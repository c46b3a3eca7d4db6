//! A request over a connection of its own, whose response is read as a text.

use crate::request;
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The time limit of each read, longer than any of the server's.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request and returns the body of its response, if that has status 200.
pub(crate) fn fetch(address: SocketAddr, request: &[u8]) -> Result<String> {
    let request = request::with_header(request, "connection: close");
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&request)?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").context("no response")?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "{head}: {body}");
    Ok(body.to_owned())
}
