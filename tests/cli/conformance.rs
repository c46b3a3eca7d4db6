//! Tests of what HTTP/2 requires of a server that receives invalid frames (RFC 9113), in the manner of h2spec.
//!
//! Each case is a connection with handwritten frames, and the section of the standard that requires an error of the
//! connection (GOAWAY or its end) or of the stream (RST_STREAM, or an error of the connection). A refused request may
//! also have a response with a status of the client's fault. After each case another client gets a response.

use super::floods::victim_is_well;
use super::serve::Serve;
use crate::harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NONE, PADDED, PING, PREFACE,
    PRIORITY, RESET, SETTINGS, WINDOW_UPDATE, frame, header_block, read_frame,
};
use crate::harness::{Repository, TIMEOUT};
use anyhow::{Context, Result, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

const PUSH_PROMISE: u8 = 5;
const ACK: u8 = 1;
const PRIORITY_FLAG: u8 = 0x20;

/// The flags of a request without a body.
const WHOLE: u8 = END_HEADERS | END_STREAM;

/// The payload of a ping that the server must answer, whatever is wrong before it.
const MARK: &[u8; 8] = b"the mark";

/// The reaction that the standard requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Required {
    /// An error of the connection.
    Connection,
    /// An error of stream 1, or of the connection.
    Stream,
    /// The frame is ignored or answered, and the connection goes on.
    Nothing,
}

/// The frames of the server up to the answer to a ping, or to the end.
#[derive(Debug, Default)]
struct Reaction {
    goaway: bool,
    /// The connection has ended.
    end: bool,
    reset: bool,
    /// A response with another status than those of success or of a fault of the server.
    refusal: bool,
    mark: bool,
}

type Case = (&'static str, Required, Vec<u8>);

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &live(&[]))
}

/// Returns the block of a request for the liveness.
fn live(headers: &[(&str, &str)]) -> Vec<u8> {
    header_block("GET", "/v2/health/live", headers)
}

