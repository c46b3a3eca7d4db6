//! Tests with floods of handwritten HTTP/2 frames: the connection ends or costs little, and other clients have the right
//! responses during the flood and after it.
//!
//! The server is a separate process, so that its memory can be measured apart from the tests', and
//! admits four requests at once: permits that are not returned after a stream reset would be missed at
//! once.

use super::footprint::{Footprint, resident_bytes};
use super::serve::{Serve, serve};
use crate::harness::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NONE, PADDED, PING,
    PREFACE, PRIORITY, RESET, SETTINGS, WINDOW_UPDATE, frame, header_block, read_frame,
};
use crate::harness::victim::{check_class, wine};
use crate::harness::{Repository, Response, TIMEOUT, scale, wait_until};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::scope;

/// The number of repetitions of a flood, at scale 1.
const REPEATS: usize = 20_000;

/// The maximum growth of memory after a flood, including the allocator's reserves.
const MAX_GROWTH: u64 = 48 << 20;

/// The most inferences that begin in a flood of resets, whatever its length.
const MAX_BEGUN: u64 = 1000;

/// A frame type that HTTP/2 does not define.
const UNKNOWN: u8 = 0x7f;

/// The flags of a request without a body.
const WHOLE: u8 = END_HEADERS | END_STREAM;

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

/// Returns the headers of a request without a body.
fn get(stream: u32, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let block = header_block("GET", path, headers);
    frame(HEADERS, WHOLE, stream, &block)
}

/// Returns the headers of an inference, whose body follows.
fn post(stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    let block = header_block("POST", "/v2/models/wine/infer", headers);
    frame(HEADERS, END_HEADERS, stream, &block)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RESET, NONE, stream, &CANCEL)
}

impl Flood {
    /// Returns a flood that ends its connection.
    fn ending(name: &'static str, repeat: impl Fn(u32) -> Vec<u8> + 'static) -> Flood {
        Flood {
            name,
            settings: Vec::new(),
            first: Vec::new(),
            repeat: Box::new(repeat),
            fate: Fate::Ends,
        }
    }

    /// Returns a flood that may go on.
    fn open_ended(name: &'static str, repeat: impl Fn(u32) -> Vec<u8> + 'static) -> Flood {
        Flood {
            fate: Fate::Open,
            ..Flood::ending(name, repeat)
        }
    }

    /// Returns the same flood after these frames.
    fn after(self, first: Vec<u8>) -> Flood {
        Flood { first, ..self }
    }
}

