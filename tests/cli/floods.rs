//! Tests with floods of handwritten HTTP/2 frames: the connection ends or costs little, and other
//! clients are not affected.
//!
//! The server is a separate process, so that its memory can be measured apart from the tests', and
//! admits four requests at once: permits that are not returned after a stream reset would be missed at
//! once.

use super::serve::{Serve, serve};
use crate::harness::{Repository, Response, scale};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

/// The time limit for waiting, after which a test has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of repetitions of a flood, at scale 1.
const REPEATS: usize = 20_000;

/// The maximum growth of memory after a flood, including the allocator's reserves.
const MAX_GROWTH: u64 = 48 << 20;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types, and flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0x7f;
const NONE: u8 = 0;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const BOTH: u8 = 5;
const PADDED: u8 = 8;

const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

/// The expected state of the connection after a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The server closes the connection.
    Ends,
    /// The server may keep the connection open.
    Open,
}

/// A flood: initial frames, followed by repeated frames for one stream after another.
struct Flood {
    name: &'static str,
    settings: Vec<u8>,
    first: Vec<u8>,
    repeat: Box<dyn Fn(u32) -> Vec<u8>>,
    fate: Fate,
}

/// A connection whose incoming frames are read on another thread.
struct Client {
    stream: TcpStream,
    /// The error code of a GOAWAY frame; disconnected when the connection is closed.
    goaway: Receiver<u32>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// Returns a header block of literals without indexing.
fn block(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
    ];
    let mut block = Vec::new();
    for (name, value) in pseudo.iter().chain(more) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

fn live() -> Vec<u8> {
    block("GET", "/v2/health/live", &[])
}

fn infer() -> Vec<u8> {
    block(
        "POST",
        "/v2/models/wine/infer",
        &[("content-type", "application/json")],
    )
}

fn wine() -> Vec<u8> {
    let request = json!({ "inputs": [{
        "name": "features", "datatype": "FP32", "shape": [1, 13],
        "data": [12.37, 0.94, 1.36, 10.6, 88.0, 1.98, 0.57, 0.28, 0.42, 1.95, 1.05, 1.82, 520.0],
    }] });
    request.to_string().into_bytes()
}

impl Client {
    fn open(server: &Serve, settings: &[u8]) -> Result<Client> {
        let mut stream = TcpStream::connect(&server.address)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&[PREFACE, &frame(SETTINGS, NONE, 0, settings)].concat())?;
        let (said, goaway) = channel();
        let mut reading = stream.try_clone()?;
        std::thread::spawn(move || {
            let mut head = [0; 9];
            while reading.read_exact(&mut head).is_ok() {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                if reading.read_exact(&mut payload).is_err() {
                    return;
                }
                if let (GOAWAY, [_, _, _, _, code @ ..]) = (head[3], &payload[..]) {
                    let code = code
                        .first_chunk()
                        .map_or(u32::MAX, |code| u32::from_be_bytes(*code));
                    let _ = said.send(code);
                }
            }
        });
        Ok(Client { stream, goaway })
    }

    /// Returns whether the server has closed the connection or has sent GOAWAY.
    fn is_ended(&self) -> bool {
        !matches!(self.goaway.try_recv(), Err(TryRecvError::Empty))
    }