/// Returns a block of these headers alone, without those that [`header_block`] adds.
fn bare(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// Returns a request with an open body.
fn post(headers: &[(&str, &str)]) -> Vec<u8> {
    let block = header_block("POST", "/v2/models/wine/infer", headers);
    frame(HEADERS, END_HEADERS, 1, &block)
}

/// Returns a setting.
fn setting(name: u16, value: u32) -> Vec<u8> {
    let payload = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(SETTINGS, NONE, 0, &payload)
}

fn cases_of_frames() -> Vec<Case> {
    use Required::{Connection, Nothing, Stream};
    let large = vec![0; 16_385];
    vec![
        (
            "4.1: a frame of an unknown type",
            Nothing,
            frame(0x16, NONE, 0, b"12345678"),
        ),
        (
            "4.1: undefined flags",
            Nothing,
            frame(PING, 0x16, 0, b"12345678"),
        ),
        (
            "4.2: DATA above the maximum",
            Connection,
            [post(&[]), frame(DATA, NONE, 1, &large)].concat(),
        ),
        (
            "4.2: HEADERS above the maximum",
            Connection,
            frame(HEADERS, END_HEADERS, 1, &large),
        ),
        (
            "4.3: a block that cannot be decoded",
            Connection,
            frame(HEADERS, WHOLE, 1, &[0x40]),
        ),
        (
            "4.3: a block that another frame interrupts",
            Connection,
            [
                frame(HEADERS, END_STREAM, 1, &live(&[])),
                frame(PING, NONE, 0, b"12345678"),
            ]
            .concat(),
        ),
        (
            "6.1: DATA on stream 0",
            Connection,
            frame(DATA, NONE, 0, b"x"),
        ),
        (
            "6.1: padding as long as DATA",
            Connection,
            [post(&[]), frame(DATA, PADDED, 1, b"\x02x")].concat(),
        ),
        (
            "6.2: HEADERS on stream 0",
            Connection,
            frame(HEADERS, WHOLE, 0, &live(&[])),
        ),
        (
            "6.2: padding longer than HEADERS",
            Connection,
            frame(HEADERS, WHOLE | PADDED, 1, b"\xff\x00"),
        ),
        (
            "6.3: PRIORITY on stream 0",
            Connection,
            frame(PRIORITY, NONE, 0, b"\0\0\0\x01\x01"),
        ),
        (
            "6.3: PRIORITY of four bytes",
            Stream,
            [post(&[]), frame(PRIORITY, NONE, 1, b"\0\0\0\x01")].concat(),
        ),
        (
            "6.4: RST_STREAM on stream 0",
            Connection,
            frame(RESET, NONE, 0, &[0; 4]),
        ),
        (
            "6.4: RST_STREAM on an idle stream",
            Connection,
            frame(RESET, NONE, 1, &[0; 4]),
        ),
        (
            "6.4: RST_STREAM of three bytes",
            Connection,
            [post(&[]), frame(RESET, NONE, 1, &[0; 3])].concat(),
        ),
        (
            "6.5: SETTINGS with an acknowledgement and content",
            Connection,
            frame(SETTINGS, ACK, 0, &[0; 6]),
        ),
        (
            "6.5: SETTINGS on a stream",
            Connection,
            frame(SETTINGS, NONE, 1, &[0; 6]),
        ),
        (
            "6.5: SETTINGS of five bytes",
            Connection,
            frame(SETTINGS, NONE, 0, &[0; 5]),
        ),
        (
            "6.5.2: SETTINGS_ENABLE_PUSH of 2",
            Connection,
            setting(2, 2),
        ),
        (
            "6.5.2: SETTINGS_INITIAL_WINDOW_SIZE above the maximum",
            Connection,
            setting(4, 1 << 31),
        ),
        (
            "6.5.2: SETTINGS_MAX_FRAME_SIZE below the minimum",
            Connection,
            setting(5, 16_383),
        ),
        (
            "6.5.2: SETTINGS_MAX_FRAME_SIZE above the maximum",
            Connection,
            setting(5, 1 << 24),
        ),
        ("6.5.2: an unknown setting", Nothing, setting(0xff, 1)),
        (
            "6.6: PUSH_PROMISE from a client",
            Connection,
            frame(
                PUSH_PROMISE,
                END_HEADERS,
                1,
                &[&[0_u8, 0, 0, 2][..], &live(&[])].concat(),
            ),
        ),
        (
            "6.7: PING on a stream",
            Connection,
            frame(PING, NONE, 1, b"12345678"),
        ),
        (
            "6.7: PING of six bytes",
            Connection,
            frame(PING, NONE, 0, b"123456"),
        ),
        (
            "6.8: GOAWAY on a stream",
            Connection,
            frame(GOAWAY, NONE, 1, &[0; 8]),
        ),
        (
            "6.9: WINDOW_UPDATE of 0 for the connection",
            Connection,
            frame(WINDOW_UPDATE, NONE, 0, &[0; 4]),
        ),
        (
            "6.9: WINDOW_UPDATE of 0 for a stream",
            Stream,
            [post(&[]), frame(WINDOW_UPDATE, NONE, 1, &[0; 4])].concat(),
        ),
        (
            "6.9: WINDOW_UPDATE of three bytes",
            Connection,
            frame(WINDOW_UPDATE, NONE, 0, &[0; 3]),
        ),
        (
            "6.9.1: a window above the maximum",
            Connection,
            frame(WINDOW_UPDATE, NONE, 0, &0x7fff_ffff_u32.to_be_bytes()),
        ),
        (
            "6.10: CONTINUATION without HEADERS",
            Connection,
            frame(CONTINUATION, END_HEADERS, 1, &live(&[])),
        ),
        (
            "6.10: CONTINUATION on another stream",
            Connection,
            [
                frame(HEADERS, END_STREAM, 1, &live(&[])),
                frame(CONTINUATION, END_HEADERS, 3, &[]),
            ]
            .concat(),
        ),
        (
            "6.10: CONTINUATION after the end of the block",
            Connection,
            [post(&[]), frame(CONTINUATION, END_HEADERS, 1, &[])].concat(),
        ),
    ]
}

fn cases_of_streams() -> Vec<Case> {
    use Required::{Connection, Nothing, Stream};
    let pseudo = |headers: &[(&str, &str)]| frame(HEADERS, WHOLE, 1, &bare(headers));
    let with = |header| frame(HEADERS, WHOLE, 1, &live(&[header]));
    vec![
        (
            "5.1: DATA on an idle stream",
            Connection,
            frame(DATA, END_STREAM, 1, b"x"),
        ),
        (
            "5.1: WINDOW_UPDATE on an idle stream",
            Connection,
            frame(WINDOW_UPDATE, NONE, 1, b"\0\0\0\x01"),
        ),
        (
            "5.1: DATA after the end of the request",
            Stream,
            [get(1), frame(DATA, NONE, 1, b"x")].concat(),
        ),
        (
            "5.1: HEADERS after the end of the request",
            Stream,
            [get(1), get(1)].concat(),
        ),
        (
            "5.1: PRIORITY on an idle stream",
            Nothing,
            frame(PRIORITY, NONE, 3, b"\0\0\0\0\x01"),
        ),
        ("5.1.1: a stream with an even number", Connection, get(2)),
        (
            "5.1.1: a stream with a lower number than before",
            Connection,
            [get(5), get(3)].concat(),
        ),
        ("5.3.1: a stream that depends on itself", Stream, {
            let block = [&[0_u8, 0, 0, 1, 0][..], &live(&[])].concat();
            frame(HEADERS, WHOLE | PRIORITY_FLAG, 1, &block)
        }),
        (
            "8.1: a second block without the end of the request",
            Stream,
            {
                let trailers = frame(HEADERS, END_HEADERS, 1, &bare(&[("x", "y")]));
                [post(&[]), trailers].concat()
            },
        ),
        ("8.2.1: a name in upper case", Stream, with(("X-Test", "x"))),
        (
            "8.2.2: the header connection",
            Stream,
            with(("connection", "keep-alive")),
        ),
        (
            "8.2.2: the header te with another value than trailers",
            Stream,
            with(("te", "gzip")),
        ),
        (
            "8.3: an unknown pseudo-header",
            Stream,
            with((":test", "x")),
        ),
        (
            "8.3: a pseudo-header of responses",
            Stream,
            with((":status", "200")),
        ),
        (
            "8.3: a pseudo-header after a header",
            Stream,
            pseudo(&[
                (":method", "GET"),
                (":scheme", "http"),
                ("x", "y"),
                (":path", "/v2/health/live"),
            ]),
        ),
        ("8.3: a pseudo-header in trailers", Stream, {
            let trailers = frame(HEADERS, WHOLE, 1, &bare(&[(":method", "GET")]));
            [post(&[]), trailers].concat()
        }),
        (
            "8.3.1: an empty path",
            Stream,
            pseudo(&[(":method", "GET"), (":scheme", "http"), (":path", "")]),
        ),
        (
            "8.3.1: no method",
            Stream,
            pseudo(&[(":scheme", "http"), (":path", "/v2/health/live")]),
        ),
        (
            "8.3.1: no scheme",
            Stream,
            pseudo(&[(":method", "GET"), (":path", "/v2/health/live")]),
        ),
        (
            "8.3.1: no path",
            Stream,
            pseudo(&[(":method", "GET"), (":scheme", "http")]),
        ),
        ("8.3.1: two methods", Stream, with((":method", "GET"))),
        (
            "8.1.1: less content than its length",
            Stream,
            [
                post(&[("content-length", "5")]),
                frame(DATA, END_STREAM, 1, b"x"),
            ]
            .concat(),
        ),
        (
            "8.1.1: more content than its length",
            Stream,
            [
                post(&[("content-length", "1")]),
                frame(DATA, END_STREAM, 1, b"xxxx"),
            ]
            .concat(),
        ),
    ]
}

/// Sends the frames and a ping, and reads up to the answer to the ping or to the end.
fn react(server: &Serve, frames: &[u8], required: Required) -> Result<Reaction> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // The server may have closed the connection before it has everything.
    let _ = stream.write_all(&[PREFACE, &frame(SETTINGS, NONE, 0, &[])].concat());
    let _ = stream.write_all(frames);
    let _ = stream.write_all(&frame(PING, NONE, 0, MARK));
    let mut reaction = Reaction::default();
    loop {
        let Some((kind, payload)) = before_end(read_frame(&mut stream))? else {
            reaction.end = true;
            break;
        };
        match kind {
            GOAWAY => reaction.goaway = true,
            RESET => reaction.reset = true,
            // The status comes first: 200, 204 and 500 have these indices in the static table.
            HEADERS => {
                let status = payload.first().copied().unwrap_or_default();
                reaction.refusal = ![0x88, 0x89, 0x8e].contains(&status);
            }
            PING if payload == MARK => reaction.mark = true,
            _ => {}
        }
        let stream_failed = reaction.reset || reaction.refusal;
        let is_enough = match required {
            Required::Connection => false,
            Required::Stream => stream_failed && reaction.mark,
            Required::Nothing => reaction.mark,
        };
        if is_enough || reaction.goaway {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    Ok(reaction)
}

/// Returns what was read, or `None` after the end of the connection. A timeout is an error.
fn before_end<T>(read: std::io::Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
            Err(error).context("the server neither reacts nor ends the connection")
        }
        Err(_) => Ok(None),
    }
}

