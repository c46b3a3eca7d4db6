//! HTTP/2 frames written by hand, and a client that sends them, so that a test controls when a request
//! begins and when it is cancelled. The client reads nothing; [`read_frame`] is for tests that do.

use anyhow::Result;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// The bytes with which a client begins a connection.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Flags of frames.
pub(crate) const NONE: u8 = 0;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

/// The payload of a frame of type [`RESET`] with which a client cancels a stream.
pub(crate) const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

/// The only stream of a [`Frames`].
const STREAM: u32 = 1;

/// The state of the client's side of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Ended,
    Open,
}

/// A connection with one request on it.
#[derive(Debug)]
pub(crate) struct Frames {
    stream: TcpStream,
}

/// Returns a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// Reads a frame, and returns its type and its payload.
pub(crate) fn read_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0_u8; 9];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    Ok((head[3], payload))
}

/// Returns the payload of a frame of type [`HEADERS`]: literals without indexing and Huffman encoding, of
/// at most 255 bytes each.
pub(crate) fn header_block(method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
    ];
    let mut block = Vec::new();
    for (name, value) in pseudo.iter().chain(headers) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

impl Frames {
    /// Sends a POST request to `path`.
    pub(crate) fn post(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        (body, end): (&[u8], End),
    ) -> Result<Frames> {
        let block = header_block("POST", path, headers);
        let data_flags = match end {
            End::Ended => END_STREAM,
            End::Open => NONE,
        };
        let mut stream = TcpStream::connect(address)?;
        for bytes in [
            PREFACE,
            &frame(SETTINGS, NONE, 0, &[]),
            &frame(HEADERS, END_HEADERS, STREAM, &block),
            &frame(DATA, data_flags, STREAM, body),
        ] {
            stream.write_all(bytes)?;
        }
        Ok(Frames { stream })
    }

    /// Cancels the request; the connection stays open.
    pub(crate) fn cancel(&mut self) -> Result<()> {
        Ok(self
            .stream
            .write_all(&frame(RESET, NONE, STREAM, &CANCEL))?)
    }
}
