//! What hyper reads from and writes to: the bytes of a connection, with what hyper leaves out.
//!
//! Completes the refusals that hyper makes by itself, and closes so that the last response survives: a
//! system that still receives bytes after a socket is gone tells the peer to forget what it has not read
//! yet.

use crate::refusal;
use crate::transport::Transport;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long a client that is still sending gets to read why it should not have.
const LINGER: Duration = Duration::from_secs(2);

/// How much of what it sends is thrown away at a time.
const DISCARD_BYTES: usize = 8 * 1024;

/// What a connection of HTTP/2 begins with, and none of HTTP/1 does.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";

/// A client's socket. Lifetime: a connection.
#[derive(Debug)]
pub(crate) struct Socket {
    transport: Transport,
    /// Whether the first bytes have been read.
    begun: bool,
    /// What goes out in place of bytes that hyper has handed over.
    replacement: Option<Replacement>,
    /// Once nothing more is written: until when the rest is read and thrown away.
    linger: Option<Pin<Box<Sleep>>>,
}

/// Bytes written in place of others. Lifetime: one response.
#[derive(Debug)]
struct Replacement {
    bytes: Vec<u8>,
    written: usize,
    /// The length of what they stand for.
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

    /// Write `bytes`, or what has to go out in their place.
    fn poll_write_bytes(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.replacement.is_none() {
            let Some(whole) = refusal::with_body(bytes) else {
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

    /// Read and forget until the peer stops sending; below TLS, since nobody wants to know what it was.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; DISCARD_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = self.transport.wire().stream().poll_read(cx, &mut buffer);
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
                self.transport.wire().pulse().multiplex();
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
            if !self.transport.wire().pulse().leaves_bytes_unread() {
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
