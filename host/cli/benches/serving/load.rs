//! Keep-alive connections that are never idle, on the calling thread.

use crate::CONNECTIONS;
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What was done in the time.
pub(crate) struct Done {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
}

/// Send requests for `time` and check that each is answered with 200.
#[expect(clippy::disallowed_methods, reason = "each is awaited below")]
pub(crate) fn run(address: SocketAddr, path: &str, body: &str, time: Duration) -> Result<Done> {
    let request = request(path, body);
    runtime()?.block_on(async {
        let started = Instant::now();
        let clients = (0..CONNECTIONS).map(|_| client(address, request.clone(), started + time));
        let clients: Vec<_> = clients.map(tokio::spawn).collect();
        let mut requests = 0.0;
        for client in clients {
            requests += client.await??;
        }
        let per_second = requests / started.elapsed().as_secs_f64();
        Ok(Done {
            requests,
            per_second,
        })
    })
}

/// Send one request on a new connection.
pub(crate) fn once(address: SocketAddr, path: &str, body: &str) -> Result<()> {
    let request = request(path, body);
    runtime()?.block_on(async {
        let mut stream = TcpStream::connect(address).await?;
        exchange(&mut stream, &request, &mut vec![0; 4096]).await
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

fn request(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

async fn client(address: SocketAddr, request: Vec<u8>, end: Instant) -> Result<f64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    let mut requests = 0.0;
    while Instant::now() < end {
        exchange(&mut stream, &request, &mut buffer).await?;
        requests += 1.0;
    }
    Ok(requests)
}

async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> Result<()> {
    stream.write_all(request).await?;
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        ensure!(read > 0, "the connection was closed");
        filled += read;
        let reply = std::str::from_utf8(&buffer[..filled])?;
        let Some((head, body)) = reply.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.context("no length")?.1.parse()?;
        if body.len() >= length {
            ensure!(head.starts_with("HTTP/1.1 200"), "{reply}");
            return Ok(());
        }
    }
}
