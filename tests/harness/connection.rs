//! A persistent connection for tests of many requests: a new connection for each would exhaust the
//! ports.

use super::{Response, TIMEOUT};
use anyhow::{Context, Result};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A connection for sequential requests to one server.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a V2 inference request to a model.
    pub(crate) fn infer(&mut self, model: &str, request: &Value) -> Result<Response> {
        let body = serde_json::to_vec(request)?;
        let head = format!(
            "POST /v2/models/{model}/infer HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), &body].concat();
        self.stream.get_mut().write_all(&request)?;
        self.read()
    }

    fn read(&mut self) -> Result<Response> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let read = self.stream.read_until(b'\n', &mut head)?;
            anyhow::ensure!(read > 0, "the server closed the connection");
        }
        let mut response = Response::parse(&head)?;
        let length = response.header("content-length").context("no length")?;
        response.body = vec![0; length.parse()?];
        self.stream.read_exact(&mut response.body)?;
        Ok(response)
    }
}