#[test]
fn invalid_frames_have_the_errors_that_the_standard_requires() -> Result<()> {
    let repository = Repository::of(&["wine"])?;
    let server = Serve::start(repository.path())?;
    for (name, required, frames) in [cases_of_frames(), cases_of_streams()].concat() {
        let reaction = react(&server, &frames, required).context(name)?;
        let of_connection = reaction.goaway || reaction.end;
        let is_right = match required {
            Required::Connection => of_connection,
            Required::Stream => of_connection || reaction.reset || reaction.refusal,
            Required::Nothing => reaction.mark && !of_connection,
        };
        ensure!(is_right, "{name}: {required:?}, got {reaction:?}");
        victim_is_well(&server).context(name)?;
    }
    Ok(())
}

#[test]
fn a_connection_that_begins_with_another_preface_ends() -> Result<()> {
    let repository = Repository::of(&["wine"])?;
    let server = Serve::start(repository.path())?;
    for preface in [
        &b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        &[PREFACE, &frame(PING, NONE, 0, MARK)].concat(),
    ] {
        let mut stream = TcpStream::connect(server.address())?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(preface)?;
        stream.shutdown(Shutdown::Write)?;
        let mut reply = Vec::new();
        before_end(stream.read_to_end(&mut reply))?;
        victim_is_well(&server)?;
    }
    Ok(())
}
