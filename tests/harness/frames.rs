//! An HTTP/2 client that writes its frames by hand, so that a test controls when a request begins and
//! when it is cancelled. It reads nothing.

use anyhow::Result;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// The error code with which a client cancels a stream.
const CANCEL: [u8; 4] = 8_u32.to_be_bytes();

/// The frames that this client sends. All except the settings are sent on its only stream.
enum Frame<'a> {
    Settings,
    Headers(&'a [u8]),
    Data(&'a [u8], End),
    Reset,
}

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

impl Frames {
    /// Sends a POST request to `path`.
    pub(crate) fn post(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        (body, end): (&[u8], End),
    ) -> Result<Frames> {
        let mut frames = Frames {
            stream: TcpStream::connect(address)?,
        };
        frames
            .stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        frames.send(Frame::Settings)?;
        let pseudo = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", path),
        ];
        let mut block = Vec::new();
        for (name, value) in pseudo.iter().chain(headers) {
            // A literal without indexing, with neither part Huffman-encoded.
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len())?);
                block.extend_from_slice(text.as_bytes());
            }
        }
        frames.send(Frame::Headers(&block))?;
        frames.send(Frame::Data(body, end))?;
        Ok(frames)
    }

    /// Cancels the request; the connection stays open.
    pub(crate) fn cancel(&mut self) -> Result<()> {
        self.send(Frame::Reset)
    }

    fn send(&mut self, frame: Frame<'_>) -> Result<()> {
        // Type, flags (1 ends the stream, 4 the headers), and stream.
        let (kind, flags, stream, payload) = match frame {
            Frame::Data(bytes, End::Ended) => (0, 1, 1, bytes),
            Frame::Data(bytes, End::Open) => (0, 0, 1, bytes),
            Frame::Headers(block) => (1, 4, 1, block),
            Frame::Reset => (3, 0, 1, &CANCEL[..]),
            Frame::Settings => (4, 0, 0, &[][..]),
        };
        let length = u32::try_from(payload.len())?.to_be_bytes();
        let head = [&length[1..], &[kind, flags, 0, 0, 0, stream]].concat();
        Ok(self.stream.write_all(&[&head, payload].concat())?)
    }
}