impl Client {
    fn open(server: &Serve, settings: &[u8]) -> Result<Client> {
        let mut stream = TcpStream::connect(&server.address)?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.write_all(&[PREFACE, &frame(SETTINGS, NONE, 0, settings)].concat())?;
        let (received, goaway) = channel();
        let mut reading = stream.try_clone()?;
        std::thread::spawn(move || {
            while let Ok((kind, payload)) = read_frame(&mut reading) {
                if let (GOAWAY, [_, _, _, _, code @ ..]) = (kind, &payload[..]) {
                    let code = code
                        .first_chunk()
                        .map_or(u32::MAX, |code| u32::from_be_bytes(*code));
                    let _ = received.send(code);
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
    [
        floods_of_streams(),
        floods_of_one_stream(),
        floods_of_other_frames(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns floods of streams that the client resets, or that the server has to reset ("MadeYouReset").
fn floods_of_streams() -> Vec<Flood> {
    const LIVE: &str = "/v2/health/live";
    let wine = wine().to_string().into_bytes();
    vec![
        Flood::ending("rapid reset of GET", |id| {
            [get(id, LIVE, &[]), reset(id)].concat()
        }),
        Flood::ending("rapid reset of inferences", move |id| {
            [post(id, &[]), frame(DATA, END_STREAM, id, &wine), reset(id)].concat()
        }),
        Flood::ending("empty window updates", |id| {
            [post(id, &[]), frame(WINDOW_UPDATE, NONE, id, &[0; 4])].concat()
        }),
        Flood::ending("window overflows", |id| {
            let most = 0x7fff_ffff_u32.to_be_bytes();
            [post(id, &[]), frame(WINDOW_UPDATE, NONE, id, &most)].concat()
        }),
        Flood::ending("data after the end", |id| {
            [get(id, LIVE, &[]), frame(DATA, NONE, id, b"x")].concat()
        }),
        Flood::ending("streams that depend on themselves", |id| {
            let payload = [&id.to_be_bytes()[..], &[1]].concat();
            [post(id, &[]), frame(PRIORITY, NONE, id, &payload)].concat()
        }),
        Flood::ending("bodies longer than declared", |id| {
            let head = post(id, &[("content-length", "1")]);
            [head, frame(DATA, END_STREAM, id, b"xxxx")].concat()
        }),
        Flood::open_ended("heads with forbidden headers", |id| {
            get(id, LIVE, &[("connection", "x")])
        }),
        // Responses that the client does not read, on the maximum number of streams.
        Flood {
            settings: b"\0\x04\0\0\0\0".to_vec(),
            ..Flood::open_ended("no window for responses", |id| match id {
                ..256 => get(id, "/docs/swagger-ui-bundle.js", &[]),
                _ => frame(PING, NONE, 0, b"12345678"),
            })
        },
    ]
}

/// Returns floods of headers or bodies that never end, on the first stream.
fn floods_of_one_stream() -> Vec<Flood> {
    let open = || post(1, &[]);
    let headers = || {
        let block = header_block("GET", "/v2/health/live", &[]);
        frame(HEADERS, NONE, 1, &block)
    };
    vec![
        Flood::ending("continuations", |_| {
            frame(CONTINUATION, NONE, 1, b"\0\x05aaaaa\x05bbbbb")
        })
        .after(headers()),
        Flood::ending("empty continuations", |_| frame(CONTINUATION, NONE, 1, b""))
            .after(headers()),
        Flood::ending("empty data", |_| frame(DATA, NONE, 1, b"")).after(open()),
        Flood::open_ended("nothing but padding", |_| frame(DATA, PADDED, 1, b"\x01\0"))
            .after(open()),
        Flood::open_ended("single bytes", |_| frame(DATA, NONE, 1, b" ")).after(open()),
    ]
}

/// Returns floods of frames that require a response, or that have no effect.
fn floods_of_other_frames() -> Vec<Flood> {
    let flood = |name, kind, stream, payload: &'static [u8]| {
        Flood::open_ended(name, move |_| frame(kind, NONE, stream, payload))
    };
    vec![
        flood("settings", SETTINGS, 0, b"\0\x04\0\0\xff\xff"),
        flood("pings", PING, 0, b"12345678"),
        flood("priorities", PRIORITY, 5, b"\0\0\0\x03\x01"),
        flood("window updates", WINDOW_UPDATE, 0, b"\0\0\0\x01"),
        flood("unknown frames", UNKNOWN, 0, b"0123456789"),
    ]
}

/// Asks for the class of a wine on a new connection.
fn classify(server: &Serve) -> Result<Response> {
    let mut stream = TcpStream::connect(&server.address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let body = wine().to_string().into_bytes();
    write!(
        stream,
        "POST /v2/models/wine/infer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    Response::parse(&reply)
}

/// Classifies a wine on a new connection, and checks the class.
pub(super) fn victim_is_well(server: &Serve) -> Result<()> {
    check_class(&classify(server)?)
}

/// Classifies wines until `over` is set, at least one. Each response is the right one, or a refusal if the flood is one of
/// inferences and has all permits. Returns the number of all, each of which has begun as an inference.
fn neighbor(server: &Serve, over: &AtomicBool) -> Result<usize> {
    let mut asked = 0;
    loop {
        let response = classify(server)?;
        match response.status {
            503 => drop(response.error(503)?),
            _ => check_class(&response)?,
        }
        asked += 1;
        if over.load(Relaxed) {
            return Ok(asked);
        }
    }
}

/// Returns the number of inferences of `wine` that have begun and ended, with and without success.
fn inferences(server: &Serve) -> Result<u64> {
    let statistics = server.get("/v2/models/wine/stats")?.ok()?;
    let counts = &statistics["model_stats"][0]["inference_stats"];
    let count = |outcome: &str| counts[outcome]["count"].as_u64().context("no count");
    Ok(count("success")? + count("fail")?)
}

/// Sends the frames of a flood while a neighbor asks. Returns whether the connection has ended, and the inferences of the
/// neighbor.
fn flood(server: &Serve, client: &mut Client, flood: &Flood) -> Result<(bool, usize)> {
    let over = AtomicBool::new(false);
    scope(|scope| {
        let neighbor = scope.spawn(|| neighbor(server, &over));
        let mut ended = client.flood(flood, REPEATS * scale());
        if flood.fate == Fate::Ends && !ended {
            ended = client.goaway.recv_timeout(TIMEOUT)
                != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        }
        over.store(true, Relaxed);
        let asked = neighbor.join().ok().context("the neighbor has panicked")?;
        Ok((ended, asked.context(flood.name)?))
    })
}

#[test]
fn a_flood_of_frames_ends_its_connection_or_costs_little_and_others_are_answered() -> Result<()> {
    let repository = Repository::of(&["wine"])?;
    let mut command = serve(repository.path());
    command.args(["--max-concurrent-requests", "4"]);
    let server = Serve::spawn(command)?;
    victim_is_well(&server)?;
    let at_rest = Footprint::of(server.id())?;
    for attack in floods() {
        let before = resident_bytes(server.id())?;
        let begun_before = inferences(&server)?;
        let mut client = Client::open(&server, &attack.settings)?;
        let (ended, asked) = flood(&server, &mut client, &attack)?;
        ensure!(
            ended || attack.fate == Fate::Open,
            "{}: the connection stays open",
            attack.name
        );
        let during = resident_bytes(server.id())?;
        drop(client);
        // The server cancels requests of a closed connection when it notices the close.
        wait_until(attack.name, || victim_is_well(&server).is_ok())?;
        let growth = during.saturating_sub(before);
        ensure!(
            growth < MAX_GROWTH,
            "{}: {} MiB more",
            attack.name,
            growth >> 20
        );
        // Of those that are reset at once, nearly none begins.
        let begun = inferences(&server)? - begun_before;
        let of_attack = begun.saturating_sub(u64::try_from(asked)?);
        ensure!(
            !attack.name.starts_with("rapid reset") || of_attack < MAX_BEGUN,
            "{}: {of_attack} inferences have begun",
            attack.name
        );
        at_rest.wait_for(server.id()).context(attack.name)?;
    }
    Ok(())
}