    /// Sends the frames of a flood until all are sent or the connection is closed.
    fn flood(&mut self, flood: &Flood, repeats: usize) -> bool {
        if self.stream.write_all(&flood.first).is_err() {
            return true;
        }
        let mut stream = 1;
        for _ in 0..repeats / 100 {
            let mut frames = Vec::new();
            for _ in 0..100 {
                frames.extend((flood.repeat)(stream));
                stream += 2;
            }
            if self.is_ended() || self.stream.write_all(&frames).is_err() {
                return true;
            }
        }
        false
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The reader thread holds the socket too.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn floods() -> Vec<Flood> {
    let flood = |name, fate, first: Vec<u8>, repeat: Box<dyn Fn(u32) -> Vec<u8>>| Flood {
        name,
        settings: Vec::new(),
        first,
        repeat,
        fate,
    };
    let open = |stream: u32| frame(HEADERS, END_HEADERS, stream, &infer());
    let on_one =
        |kind: u8, flags: u8, stream: u32, payload: &'static [u8]| -> Box<dyn Fn(u32) -> Vec<u8>> {
            Box::new(move |_| frame(kind, flags, stream, payload))
        };
    vec![
        // Rapid reset, and streams that the server must reset ("MadeYouReset").
        flood(
            "rapid reset of GET",
            Fate::Ends,
            vec![],
            Box::new(|id| {
                [
                    frame(HEADERS, BOTH, id, &live()),
                    frame(RESET, NONE, id, &CANCEL),
                ]
                .concat()
            }),
        ),
        flood(
            "rapid reset of inferences",
            Fate::Ends,
            vec![],
            Box::new(move |id| {
                let data = frame(DATA, END_STREAM, id, &wine());
                [open(id), data, frame(RESET, NONE, id, &CANCEL)].concat()
            }),
        ),
        flood(
            "empty window updates",
            Fate::Ends,
            vec![],
            Box::new(move |id| [open(id), frame(WINDOW, NONE, id, &[0; 4])].concat()),
        ),
        flood(
            "window overflows",
            Fate::Ends,
            vec![],
            Box::new(move |id| {
                [open(id), frame(WINDOW, NONE, id, &[0x7f, 0xff, 0xff, 0xff])].concat()
            }),
        ),
        flood(
            "data after the end",
            Fate::Ends,
            vec![],
            Box::new(|id| {
                [
                    frame(HEADERS, BOTH, id, &live()),
                    frame(DATA, NONE, id, b"x"),
                ]
                .concat()
            }),
        ),
        flood(
            "streams that depend on themselves",
            Fate::Ends,
            vec![],
            Box::new(move |id| {
                let payload = [&id.to_be_bytes()[..], &[1]].concat();
                [open(id), frame(PRIORITY, NONE, id, &payload)].concat()
            }),
        ),
        flood(
            "bodies longer than declared",
            Fate::Ends,
            vec![],
            Box::new(|id| {
                let head = block("POST", "/v2/models/wine/infer", &[("content-length", "1")]);
                let head = frame(HEADERS, END_HEADERS, id, &head);
                [head, frame(DATA, END_STREAM, id, b"xxxx")].concat()
            }),
        ),
        flood(
            "heads with forbidden headers",
            Fate::Open,
            vec![],
            Box::new(|id| {
                let head = block("GET", "/v2/health/live", &[("connection", "x")]);
                frame(HEADERS, BOTH, id, &head)
            }),
        ),
        // Headers and bodies that never end.
        flood(
            "continuations",
            Fate::Ends,
            frame(HEADERS, NONE, 1, &live()),
            on_one(CONTINUATION, NONE, 1, b"\0\x05aaaaa\x05bbbbb"),
        ),
        flood(
            "empty continuations",
            Fate::Ends,
            frame(HEADERS, NONE, 1, &live()),
            on_one(CONTINUATION, NONE, 1, b""),
        ),
        flood(
            "empty data",
            Fate::Ends,
            open(1),
            on_one(DATA, NONE, 1, b""),
        ),
        flood(
            "nothing but padding",
            Fate::Open,
            open(1),
            on_one(DATA, PADDED, 1, b"\x01\0"),
        ),
        flood(
            "single bytes",
            Fate::Open,
            open(1),
            on_one(DATA, NONE, 1, b" "),
        ),
        // Frames that require a response, or that have no effect.
        flood(
            "settings",
            Fate::Open,
            vec![],
            on_one(SETTINGS, NONE, 0, b"\0\x04\0\0\xff\xff"),
        ),
        flood(
            "pings",
            Fate::Open,
            vec![],
            on_one(PING, NONE, 0, b"12345678"),
        ),
        flood(
            "priorities",
            Fate::Open,
            vec![],
            on_one(PRIORITY, NONE, 5, b"\0\0\0\x03\x01"),
        ),
        flood(
            "window updates",
            Fate::Open,
            vec![],
            on_one(WINDOW, NONE, 0, b"\0\0\0\x01"),
        ),
        flood(
            "unknown frames",
            Fate::Open,
            vec![],
            on_one(UNKNOWN, NONE, 0, b"0123456789"),
        ),
        // Responses that the client does not read, on the maximum number of streams.
        Flood {
            name: "no window for answers",
            settings: b"\0\x04\0\0\0\0".to_vec(),
            first: Vec::new(),
            repeat: Box::new(|id| match id {
                ..256 => frame(
                    HEADERS,
                    BOTH,
                    id,
                    &block("GET", "/docs/swagger-ui-bundle.js", &[]),
                ),
                _ => frame(PING, NONE, 0, b"12345678"),
            }),
            fate: Fate::Open,
        },
    ]
}

/// Returns the resident memory of a process, in bytes.
pub(super) fn resident_bytes(process: u32) -> Result<u64> {
    let status =
        std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.trim().split(' ').next())
        .context("no VmRSS")?;
    Ok(kib.parse::<u64>()? << 10)
}

/// Classifies a wine on a new connection.
fn victim_is_well(server: &Serve) -> Result<()> {
    let mut stream = TcpStream::connect(&server.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let body = wine();
    write!(
        stream,
        "POST /v2/models/wine/infer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)?.ok()?;
    Ok(())
}

#[test]
fn a_flood_of_frames_ends_its_connection_or_costs_little_and_nobody_else_notices() -> Result<()> {
    let repository = Repository::of(&["wine"])?;
    let mut command = serve(repository.path());
    command.args(["--max-concurrent-requests", "4"]);
    let server = Serve::spawn(command)?;
    victim_is_well(&server)?;
    for flood in floods() {
        let before = resident_bytes(server.child.id())?;
        let mut client = Client::open(&server, &flood.settings)?;
        let mut ended = client.flood(&flood, REPEATS * scale());
        if flood.fate == Fate::Ends && !ended {
            ended = client.goaway.recv_timeout(PATIENCE)
                != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        }
        ensure!(
            ended || flood.fate == Fate::Open,
            "{}: it goes on",
            flood.name
        );
        let during = resident_bytes(server.child.id())?;
        drop(client);
        // The server cancels requests of a closed connection when it notices the close.
        let gone = Instant::now();
        while let Err(error) = victim_is_well(&server) {
            ensure!(gone.elapsed() < PATIENCE, "{}: {error}", flood.name);
            std::thread::yield_now();
        }
        let growth = during.saturating_sub(before);
        ensure!(
            growth < MAX_GROWTH,
            "{}: {} MiB more",
            flood.name,
            growth >> 20
        );
    }
    Ok(())
}
