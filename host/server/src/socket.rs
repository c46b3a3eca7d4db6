//! The byte stream that hyper reads and writes, with features that hyper lacks.
//!
//! It adds bodies to the refusals that hyper makes itself, and closes the connection so that the last
//! response is not lost: a system that receives bytes after a socket is closed resets the connection, and
//! the client discards the bytes that it has not read.

use crate::error_body;
use crate::transport::Transport;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The time that a client that is still sending gets to read its error response.
const LINGER: Duration = Duration::from_secs(2);

/// The size of the buffer for discarded bytes.
const DISCARD_BYTES: usize = 8 * 1024;

/// The first bytes of every HTTP/2 connection, and of no HTTP/1 connection.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

/// The socket of a client. Lifetime: a connection.
#[derive(Debug)]
pub(crate) struct Socket {
    transport: Transport,
    /// Set once the first bytes have been read.
    begun: bool,
    /// The bytes that are written instead of those that hyper has passed.
    replacement: Option<Replacement>,
    /// The time until which incoming bytes are read and discarded after the sending side has been shut
    /// down.
    linger: Option<Pin<Box<Sleep>>>,
}

/// Bytes that are written instead of others. Lifetime: one response.
#[derive(Debug)]
struct Replacement {
    bytes: Vec<u8>,
    written: usize,
    /// The length of the bytes that they replace.
    length: usize,
}

impl Socket {
    pub(crate) fn new(transport: Transport) -> Socket {
        Socket {
            transport,
            begun: false,
            replacement: None,
            linger: None,
        }
    }

    /// Returns the stream below.
    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Writes `bytes`, or their replacement.
    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replacement.is_none() {
            let Some(whole) = error_body::for_bare_response(bytes) else {
                return Pin::new(&mut self.transport).poll_write(cx, bytes);
            };
            self.replacement = Some(Replacement {
                bytes: whole,
                written: 0,
                length: bytes.len(),
            });
        }
        while let Some(replacement) = &mut self.replacement {
            let rest = &replacement.bytes[replacement.written..];
            if rest.is_empty() {
                let length = replacement.length;
                self.replacement = None;
                return Poll::Ready(Ok(length));
            }
            replacement.written += ready!(Pin::new(&mut self.transport).poll_write(cx, rest))?;
        }
        Poll::Ready(Ok(0))
    }

    /// Reads and discards bytes until the client stops sending. It reads below TLS, since the content does
    /// not matter.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; DISCARD_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = self
                .transport
                .monitored()
                .stream()
                .poll_read(cx, &mut buffer);
            if ready!(read).is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begun {
            return Pin::new(&mut self.transport).poll_read(cx, buffer);
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.transport).poll_read(cx, buffer);
        let first = &buffer.filled()[before..];
        if !first.is_empty() {
            self.begun = true;
            if first.starts_with(HTTP2) {
                self.transport.monitored().activity().multiplex();
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_bytes(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [one] => self.poll_write_bytes(cx, one),
            _ => Pin::new(&mut self.transport).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.transport).poll_shutdown(cx))?;
            if !self.transport.monitored().activity().leaves_bytes_unread() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = self
            .linger
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.poll_discard(cx).map(Ok)
    }
}
