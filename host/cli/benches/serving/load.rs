//! A load generator: back-to-back requests over persistent connections, on the calling thread.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request that is sent repeatedly.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// The bytes of a request over HTTP/1.1.
    Http(Vec<u8>),
    /// A request over HTTP/2: the path of the method, and the framed message.
    Grpc { path: String, frame: Bytes },
}

/// The results of one measurement.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    /// The latency of each request, in ascending order.
    latencies: Vec<Duration>,
    /// The computation time of each request in microseconds, if the server reports it.
    computations: Vec<f64>,
}

/// A connection that is ready for requests.
enum Connection {
    Http {
        stream: TcpStream,
        /// The last response, which may be followed by other bytes.
        buffer: Vec<u8>,
        /// The length of the response's head.
        head: usize,
    },
    Grpc {
        sender: http2::SendRequest<Full<Bytes>>,
        authority: SocketAddr,
    },
}

/// Keeps `connections` busy with requests for `time`, and checks that each request succeeds.
#[expect(clippy::disallowed_methods, reason = "each is awaited below")]
pub(crate) fn run(
    address: SocketAddr,
    request: &Request,
    connections: usize,
    time: Duration,
) -> Result<Done> {
    runtime()?.block_on(async {
        let started = Instant::now();
        let clients = (0..connections).map(|_| client(address, request.clone(), started + time));
        let clients: Vec<_> = clients.map(tokio::spawn).collect();
        let (mut latencies, mut computations) = (Vec::new(), Vec::new());
        for client in clients {
            let (latency, computation) = client.await??;
            latencies.extend(latency);
            computations.extend(computation);
        }
        let elapsed = started.elapsed().as_secs_f64();
        latencies.sort_unstable();
        let requests = latencies.len() as f64;
        Ok(Done {
            requests,
            per_second: requests / elapsed,
            latencies,
            computations,
        })
    })
}

/// Sends one request on a new connection.
pub(crate) fn once(address: SocketAddr, request: &Request) -> Result<()> {
    runtime()?.block_on(async {
        let mut connection = Connection::open(address, request).await?;
        connection.exchange(request).await
    })
}

/// Returns the median of the values, or NaN if there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Sends requests one after the other until `end`. Returns their latencies and computation times.
async fn client(
    address: SocketAddr,
    request: Request,
    end: Instant,
) -> Result<(Vec<Duration>, Vec<f64>)> {
    let mut connection = Connection::open(address, &request).await?;
    let (mut latencies, mut computations) = (Vec::new(), Vec::new());
    let mut sent = Instant::now();
    while sent < end {
        connection.exchange(&request).await?;
        latencies.push(sent.elapsed());
        computations.extend(connection.computation());
        sent = Instant::now();
    }
    Ok((latencies, computations))
}

// === impl Request ===

impl Request {
    /// Returns a POST request with a JSON body.
    pub(crate) fn json(path: &str, body: &str) -> Request {
        Request::post(path, "content-type: application/json\r\n", body.as_bytes())
    }

    pub(crate) fn get(path: &str) -> Request {
        Request::Http(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes())
    }

    /// Returns a POST request with a body and these header lines.
    pub(crate) fn post(path: &str, headers: &str, body: &[u8]) -> Request {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n"
        );
        Request::Http([head.as_bytes(), body].concat())
    }
}

// === impl Done ===

impl Done {
    /// Returns the latency that this share of the requests did not exceed, in microseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in the list"
    )]
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let place = (self.requests * share) as usize;
        let last = self.latencies.last();
        let latency = self.latencies.get(place).or(last);
        latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    }

    /// Returns the median computation time in microseconds, or NaN if the server does not report it.
    pub(crate) fn computation(&self) -> f64 {
        median(self.computations.clone())
    }
}

// === impl Connection ===

impl Connection {
    async fn open(address: SocketAddr, request: &Request) -> Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(match request {
            Request::Http(_) => Connection::Http {
                stream,
                buffer: vec![0; 16 << 10],
                head: 0,
            },
            Request::Grpc { .. } => {
                let io = TokioIo::new(stream);
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                #[expect(clippy::disallowed_methods, reason = "it ends with its sender")]
                tokio::spawn(connection);
                Connection::Grpc {
                    sender,
                    authority: address,
                }
            }
        })
    }

    async fn exchange(&mut self, request: &Request) -> Result<()> {
        match (self, request) {
            (
                Connection::Http {
                    stream,
                    buffer,
                    head,
                },
                Request::Http(request),
            ) => {
                *head = exchange_http(stream, request, buffer).await?;
                Ok(())
            }
            (Connection::Grpc { sender, authority }, Request::Grpc { path, frame }) => {
                let request = hyper::Request::post(format!("http://{authority}{path}"))
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(Full::new(frame.clone()))?;
                let answer = sender.send_request(request).await?;
                let (head, body) = answer.into_parts();
                let body = body.collect().await?;
                let trailers = body.trailers().unwrap_or(&head.headers);
                let status = trailers.get("grpc-status");
                ensure!(
                    status.is_some_and(|status| status == "0"),
                    "{head:?} {trailers:?}"
                );
                Ok(())
            }
            _ => anyhow::bail!("a connection for other requests"),
        }
    }

    /// Returns the duration of the phase `compute` in the last response's `Server-Timing`, in
    /// microseconds.
    fn computation(&self) -> Option<f64> {
        let Connection::Http { buffer, head, .. } = self else {
            return None;
        };
        let head = std::str::from_utf8(&buffer[..*head]).ok()?;
        let mut lines = head.lines();
        let phases = lines.find_map(|line| line.strip_prefix("server-timing: "))?;
        let mut phases = phases.split(", ");
        let milliseconds = phases.find_map(|phase| phase.strip_prefix("compute;dur="))?;
        Some(milliseconds.parse::<f64>().ok()? * 1e3)
    }
}

/// Sends a request and reads the response into the buffer. Returns the length of the response's head.
async fn exchange_http(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<usize> {
    const END: &[u8] = b"\r\n\r\n";
    stream.write_all(request).await?;
    let mut filled = 0;
    let (head, whole) = loop {
        filled += read(stream, &mut buffer[filled..]).await?;
        let reply = &buffer[..filled];
        let Some(end) = reply.windows(END.len()).position(|bytes| bytes == END) else {
            continue;
        };
        let head = std::str::from_utf8(&reply[..end])?;
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.context("no length")?.1.parse()?;
        break (end, end + END.len() + length);
    };
    if buffer.len() < whole {
        buffer.resize(whole, 0);
    }
    while filled < whole {
        filled += read(stream, &mut buffer[filled..]).await?;
    }
    let reply = &buffer[..filled];
    ensure!(
        reply.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(reply)
    );
    Ok(head)
}

/// Reads at least one byte.
async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
    let read = stream.read(buffer).await?;
    ensure!(read > 0, "the connection was closed");
    Ok(read)
}
