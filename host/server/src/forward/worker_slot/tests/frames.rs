//! Tests of what a worker that follows no rules can make its server hold. The worker writes and reads raw frames.

use super::super::{MAX_SENT_BYTES, STREAM_WINDOW, connect};
use crate::drain::Drain;
use crate::forward::ForwardedRequestBody;
use anyhow::{Context, Result, bail, ensure};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};

/// The types of frames (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

/// The flag that acknowledges settings or a ping.
const ACK: u8 = 1;

/// The flag of a head in one frame.
const END_HEADERS: u8 = 4;

/// The bytes before the first frame of a client.
const PREFACE_BYTES: usize = 24;

/// The rounds of the runtime in which a transfer goes on unless it has stopped.
const ROUNDS: usize = 10_000;

/// The requests that a client has sent.
type Requests = mpsc::UnboundedReceiver<Request<Incoming>>;

/// A worker that has just begun, in this process.
struct RawWorker {
    /// The end of the server.
    server: std::os::unix::net::UnixStream,
    socket: UnixStream,
}

impl RawWorker {
    /// Returns a worker that is ready.
    async fn new() -> Result<RawWorker> {
        let (server, socket) = std::os::unix::net::UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let mut socket = UnixStream::from_std(socket)?;
        socket.write_all(b"\n").await?;
        Ok(RawWorker { server, socket })
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames of tests are short");
    let [_, length @ ..] = length.to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[..], &[kind, flags], &stream, payload].concat()
}

/// Reads a frame, and returns its type, its flags and its stream.
async fn read_frame(socket: &mut UnixStream) -> io::Result<(u8, u8, u32)> {
    let mut head = [0_u8; 9];
    socket.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let length = u32::from_be_bytes([0, a, b, c]);
    let length = usize::try_from(length).map_err(io::Error::other)?;
    socket.read_exact(&mut vec![0; length]).await?;
    Ok((kind, flags, u32::from_be_bytes(stream)))
}

/// Returns the requests that a client sends on a connection, which has to be polled for their bodies.
fn requests(
    client: DuplexStream,
) -> (
    Requests,
    impl Future<Output = Result<(), hyper::Error>> + Send + 'static,
) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Incoming>| {
        let sent = sender.send(request);
        async move {
            drop(sent);
            pending::<Result<Response<String>, Infallible>>().await
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(client), service);
    (receiver, connection)
}

/// Returns a request without a body, as it is passed on.
async fn request_without_body() -> Result<Request<ForwardedRequestBody>> {
    let (mut client, server) = duplex(1024);
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await?;
    let (mut requests, connection) = requests(server);
    let request = tokio::select! {
        request = requests.recv() => request.context("no request")?,
        ended = connection => bail!("the connection has ended: {ended:?}"),
    };
    let drain = Drain::new().watch();
    let body = ForwardedRequestBody::new(request.into_body(), drain, None);
    Ok(Request::post("http://localhost/").body(body)?)
}

/// Answers two requests in frames of one byte, as many as the windows of their bodies allow, and returns whether the server
/// still answers a ping. With what they cost beside their bytes, they are more than the server may buffer.
async fn flood(mut socket: UnixStream) -> Result<bool> {
    socket.read_exact(&mut [0; PREFACE_BYTES]).await?;
    for flags in [0, ACK] {
        socket.write_all(&frame(SETTINGS, flags, 0, b"")).await?;
    }
    let (mut streams, mut is_window_open) = (Vec::new(), false);
    while streams.len() < 2 || !is_window_open {
        match read_frame(&mut socket).await? {
            (HEADERS, _, stream) => streams.push(stream),
            (WINDOW_UPDATE, _, 0) => is_window_open = true,
            _ => {}
        }
    }
    let mut bytes = Vec::new();
    for stream in &streams {
        // The status 200.
        bytes.extend(frame(HEADERS, END_HEADERS, *stream, &[0x88]));
    }
    for stream in &streams {
        let tiny = frame(DATA, 0, *stream, b"x");
        bytes.extend(tiny.repeat(usize::try_from(STREAM_WINDOW)?));
    }
    bytes.extend(frame(PING, 0, 0, &[0; 8]));
    if socket.write_all(&bytes).await.is_err() {
        return Ok(false);
    }
    loop {
        match read_frame(&mut socket).await {
            Ok((PING, ACK, _)) => return Ok(true),
            Ok(_) => {}
            Err(_) => return Ok(false),
        }
    }
}

#[tokio::test]
async fn a_worker_that_answers_in_tiny_frames_that_nobody_reads_loses_its_connection() -> Result<()>
{
    let RawWorker { server, socket } = RawWorker::new().await?;
    let (mut sender, connection) = connect(server).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let first = sender.send_request(request_without_body().await?);
    let second = sender.send_request(request_without_body().await?);
    // Nobody reads the bodies of the responses, which live until the end of the test.
    let (first, second, answers_pings) = tokio::join!(first, second, flood(socket));
    ensure!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    ensure!(!answers_pings?, "all frames were buffered");
    Ok(())
}

#[tokio::test]
async fn a_worker_that_takes_no_body_makes_its_server_hold_little_of_it() -> Result<()> {
    let RawWorker { server, mut socket } = RawWorker::new().await?;
    socket2::SockRef::from(&server).set_send_buffer_size(16 << 10)?;
    let (mut sender, connection) = connect(server).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { drop(connection.await) });
    // The largest windows: the setting of streams, and an update of the connection's.
    let largest = (u32::MAX >> 1).to_be_bytes();
    let setting = [&[0, 4][..], &largest].concat();
    let update = ((u32::MAX >> 1) - 65_535).to_be_bytes();
    for frame in [
        frame(SETTINGS, 0, 0, &setting),
        frame(WINDOW_UPDATE, 0, 0, &update),
    ] {
        socket.write_all(&frame).await?;
    }
    let (mut client, server) = duplex(16 << 10);
    let (mut requests, connection) = requests(server);
    tasks.spawn(async move { drop(connection.await) });
    tasks.spawn(async move {
        let head = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 16777216\r\n\r\n";
        let mut written = client.write_all(head).await;
        while written.is_ok() {
            written = client.write_all(&[0; 16 << 10]).await;
        }
    });
    let request = requests.recv().await.context("no request")?;
    // The frames of the worker have arrived by then.
    socket.read_exact(&mut [0; PREFACE_BYTES]).await?;
    while read_frame(&mut socket).await? != (SETTINGS, ACK, 0) {}
    let drain = Drain::new();
    let body = ForwardedRequestBody::new(request.into_body(), drain.watch(), None);
    let progress = body.progress();
    let request = Request::post("http://localhost/").body(body)?;
    let _response = sender.send_request(request);
    let (mut passed_on, mut rounds) = (0, 0);
    while rounds < ROUNDS {
        yield_now().await;
        let now = progress.received_bytes();
        rounds = if now == passed_on { rounds + 1 } else { 0 };
        passed_on = now;
    }
    let most = u64::try_from(2 * MAX_SENT_BYTES)?;
    ensure!(passed_on > 0 && passed_on < most, "{passed_on}");
    Ok(())
}
